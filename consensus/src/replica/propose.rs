//! P1: proposing.

use super::{Broken, Known, MAX_UNFINAL, Now, Phase, Replica, height_after};
use crate::candidate::{Block, Candidate};
use crate::message::VoteKind;
use crate::output::{Recipient, Record};

impl Replica {
    /// Proposes, if this replica leads the view, has all that a proposal rests on, and there is something to
    /// propose: digests that wait, or an empty block where P10 wants one.
    pub(super) fn propose(&mut self, now: Now) {
        let own = self.own_in(self.view);
        let done = own.is_some_and(|own| own.proposal.is_some() || own.view_change.is_some());
        if self.leader() != self.me || self.phase != Phase::Waiting || done {
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
        let room = if unfinal < MAX_UNFINAL { self.parameters.max_block_batches as usize } else { 0 };
        let height = height_after(newest, &self.tip);
        let payload: Vec<_> = self.pool.for_block(height, &ordered).take(room).collect();
        if payload.is_empty() && !self.empty_block_is_due(now) {
            return;
        }
        let parent_time = newest.map_or(self.tip.time, |block| block.time);
        let block = Block::new(Candidate {
            epoch: self.context.epoch,
            view: self.view,
            height,
            parent,
            time: now.clock.max(parent_time.next()),
            payload,
        });
        self.send_proposal(now, block);
    }

    fn send_proposal(&mut self, now: Now, block: Block) {
        let digest = block.digest();
        let proposal = self.context.propose(&self.secret, &block);
        self.own.entry(self.view).or_default().proposal = Some(digest);
        self.blocks.insert(digest, Known { block, signature: proposal.signature });
        self.output.record(Record::PrePrepare(proposal.clone()));
        self.output.send(Recipient::All, crate::message::Message::PrePrepare(proposal));
        // What the pool holds is valid and durable here: its leader prepares it at once.
        self.phase = Phase::Prepared;
        self.cast(now, VoteKind::Prepare, self.view, digest);
    }
}
