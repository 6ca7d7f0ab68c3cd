//! What must hold after every step, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use consensus::message::VoteKind;
use consensus::{
    Block, Certificate, Checkpoint, CheckpointCertificate, Context, Evidence, Executed, Message, Tip,
};
use genesis::{Configuration, Digest, Epoch, Genesis, Height, PublicKey, UnixMillis, View};

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

/// Remembers everything that anybody sent, finalised or executed.
#[derive(Debug)]
pub struct Witness {
    /// Who is in charge, by epoch.
    epochs: Vec<Context>,
    /// No message of any kind is longer than this; it does not depend on how many views failed.
    longest: usize,
    said: BTreeMap<(HostId, Epoch, View), Said>,
    /// The checkpoint that each machine signed, by height.
    signed: BTreeMap<(HostId, Height), Digest>,
    /// The one chain, from height 1.
    chain: Vec<Block>,
    /// What is known of each of its blocks beside.
    entries: Vec<(Option<Digest>, Option<Checkpoint>)>,
    /// Certified checkpoints of blocks that nobody here has executed yet.
    ahead: BTreeMap<Height, Checkpoint>,
    genesis: Tip,
    ordered: BTreeSet<Digest>,
    /// The latest time that the clock of an honest machine ever allowed a block to have (P11).
    latest: UnixMillis,
    /// Whom somebody has accused.
    accused: BTreeMap<PublicKey, u64>,
}

impl Witness {
    /// A witness of a network that has just begun.
    pub fn new(genesis: &Genesis, longest: usize) -> Self {
        let validators = genesis.validators().clone();
        Self {
            epochs: vec![Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators }],
            longest,
            said: BTreeMap::new(),
            signed: BTreeMap::new(),
            chain: Vec::new(),
            entries: Vec::new(),
            ahead: BTreeMap::new(),
            genesis: Tip::genesis(genesis),
            ordered: BTreeSet::new(),
            latest: genesis.time(),
            accused: BTreeMap::new(),
        }
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

    /// A machine was restored from a backup, and nobody need remember what it said since: it looks whole, and is one of the
    /// `f` that may contradict themselves (P7).
    pub fn forgives(&mut self, host: HostId) {
        self.said.retain(|(of, _, _), _| *of != host);
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
        let (epoch, Some(context)) = (machine.epoch, self.epochs.get(machine.epoch.0 as usize)) else {
            return Err(format!("{host} speaks of epoch {}, which nobody has begun", machine.epoch));
        };
        let me = context.validators.by_consensus_key(&machine.secret.public());
        match message {
            // Others' proposals may be passed on.
            Message::PrePrepare(proposal)
                if Some(context.validators.leader(proposal.candidate.view)) == me =>
            {
                let (view, digest) = (proposal.candidate.view, proposal.candidate.digest());
                if !machine.journal.durable_proposals.contains(&digest) {
                    return Err(format!("P7: {host} sends its proposal in view {view} before it is durable"));
                }
                let said = self.said.entry((host, epoch, view)).or_default();
                once(&mut said.proposal, digest, || format!("P1: {host} proposes twice in view {view}"))
            }
            Message::Vote(vote) if Some(vote.voter) == me => {
                let (kind, view, digest) = (vote.kind, vote.view, vote.digest);
                if !machine.journal.durable_votes.contains(&(kind, epoch, view, digest)) {
                    return Err(format!("P7: {host} sends {kind:?} in view {view} before it is durable"));
                }
                let said = self.said.entry((host, epoch, view)).or_default();
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
                once(place, digest, || format!("P2, P7: {host} says {kind:?} twice in view {view}"))?;
                if said.commit.is_some() && said.view_change.is_some() {
                    return Err(format!("P3, P5: {host} says COMMIT and VIEW-CHANGE in view {view}"));
                }
                Ok(())
            }
            Message::Vote(vote) => Err(format!("P12: {host} sends a vote, but it is not its own: {vote:?}")),
            Message::Checkpoint(vote) => {
                let (height, digest) = (vote.checkpoint.height, vote.checkpoint.digest());
                if Some(vote.voter) != me || vote.checkpoint.epoch != epoch {
                    return Err(format!("P6, P12: {host} sends a checkpoint that is not its own: {vote:?}"));
                }
                if self.entries.get(height.0 as usize - 1).is_none_or(|(_, executed)| executed.is_none()) {
                    return Err(format!(
                        "P6: {host} signs the result of block {height} before its execution"
                    ));
                }
                let signed = self.signed.entry((host, height)).or_insert(digest);
                if *signed == digest {
                    Ok(())
                } else {
                    Err(format!("P6: {host} signs two checkpoints at height {height}"))
                }
            }
            Message::Attestation(answer) if Some(answer.voter) != me => {
                Err(format!("P7: {host} answers a nonce in another's name: {answer:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A machine is in `epoch`. Says whether it is the first.
    ///
    /// # Errors
    /// When it has other validators or parameters than others had, or begins one that no block has made room for.
    pub fn begins(
        &mut self,
        host: HostId,
        epoch: Epoch,
        configuration: &Configuration,
    ) -> Result<bool, String> {
        let closing = self.entries.iter().filter_map(|(closes, _)| *closes);
        let expected = (epoch > Epoch::ZERO).then(|| closing.clone().nth(epoch.0 as usize - 1));
        if expected.is_some_and(|expected| expected != Some(configuration.digest())) {
            return Err(format!("P12: {host} begins epoch {epoch} with {configuration:?}"));
        }
        let known = self.epochs.get(epoch.0 as usize);
        if known.is_some_and(|known| known.validators != configuration.validators) {
            return Err(format!("P12: {host} is in epoch {epoch} with {configuration:?}"));
        }
        let is_new = known.is_none();
        if is_new {
            let chain = self.epochs[0].chain;
            let validators = configuration.validators.clone();
            self.epochs.push(Context { chain, epoch, validators });
        }
        Ok(is_new)
    }

    /// A machine has executed a block.
    ///
    /// # Errors
    /// When it led to something else than at others.
    pub fn executed(&mut self, host: HostId, executed: &Executed) -> Result<(), String> {
        let checkpoint = &executed.checkpoint;
        let height = checkpoint.height;
        let Some((_, first)) = self.entries.get_mut(height.0 as usize - 1) else {
            return Err(format!("{host} executes block {height}, which is not final"));
        };
        match first {
            Some(first) if first != checkpoint => {
                Err(format!("P6: {host} gets {checkpoint:?} where another got {first:?}"))
            }
            Some(_) => Ok(()),
            None => {
                *first = Some(checkpoint.clone());
                match self.ahead.remove(&height) {
                    Some(certified) if certified != *checkpoint => {
                        Err(format!("P6: {certified:?} is certified where {host} got {checkpoint:?}"))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// A checkpoint has its certificate.
    ///
    /// # Errors
    /// When it is not what the block led to.
    pub fn certified(&mut self, certificate: &CheckpointCertificate) -> Result<(), String> {
        let checkpoint = &certificate.checkpoint;
        let height = checkpoint.height;
        let executed = self.entries.get(height.0 as usize - 1).and_then(|(_, executed)| executed.as_ref());
        let known = executed.or(self.ahead.get(&height));
        match known {
            Some(known) if known != checkpoint => {
                Err(format!("P6: {checkpoint:?} is certified beside {known:?}"))
            }
            Some(_) => Ok(()),
            None => {
                self.ahead.insert(height, checkpoint.clone());
                Ok(())
            }
        }
    }

    /// A machine shows evidence.
    pub fn accused(&mut self, evidence: &Evidence) {
        *self.accused.entry(evidence.validator).or_default() += 1;
    }

    /// How often anybody was accused.
    pub fn all_accusations(&self) -> u64 {
        self.accused.values().sum()
    }

    /// How often the holder of `key` was accused.
    pub fn accusations(&self, key: &PublicKey) -> u64 {
        self.accused.get(key).copied().unwrap_or(0)
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
        closes: Option<Digest>,
    ) -> Result<(), String> {
        let (height, digest) = (block.height, block.digest());
        let quorum = self.epochs.get(block.epoch.0 as usize).map_or(usize::MAX, |it| it.validators.quorum());
        if height != machine.final_height.next() {
            return Err(format!("{host} finalises height {height} after {}", machine.final_height));
        }
        if let Some(certificate) = certificate {
            let signers: BTreeSet<_> = certificate.signatures.iter().map(|(signer, _)| *signer).collect();
            let covers = certificate.kind == VoteKind::Commit
                && certificate.digest == digest
                && certificate.view == block.view;
            if !covers || signers.len() < quorum {
                return Err(format!("P4: {host} finalises {digest} with {certificate:?}"));
            }
        }
        match self.chain.get(height.0 as usize - 1) {
            Some(first) if first.digest() == digest => {
                let (first, _) = self.entries[height.0 as usize - 1];
                if first != closes {
                    return Err(format!(
                        "P12: block {height} closes with {closes:?} at {host}, {first:?} at others"
                    ));
                }
                return Ok(());
            }
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
        // The block that closed the epoch before counts as of view 0.
        let opens = self.chain.last().is_some_and(|last| last.epoch != block.epoch);
        let closed = self.entries.last().is_some_and(|(closes, _)| closes.is_some());
        if opens != closed {
            return Err(format!(
                "P12: block {height} of epoch {} comes after the end of its epoch, or before it",
                block.epoch
            ));
        }
        let view = if opens { View::ZERO } else { parent.view };
        if block.parent.digest != parent.digest || block.parent.view != view {
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
        self.entries.push((closes, None));
        Ok(())
    }

    /// A machine has made a step.
    ///
    /// # Errors
    /// When its tip is not on the one chain, Δ exceeds its cap, or it takes records for lost that it has.
    pub fn stepped(&self, host: HostId, machine: &Machine, cap: std::time::Duration) -> Result<(), String> {
        let Some(replica) = &machine.replica else { return Ok(()) };
        let status = replica.status();
        if status.delta > cap {
            return Err(format!("P9: Δ of {host} is {:?}, above {cap:?}", status.delta));
        }
        let asks = matches!(status.standing, consensus::Report::Wiped { .. });
        if asks && !machine.lost_votes && !machine.byzantine {
            return Err(format!("P7: {host} lost nothing, but takes its records for lost"));
        }
        match self.tip_at(status.tip.height) {
            Some(tip) if (tip.digest, tip.time) != (status.tip.digest, status.tip.time) => {
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
