//! When timers run (P10), how long (P9), and the next moment at which something is due.

use std::time::Duration;

use super::{Broken, Now, Phase, Replica};
use crate::bug::{Bug, on};

/// A leader that lacks more executed blocks than this gives its turn up.
const CATCH_UP: u64 = 16;

impl Replica {
    /// When after `now`, that of the last step, `step` must be called again with `Input::Tick`, if nothing else
    /// happens before. What was due by then is done, or waits for another input.
    pub fn deadline(&self, now: Now) -> Option<Duration> {
        if self.halted {
            return None;
        }
        let gave_up = self.own_in(self.view).is_some_and(|own| own.view_change.is_some());
        let heartbeat = self.last_block_at + Duration::from_millis(self.parameters.heartbeat_ms);
        let times = [
            self.view_deadline().filter(|_| !gave_up),
            self.empty_block_at()
                .filter(|_| Some(self.leader()) == self.me && self.phase == Phase::Waiting && !gave_up),
            Some(heartbeat).filter(|_| self.armed.is_none() && self.me.is_some() && self.closed.is_none()),
            self.resend_at,
            self.catch_up_at,
            self.time_fits_at,
            self.peers.values().filter_map(|peer| peer.spread_at).min(),
            self.peers
                .values()
                .filter(|peer| self.me.is_some() && peer.executed < self.tip.height)
                .map(|peer| peer.tell_at)
                .min(),
        ];
        times.into_iter().flatten().filter(|at| *at > now.elapsed).min()
    }

    /// P10: notes since when something waits, which arms the view timers: digests that are not ordered, a
    /// non-empty block that is prepared and not final, a proposal of which
    /// something is missing, a heartbeat that is due, the end of the
    /// epoch, or a replica that lost its records.
    pub(super) fn note_what_waits(&mut self, now: Now) {
        if self.closed.is_some() || self.me.is_none() {
            (self.armed, self.unfinal) = (None, None);
            return;
        }
        let parent = self.best_parent();
        if let Err(Broken::Missing(digest)) = self.ancestors(parent) {
            self.ask_for_block(digest);
        }
        let (unfinal, waiting) = match (self.ancestors(parent), self.ordered_by(parent)) {
            (Ok(ancestors), Ok(ordered)) => {
                let newest = ancestors.first().copied();
                let closing = newest.is_some() && self.is_over_after(newest) == Ok(true);
                let unfinal = closing || ancestors.iter().any(|block| !block.payload.is_empty());
                let (height, cites) =
                    newest.map_or((self.tip.height, self.tip.cites), |block| (block.height, block.cites));
                let height = height.next();
                let newest = self.results.newest();
                let cites = if newest.height > cites.height { newest } else { cites };
                let carries = self.may_carry(height, cites);
                let waiting = self.pool.for_block(height, &ordered).next().is_some();
                (unfinal, carries && waiting && !on(Bug::WaitingItemsDoNotArm))
            }
            // Blocks are missing: they may be non-empty.
            _ => (true, self.pool.len() > 0),
        };
        self.unfinal = unfinal.then(|| self.unfinal.unwrap_or(now.elapsed));
        // What a proposal rests on must not be asked for until the next heartbeat: it may not exist. For its payload the
        // node asks.
        let asks = match self.phase {
            Phase::Examining { verdict, asked, .. } => self.has_questions() || asked && verdict.is_none(),
            _ => false,
        };
        let asks = asks && !on(Bug::QuestionsNeverEnd);
        let something = unfinal
            || waiting
            || asks
            || self.heartbeat_is_due(now)
            || self.close_is_pending()
            || self.nonce_waits(now);
        self.armed = something.then(|| self.armed.unwrap_or(now.elapsed));
    }

    pub(super) fn heartbeat_is_due(&self, now: Now) -> bool {
        now.elapsed >= self.last_block_at + Duration::from_millis(self.parameters.heartbeat_ms)
    }

    /// P9: 2Δ for the leader's pre-prepare, 3Δ for the view; counted from when something waits.
    pub(super) fn view_deadline(&self) -> Option<Duration> {
        let delta = self.pacemaker.delta();
        let start = self.armed?.max(self.entered);
        Some(start + if self.phase == Phase::Waiting { delta * 2 } else { delta * 3 })
    }

    /// P10: when the leader proposes an empty block because a non-empty one is prepared and not final.
    fn empty_block_at(&self) -> Option<Duration> {
        self.unfinal.map(|since| since.max(self.entered) + self.pacemaker.delta())
    }

    pub(super) fn empty_block_is_due(&self, now: Now) -> bool {
        self.heartbeat_is_due(now) || self.empty_block_at().is_some_and(|at| at <= now.elapsed)
    }

    /// P9: the leader of this view gave it up before its proposal came here: none will.
    pub(super) fn leader_gave_up(&self) -> bool {
        let tally = self.tallies.get(&self.view);
        self.phase == Phase::Waiting
            && self.armed.is_some()
            && tally.is_some_and(|tally| tally.gave_up(self.leader()))
    }

    /// P9: this replica leads, and can propose nothing before it has caught up from a peer's store: nobody has to wait for
    /// it. What a few blocks overtook is worth waiting for; so is what no ledger has, since it comes only while views last.
    pub(super) fn leads_without_blocks(&self) -> bool {
        let lacks_final = self.results.is_above(self.tip.height.plus(CATCH_UP));
        Some(self.leader()) == self.me
            && self.phase == Phase::Waiting
            && self.armed.is_some()
            && lacks_final
            && !on(Bug::TurnKeptWithoutBlocks)
            && matches!(self.ancestors(self.best_parent()), Err(Broken::Missing(_)))
    }

    /// P9: the leader has signed nothing for as many views as there are validators, nor for Δ, while a quorum has.
    pub(super) fn leader_is_away(&self, now: Now) -> bool {
        let turns = self.context.validators.len() as u64;
        let present = |peer: &&super::Peer| peer.heard_view.plus(turns) >= self.view;
        let others = self.peers.values().filter(present).count();
        let leader = self.peers.get(&self.leader());
        self.armed.is_some()
            && others + 1 >= self.quorum()
            && leader.is_some_and(|leader| {
                !present(&leader) && leader.heard_at + self.pacemaker.delta() <= now.elapsed
            })
    }
}
