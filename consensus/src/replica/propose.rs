//! P1: proposing.

use super::checkpoint::Unproven;
use super::{Broken, Known, MAX_UNFINAL, Now, Phase, Replica};
use crate::bug::{Bug, on};
use crate::candidate::{Block, Candidate};
use crate::message::VoteKind;
use crate::output::{Recipient, Record};

impl Replica {
    /// Proposes, if this replica leads the view, has all that a proposal rests on, and there is something to
    /// propose: digests that wait, or an empty block where P10 wants one.
    pub(super) fn propose(&mut self, now: Now) {
        let own = self.own_in(self.view);
        let done = own.is_some_and(|own| own.proposal.is_some() || own.view_change.is_some());
        if Some(self.leader()) != self.me || self.phase != Phase::Waiting || done {
            return;
        }
        let parent = self.best_parent();
        if self.gap_above(parent.view).is_some() {
            // The missing view may also turn out to have a prepare certificate; then the parent changes.
            if self.armed.is_some() {
                self.ask_for_view_changes(parent.view);
            }
            return;
        }
        let ordered = match self.ordered_by(parent) {
            Ok(ordered) => ordered,
            Err(Broken::Missing(digest)) => return self.ask_for_block(digest),
            // A certified block that does not descend from a final one: finality will name the fork.
            Err(Broken::Conflicts) => return,
        };
        let Ok(ancestors) = self.ancestors(parent) else { return };
        let (unfinal, newest) = (ancestors.len(), ancestors.first().copied());
        let parent_time = newest.map_or(self.tip.time, |block| block.time);
        let parent_height = newest.map_or(self.tip.height, |block| block.height);
        let parent_cites = newest.map_or(self.tip.cites, |block| block.cites);
        let named = ancestors.iter().flat_map(|block| block.nonces.iter().copied()).collect();
        let height = parent_height.next();
        let of_epoch = (self.context.epoch, self.view);
        let candidate = |height, time, cites, nonces, payload| {
            let (epoch, view) = of_epoch;
            Candidate { epoch, view, height, parent, time, cites, nonces, payload }
        };
        match self.is_over_after(newest) {
            Err(Unproven::Missing(height)) => return self.ask_for_checkpoint(height),
            Err(Unproven::Another) => return,
            Ok(true) if on(Bug::NoFillers) => return,
            Ok(true) => {
                // P12: a filler.
                if newest.is_some() && self.empty_block_is_due(now) {
                    let filler = candidate(parent_height, parent_time, parent_cites, Vec::new(), Vec::new());
                    self.send_proposal(now, Block::new(filler));
                }
                return;
            }
            Ok(false) => {}
        }
        let newest_checkpoint = self.results.newest();
        let cites =
            if newest_checkpoint.height > parent_cites.height { newest_checkpoint } else { parent_cites };
        let closes = match self.results.pending(cites) {
            Ok(pending) => pending.is_some(),
            Err(Unproven::Missing(height)) => return self.ask_for_checkpoint(height),
            Err(Unproven::Another) => return,
        };
        let may_carry = unfinal < MAX_UNFINAL && self.may_carry(height, cites);
        let room = if may_carry { self.parameters.max_block_batches as usize } else { 0 };
        let mut payload: Vec<_> = self.pool.for_block(height, &ordered).take(room).collect();
        if payload.is_empty() && ancestors.iter().all(|block| block.payload.is_empty()) {
            // Nothing is under way that would gather acknowledgements meanwhile: waiting for them is one exchange lost.
            payload.extend(self.pool.held_for_block(height, &ordered).take(room));
        }
        let nonces = self.nonces_to_name(now, &named);
        if payload.is_empty() && nonces.is_empty() && !closes && !self.empty_block_is_due(now) {
            return;
        }
        let time = now.clock.max(parent_time.next());
        self.send_proposal(now, Block::new(candidate(height, time, cites, nonces, payload)));
    }

    fn send_proposal(&mut self, now: Now, block: Block) {
        let digest = block.digest();
        let proposal = self.context.propose(&self.secret, &block);
        self.record_cited(block.cites);
        self.own.entry(self.view).or_default().proposal = Some(digest);
        self.blocks.insert(digest, Known { block, signature: proposal.signature });
        self.output.record(Record::PrePrepare(proposal.clone()));
        self.output.send(Recipient::All, crate::message::Message::PrePrepare(proposal));
        // What the pool holds is valid and durable here: its leader prepares it at once.
        self.phase = Phase::Prepared;
        self.cast(now, VoteKind::Prepare, self.view, digest);
    }
}
