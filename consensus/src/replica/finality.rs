//! P4: a quorum of COMMIT makes a block and all its ancestors final.

use genesis::View;

use super::{Broken, Known, Now, RECENT_BLOCKS, Replica};
use crate::candidate::{Block, Candidate, Parent, Tip};
use crate::certificate::Certificate;
use crate::message::VoteKind;
use crate::output::{Action, Fork, Record};

/// A gap of more views than this is not asked for block by block.
const FETCH_VIEWS: u64 = 16;

impl Replica {
    /// Makes final what the newest commit certificate covers, once all the blocks are here.
    pub(super) fn finalize(&mut self, now: Now) {
        let Some(certificate) = self.committed.clone() else { return };
        let newest = Parent { view: certificate.view, digest: certificate.digest };
        match self.ancestors(newest) {
            Ok(blocks) => {
                let blocks: Vec<Block> = blocks.into_iter().rev().cloned().collect();
                self.finalize_all(now, blocks, certificate);
            }
            Err(Broken::Missing(digest)) => {
                if self.asked_candidates.insert(digest) {
                    if certificate.view.since(self.tip.view) > FETCH_VIEWS {
                        self.output.act(Action::Synchronize { after: self.tip.height });
                    } else {
                        self.fetch(None, crate::message::Fetch::Candidate(digest));
                    }
                }
            }
            Err(Broken::Conflicts) => self.halt(certificate),
        }
    }

    /// Takes in final blocks from a peer's store. What does not extend the tip by hash and height is dropped.
    pub(super) fn synced(&mut self, now: Now, candidates: Vec<Candidate>, commit: Certificate) {
        let mut blocks: Vec<Block> = Vec::new();
        let mut tip = self.tip;
        for block in candidates.into_iter().map(Block::new) {
            if block.height <= self.tip.height {
                continue;
            }
            let parent = Parent { view: tip.view, digest: tip.digest };
            if block.parent != parent || block.height != tip.height.next() || block.view <= tip.view {
                return;
            }
            tip = Tip::of(&block);
            blocks.push(block);
        }
        let covered =
            commit.kind == VoteKind::Commit && commit.view == tip.view && commit.digest == tip.digest;
        if !blocks.is_empty() && covered {
            self.output.record(Record::Certificate(commit.clone()));
            self.finalize_all(now, blocks, commit);
        }
    }

    fn finalize_all(&mut self, now: Now, blocks: Vec<Block>, certificate: Certificate) {
        for block in blocks {
            self.pool.settle(&block.payload);
            self.pacemaker.view_final();
            self.tip = Tip::of(&block);
            if let Some(known) = self.blocks.remove(&block.digest()) {
                self.remember(known);
            }
            let own = (block.digest() == certificate.digest).then(|| certificate.clone());
            self.output.act(Action::Finalize { block, certificate: own });
        }
        self.tip_certificate = Some(certificate);
        if self.committed.as_ref().is_some_and(|newest| newest.view <= self.tip.view) {
            self.committed = None;
        }
        self.last_block_at = now.elapsed;
        self.forget_below(self.tip.view);
        self.forget_questions();
        self.stirred = true;
    }

    fn remember(&mut self, known: Known) {
        self.recent.push_back(known);
        if self.recent.len() > RECENT_BLOCKS {
            self.recent.pop_front();
        }
    }

    /// What lies at or below the final view decides nothing any more, and nothing is signed there again.
    fn forget_below(&mut self, tip: View) {
        let above = tip.next();
        self.prepared = self.prepared.split_off(&above);
        self.failed = self.failed.split_off(&above);
        self.own = self.own.split_off(&above);
        self.tallies = self.tallies.split_off(&above);
        self.blocks.retain(|_, known| known.block.view > tip);
        self.early.retain(|_, known| known.block.view > tip);
        self.failed_from = self.failed_from.max(above);
    }

    fn halt(&mut self, certificate: Certificate) {
        self.halted = true;
        let fork = Fork { tip: self.tip.digest, tip_view: self.tip.view, certificate };
        self.output.act(Action::Halt(fork));
    }
}
