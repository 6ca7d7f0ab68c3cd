//! P4, P6: a quorum of COMMIT, or of checkpoints, makes a block and all its ancestors final.

use genesis::View;

use super::checkpoint::Unproven;
use super::epoch::Closed;
use super::{Broken, Known, Now, RECENT_BLOCKS, Replica};
use crate::bug::{Bug, on};
use crate::candidate::{Block, Candidate, Parent, Tip};
use crate::certificate::Certificate;
use crate::checkpoint::{CheckpointCertificate, Finality};
use crate::message::Fetch;
use crate::output::{Action, Halt, Record};

/// A gap of more views than this is not asked for block by block.
const FETCH_VIEWS: u64 = 16;
/// So many views below one that is final are kept while blocks below are missing: more than are not final at a time.
const KEPT_VIEWS: u64 = 2 * super::MAX_UNFINAL as u64;

impl Replica {
    /// Makes final what the newest certificates cover, once all the blocks are here.
    pub(super) fn finalize(&mut self, now: Now) {
        self.finalize_committed(now);
        self.finalize_executed(now);
    }

    fn finalize_committed(&mut self, now: Now) {
        if self.closed.is_some() {
            // Of a filler. After a restart it may be all that shows others that the closing block is final.
            let of_filler = self.committed.take();
            self.tip_certificate = self.tip_certificate.take().or(of_filler);
            return;
        }
        let Some(certificate) = self.committed.clone() else { return };
        let newest = Parent { view: certificate.view, digest: certificate.digest };
        match self.ancestors(newest) {
            Ok(blocks) => {
                let blocks: Vec<Block> = blocks.into_iter().rev().cloned().collect();
                self.finalize_all(now, blocks, Some(certificate));
            }
            Err(Broken::Missing(digest)) => {
                self.forget_far_below(certificate.view);
                if self.asked_candidates.insert(digest) {
                    if certificate.view.since(self.tip.view) > FETCH_VIEWS {
                        self.output.act(Action::Synchronize { after: self.tip.height });
                    } else {
                        self.fetch(None, Fetch::Candidate(digest));
                    }
                }
            }
            Err(Broken::Conflicts) => {
                let (tip, tip_view) = (self.tip.digest, self.tip.view);
                self.halt(Halt::Fork { tip, tip_view, certificate });
            }
        }
    }

    /// A quorum executed a block that is here and not known to be final: then it is.
    fn finalize_executed(&mut self, now: Now) {
        let newest = self.results.newest_certificate().map(|newest| &newest.checkpoint);
        let Some(newest) = newest.filter(|newest| newest.height > self.tip.height) else { return };
        let Some(known) = self.blocks.get(&newest.block) else { return };
        let newest = Parent { view: known.block.view, digest: newest.block };
        if let Ok(blocks) = self.ancestors(newest) {
            let blocks: Vec<Block> = blocks.into_iter().rev().cloned().collect();
            self.record_newest();
            self.finalize_all(now, blocks, None);
        }
    }

    /// Takes in final blocks from a peer's store. What does not extend the tip by hash and height is dropped.
    pub(super) fn synced(
        &mut self,
        now: Now,
        candidates: Vec<Candidate>,
        finality: Finality,
        cited: Option<CheckpointCertificate>,
    ) {
        let mut blocks: Vec<Block> = Vec::new();
        let mut tip = self.tip;
        for block in candidates.into_iter().map(Block::new) {
            if block.height <= self.tip.height {
                continue;
            }
            let parent = Parent { view: tip.view, digest: tip.digest };
            let extends =
                block.parent == parent && block.height == tip.height.next() && block.view > tip.view;
            if !extends || block.epoch != self.context.epoch || self.closed.is_some() {
                return;
            }
            tip = Tip::of(&block);
            blocks.push(block);
        }
        if blocks.is_empty() || finality.block() != tip.digest {
            return;
        }
        if let Some(cited) = cited.filter(|cited| cited.checkpoint.cited() == tip.cites) {
            self.hold_cited(cited);
        }
        if self.results.pending(tip.cites).is_err() {
            return; // Whether the last block closes its epoch can not be said.
        }
        match finality {
            Finality::Commit(certificate) => {
                self.output.record(Record::Certificate(certificate.clone()));
                self.finalize_all(now, blocks, Some(certificate));
            }
            Finality::Checkpoint(certificate) => {
                self.output.record(Record::Checkpoint(certificate.clone()));
                self.finalize_all(now, blocks, None);
                self.certify_checkpoint(now, certificate);
            }
        }
    }

    /// Final blocks, oldest first, the last ones perhaps fillers.
    fn finalize_all(&mut self, now: Now, mut blocks: Vec<Block>, certificate: Option<Certificate>) {
        // Of two blocks of one height the later one is a filler.
        let is_filler = |pair: &[Block]| pair[1].height == pair[0].height;
        if let Some(closing) = blocks.windows(2).position(is_filler) {
            blocks.truncate(closing + 1);
        }
        // Only the last one can close the epoch: it is followed by fillers alone.
        let Some(cites) = blocks.last().map(|last| last.cites) else { return };
        let closes = match self.results.pending(cites) {
            Ok(pending) => pending,
            Err(Unproven::Missing(height)) => return self.ask_for_checkpoint(height),
            Err(Unproven::Another) => None,
        };
        let last = blocks.len() - 1;
        for (place, block) in blocks.into_iter().enumerate() {
            self.pool.settle(&block.payload);
            self.pacemaker.view_final();
            self.tip = Tip::of(&block);
            if let Some(known) = self.blocks.remove(&block.digest()) {
                self.remember(known);
            }
            let own = certificate.clone().filter(|certificate| certificate.digest == block.digest());
            let closes = closes.filter(|_| place == last);
            self.output.act(Action::Finalize { block, certificate: own, closes });
        }
        if closes.is_some() {
            self.closed = Some(Closed { height: self.tip.height, next: None });
            self.record_opening();
        }
        self.tip_certificate = certificate;
        if self.committed.as_ref().is_some_and(|newest| newest.view <= self.tip.view) {
            self.committed = None;
        }
        self.last_block_at = now.elapsed;
        self.forget_below(self.tip.view);
        self.results.forget_below(self.tip.cites.height);
        self.forget_questions();
        self.plan_to_tell(now);
        self.stirred = true;
    }

    pub(super) fn remember(&mut self, known: Known) {
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

    /// What a quorum executed comes from a peer's store, if blocks are missing below it: kept here, it would grow for as
    /// long as this replica cannot follow. What it signed stays, and what is not executed may be in no store (P7).
    fn forget_far_below(&mut self, newest: View) {
        let near = View(newest.0.saturating_sub(KEPT_VIEWS));
        let executed = self.results.newest_certificate().map(|newest| newest.checkpoint.height);
        let Some(executed) = executed.filter(|executed| *executed > self.tip.height) else { return };
        if on(Bug::KeepsAllWhileBehind) {
            return;
        }
        let is_needed = |known: &Known| known.block.height > executed || known.block.view >= near;
        let needed = self.blocks.values().filter(|known| is_needed(known)).map(|known| known.block.view);
        let lowest = needed.min().unwrap_or(near).min(near);
        let own = &self.own;
        self.blocks.retain(|digest, known| {
            let own = own.get(&known.block.view);
            is_needed(known) || own.is_some_and(|own| own.is_about(digest)) && !on(Bug::PreparedForgotten)
        });
        self.prepared = self.prepared.split_off(&lowest);
        self.failed = self.failed.split_off(&lowest);
        self.tallies = self.tallies.split_off(&lowest);
    }

    pub(super) fn halt(&mut self, why: Halt) {
        if !self.halted {
            self.halted = true;
            self.output.act(Action::Halt(why));
        }
    }
}
