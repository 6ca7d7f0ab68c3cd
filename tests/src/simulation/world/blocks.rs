//! Execution behind finality, and catching up from peers' stores, as the node does both.

use std::time::Duration;

use consensus::{CheckpointCertificate, Finality, Input, Message, Verified};
use genesis::{Digest, Domain, Height, encoding};

use super::{Event, HostId, Letter, World};
use crate::simulation::Failure;
use crate::simulation::machine::Final;
use crate::simulation::store::Range;

/// How often one without a vote, to whom nobody sends votes, looks for new blocks.
const FOLLOW_EVERY: Duration = Duration::from_millis(400);
/// How many proofs are remembered, so that one sent again is not checked again.
const PROOFS: usize = 5_000;

/// Why a peer's blocks are refused.
const NOT_A_CHAIN: &str = "the blocks are not a chain that ends in the certified one";
const NO_PROOF: &str = "no proof that the blocks are final, or a wrong one";

impl World {
    pub(super) fn execute_next(&mut self, host: HostId) {
        let delay = self.chance.duration(self.plan.execute);
        self.schedule(delay, host, Event::Executed);
    }

    /// The oldest final block has been executed.
    pub(super) fn execute(&mut self, host: HostId) -> Result<(), Failure> {
        let Some(Final { block, commit, closes }) = self.machines[host.0].to_execute.pop_front() else {
            return Ok(());
        };
        let batches: Vec<_> = block.payload.iter().map(|item| self.contents.of(*item)).collect();
        let executed = self.machines[host.0].store.execute(block, commit, closes, &batches);
        let executed = executed.map_err(|error| self.failure(format!("{host} cannot execute: {error}")))?;
        self.witness.executed(host, &executed).map_err(|what| self.failure(what))?;
        if !self.machines[host.0].to_execute.is_empty() {
            self.execute_next(host);
        }
        self.feed(host, Input::Executed(executed))?;
        if self.plan.rewrite_journals && self.chance.percent(20) {
            self.machines[host.0].rewrite_journal();
        } else {
            self.machines[host.0].forget_journal();
        }
        Ok(())
    }

    /// Asks somebody with a seat in the epoch of `host` for blocks.
    pub(super) fn want_blocks(&mut self, host: HostId, after: Height) {
        let machine = &self.machines[host.0];
        let validators = &self.contexts[machine.epoch.0 as usize].validators;
        let member = machine.member;
        let others = self.hosts().into_iter().filter(|other| {
            let other = &self.machines[other.0];
            other.member != member && validators.by_network_key(&other.network).is_some()
        });
        let others: Vec<_> = others.collect();
        if let Some(other) = self.chance.pick(&others) {
            self.post(host, other, Letter::WantBlocks(after));
        }
    }

    /// One without a vote looks for new blocks, now and again.
    pub(super) fn follow(&mut self, host: HostId) {
        if let Some(status) = self.status(host).filter(|_| self.machines[host.0].index.is_none()) {
            self.want_blocks(host, status.tip.height);
            self.follow_later(host);
        }
    }

    pub(super) fn follow_later(&mut self, host: HostId) {
        if self.machines[host.0].index.is_none() {
            self.schedule(FOLLOW_EVERY, host, Event::Follow);
        }
    }

    /// A peer answers with final blocks. What is of another epoch is passed over: it can be checked once that has begun
    /// here.
    pub(super) fn take_range(
        &mut self,
        host: HostId,
        from: HostId,
        after: Height,
        range: &Range,
    ) -> Result<(), Failure> {
        let Some(before) = self.status(host) else { return Ok(()) };
        let epoch = before.epoch;
        let of_epoch = |certificate: &&CheckpointCertificate| certificate.checkpoint.epoch == epoch;
        if let Some(last) = range.candidates.last().filter(|last| last.epoch == epoch) {
            let finality = range.finality.as_ref().and_then(|finality| self.proof(host, finality));
            let Some(finality) = finality else { return self.refuse(from, &NO_PROOF) };
            let cited = match range.cited.as_ref().filter(of_epoch) {
                None => None,
                Some(cited) => match self.checkpoint(host, cited) {
                    Some(cited) => Some(cited),
                    None => return self.refuse(from, &NO_PROOF),
                },
            };
            let candidates = range.candidates.clone();
            let chained = candidates.windows(2).all(|pair| pair[1].parent.digest == pair[0].digest());
            let starts = candidates.first().is_some_and(|block| block.height == after.next());
            if !chained || !starts || finality.block() != last.digest() {
                return self.refuse(from, &NOT_A_CHAIN);
            }
            self.feed(host, Input::Synced { candidates, finality, cited })?;
        }
        if let Some(checkpoint) = range.checkpoint.as_ref().filter(of_epoch)
            && self.status(host).is_some_and(|status| status.certified < checkpoint.checkpoint.height)
        {
            match self.checkpoint(host, checkpoint) {
                Some(checkpoint) => self.feed(host, Input::Certified(checkpoint))?,
                None => return self.refuse(from, &NO_PROOF),
            }
        }
        match self.status(host) {
            // There may be more.
            Some(now) if (now.epoch, now.tip.height) > (epoch, before.tip.height) => {
                self.post(host, from, Letter::WantBlocks(now.tip.height));
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks what proves blocks final against the validators of the epoch that `host` is in.
    fn proof(&mut self, host: HostId, finality: &Finality) -> Option<Verified<Finality>> {
        let context = self.machines[host.0].replica.as_ref()?.context();
        let name = (context.epoch, Digest::of(Domain::Batch, &encoding::encode(finality)));
        if let Some(checked) = self.proofs.get(&name) {
            return checked.clone();
        }
        let checked = finality.clone().verify(context).ok();
        if self.proofs.len() >= PROOFS {
            self.proofs.clear();
        }
        self.proofs.insert(name, checked.clone());
        checked
    }

    fn checkpoint(
        &mut self,
        host: HostId,
        certificate: &CheckpointCertificate,
    ) -> Option<Verified<CheckpointCertificate>> {
        let epoch = self.status(host)?.epoch;
        let message = Message::CheckpointCertificate(certificate.clone());
        if self.contexts.len() as u64 <= epoch.0 {
            // The first to be there has not said so yet.
            let context = self.machines[host.0].replica.as_ref()?.context();
            return message.verify(context).ok()?.into_checkpoint_certificate();
        }
        let name = Digest::of(Domain::Batch, &message.encode());
        let checked = self.check(epoch, name, &message)?;
        (*checked).clone().into_checkpoint_certificate()
    }
}
