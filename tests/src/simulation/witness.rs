//! What must hold after every step, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use consensus::message::VoteKind;
use consensus::{Block, Certificate, Message, Tip};
use genesis::{Digest, Height, UnixMillis, ValidatorIndex, ValidatorSet, View};

use super::machine::Machine;
use super::world::HostId;

/// What one machine has said in one view.
#[derive(Debug, Default)]
struct Said {
    proposal: Option<Digest>,
    prepare: Option<Digest>,
    commit: Option<Digest>,
    view_change: Option<Digest>,
}

/// Remembers everything that anybody sent or finalised.
#[derive(Debug)]
pub struct Witness {
    quorum: usize,
    leaders: u64,
    /// No message of any kind is longer than this; it does not depend on how many views failed.
    longest: usize,
    said: BTreeMap<(HostId, View), Said>,
    /// The one chain, from height 1.
    chain: Vec<Block>,
    genesis: Tip,
    ordered: BTreeSet<Digest>,
    /// The latest time that the clock of an honest machine ever allowed a block to have (P11).
    latest: UnixMillis,
}

impl Witness {
    /// A witness of a network that has just begun.
    pub fn new(genesis: Tip, validators: &ValidatorSet, longest: usize) -> Self {
        let (quorum, leaders) = (validators.quorum(), validators.len() as u64);
        let (said, chain, ordered) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        let latest = genesis.time;
        Self { quorum, leaders, longest, said, chain, genesis, ordered, latest }
    }

    /// The final blocks, as the first to finalise each saw it.
    pub fn chain(&self) -> &[Block] {
        &self.chain
    }

    /// All that the chain names.
    pub fn ordered(&self) -> &BTreeSet<Digest> {
        &self.ordered
    }

    /// The clock of an honest machine allows blocks up to `time`.
    pub fn allowed(&mut self, time: UnixMillis) {
        self.latest = self.latest.max(time);
    }

    /// The tip of the one chain at `height`, if anybody has finalised it.
    pub fn tip_at(&self, height: Height) -> Option<Tip> {
        match height.0.checked_sub(1) {
            None => Some(self.genesis),
            Some(place) => self.chain.get(place as usize).map(Tip::of),
        }
    }

    /// A machine sends `message` of `length` bytes.
    ///
    /// # Errors
    /// When it contradicts what that machine said before, or says what a crash could make it forget.
    pub fn sent(
        &mut self,
        host: HostId,
        machine: &Machine,
        message: &Message,
        length: usize,
    ) -> Result<(), String> {
        if length > self.longest {
            return Err(format!("a message of {length} bytes, above {}: {message:?}", self.longest));
        }
        match message {
            // Others' proposals may be passed on.
            Message::PrePrepare(proposal) if self.leads(machine.index, proposal.candidate.view) => {
                let (view, digest) = (proposal.candidate.view, proposal.candidate.digest());
                if !machine.journal.durable_proposals.contains(&digest) {
                    return Err(format!("P7: {host} sends its proposal in view {view} before it is durable"));
                }
                let said = self.said.entry((host, view)).or_default();
                once(&mut said.proposal, digest, || format!("P1: {host} proposes twice in view {view}"))
            }
            Message::Vote(vote) if vote.voter == machine.index => {
                let (kind, view, digest) = (vote.kind, vote.view, vote.digest);
                if !machine.journal.durable_votes.contains(&(kind, view, digest)) {
                    return Err(format!("P7: {host} sends {kind:?} in view {view} before it is durable"));
                }
                let said = self.said.entry((host, view)).or_default();
                let place = match kind {
                    VoteKind::Prepare => {
                        if !machine.journal.durable_proposals.contains(&digest) {
                            return Err(format!("P7: {host} prepares a block that is not durable: {vote:?}"));
                        }
                        &mut said.prepare
                    }
                    VoteKind::Commit => &mut said.commit,
                    VoteKind::ViewChange => &mut said.view_change,
                };
                once(place, digest, || format!("P2: {host} says {kind:?} twice in view {view}"))?;
                if said.commit.is_some() && said.view_change.is_some() {
                    return Err(format!("P3, P5: {host} says COMMIT and VIEW-CHANGE in view {view}"));
                }
                Ok(())
            }
            Message::Vote(vote) => Err(format!("{host} sends another's vote: {vote:?}")),
            _ => Ok(()),
        }
    }

    fn leads(&self, index: ValidatorIndex, view: View) -> bool {
        view.0 % self.leaders == u64::from(index.0)
    }

    /// A machine finalises `block`.
    ///
    /// # Errors
    /// When it leaves a gap, does not extend the chain, contradicts another machine, or orders something twice.
    pub fn finalized(
        &mut self,
        host: HostId,
        machine: &Machine,
        block: &Block,
        certificate: Option<&Certificate>,
    ) -> Result<(), String> {
        let (height, digest) = (block.height, block.digest());
        if height != machine.final_height.next() {
            return Err(format!("{host} finalises height {height} after {}", machine.final_height));
        }
        if let Some(certificate) = certificate {
            let signers: BTreeSet<_> = certificate.signatures.iter().map(|(signer, _)| *signer).collect();
            let covers = certificate.kind == VoteKind::Commit
                && certificate.digest == digest
                && certificate.view == block.view;
            if !covers || signers.len() < self.quorum {
                return Err(format!("P4: {host} finalises {digest} with {certificate:?}"));
            }
        }
        match self.chain.get(height.0 as usize - 1) {
            Some(first) if first.digest() == digest => return Ok(()),
            Some(first) => {
                let (other, view) = (first.digest(), block.view);
                return Err(format!(
                    "FORK: {host} finalises {digest} of view {view} at height {height}, where {other} of view {} is final",
                    first.view
                ));
            }
            None => {}
        }
        let Some(parent) = self.tip_at(height.previous()) else {
            return Err(format!("{host} finalises height {height}, of which nobody finalised the parent"));
        };
        if block.parent.digest != parent.digest || block.parent.view != parent.view {
            return Err(format!("{host} finalises {digest}, which does not extend {}", parent.digest));
        }
        if block.time <= parent.time {
            return Err(format!("P11: block {height} is not later than its parent"));
        }
        if block.time > self.latest.max(parent.time.next()) {
            let (time, latest) = (block.time.0, self.latest.0);
            return Err(format!(
                "P11: block {height} has the time {time}, but no honest clock was above {latest}"
            ));
        }
        for item in &block.payload {
            if !self.ordered.insert(*item) {
                return Err(format!("P2: {item} is ordered twice, again at height {height}"));
            }
        }
        self.chain.push(block.clone());
        Ok(())
    }

    /// A machine has made a step.
    ///
    /// # Errors
    /// When its tip is not on the one chain, or Δ exceeds its cap.
    pub fn stepped(&self, host: HostId, machine: &Machine, cap: std::time::Duration) -> Result<(), String> {
        let Some(replica) = &machine.replica else { return Ok(()) };
        let status = replica.status();
        if status.delta > cap {
            return Err(format!("P9: Δ of {host} is {:?}, above {cap:?}", status.delta));
        }
        match self.tip_at(status.tip.height) {
            Some(tip) if tip != status.tip => {
                Err(format!("FORK: the tip of {host} is {:?}, but the chain has {tip:?}", status.tip))
            }
            _ => Ok(()),
        }
    }
}

fn once(place: &mut Option<Digest>, digest: Digest, fault: impl Fn() -> String) -> Result<(), String> {
    match place.replace(digest) {
        Some(earlier) if earlier != digest => Err(format!("{}: {earlier}, then {digest}", fault())),
        _ => Ok(()),
    }
}
