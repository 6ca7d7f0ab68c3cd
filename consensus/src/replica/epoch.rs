//! P12: where an epoch ends, and how the next one begins.
//!
//! The first block that cites a checkpoint with a pending configuration closes its epoch. What follows are fillers: they
//! exist only so that the closing block becomes final, and are never executed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use genesis::{Configuration, Digest, Height, View};

use super::checkpoint::{Results, Unproven};
use super::{Now, Phase, Replica};
use crate::bug::{Bug, on};
use crate::candidate::{Block, Tip};
use crate::checkpoint::CheckpointCertificate;
use crate::evidence::Watch;
use crate::message::Context;
use crate::output::{Action, Record};
use crate::pacemaker::Pacemaker;

/// The final block that closes this epoch.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    /// Its height.
    pub(super) height: Height,
    /// What takes over, once the block is executed.
    pub(super) next: Option<Configuration>,
}

/// What a block is to its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It comes before the end.
    Open,
    /// It closes the epoch; the configuration with this hash takes over.
    Closing(Digest),
    /// It comes after the end.
    Filler,
}

impl Replica {
    /// Whether the epoch is over after `parent`; after the tip where that is none.
    pub(super) fn is_over_after(&self, parent: Option<&Block>) -> Result<bool, Unproven> {
        match parent {
            None => Ok(self.closed.is_some()),
            // It closes the epoch, or is a filler, which cites what the closing block does.
            Some(parent) => Ok(self.results.pending(parent.cites)?.is_some()),
        }
    }

    /// What `block` on `parent` is to its epoch.
    pub(super) fn place(&self, block: &Block, parent: Option<&Block>) -> Result<Place, Unproven> {
        if self.is_over_after(parent)? {
            return Ok(Place::Filler);
        }
        let pending = self.results.pending(block.cites)?;
        Ok(pending.map_or(Place::Open, Place::Closing))
    }

    /// Whether the validators voted for a change that no final block has closed this epoch for yet.
    pub(super) fn close_is_pending(&self) -> bool {
        self.closed.is_none() && matches!(self.results.pending(self.results.newest()), Ok(Some(_)))
    }

    /// The height of the closing block, while nothing shows what came of it.
    pub(super) fn awaits_opening(&self) -> Option<Height> {
        let height = self.closed.as_ref()?.height;
        self.results.certificate(height).is_none().then_some(height)
    }

    /// The closing block is final and executed, and its checkpoint has its certificate: the next epoch begins.
    pub(super) fn begin_epoch(&mut self, now: Now) {
        let Some(Closed { height, next: Some(next) }) = self.closed.clone() else { return };
        let opening = self.results.certificate(height).cloned();
        let Some(opening) = opening.or_else(|| self.results.unproven(height)) else { return };
        self.output.record(Record::Epoch(self.context.epoch.next(), Some(opening.clone())));
        self.output.act(Action::Begin {
            epoch: self.context.epoch.next(),
            configuration: next.clone(),
            opening: opening.clone(),
        });
        self.enter_epoch(now, next, opening);
    }

    fn enter_epoch(&mut self, now: Now, configuration: Configuration, opening: CheckpointCertificate) {
        let Configuration { validators, parameters } = configuration;
        let epoch = self.context.epoch.next();
        self.context = Context { chain: self.context.chain, epoch, validators };
        let seat = self.context.validators.by_consensus_key(&self.secret.public());
        self.me = seat.or(self.me.filter(|_| on(Bug::RemovedValidatorVotes)));
        self.pacemaker = Pacemaker::new(&parameters);
        self.parameters = parameters;
        self.tip = Tip::opening(&opening);
        self.results = Results::new(self.tip.cites, Some(opening));
        self.closed = None;
        self.watch = Watch::default();
        self.tip_certificate = None;
        self.committed = None;
        self.blocks = BTreeMap::new();
        self.blocks_kept = 0;
        self.prepared = BTreeMap::new();
        self.failed = BTreeMap::new();
        self.own = BTreeMap::new();
        self.tallies = BTreeMap::new();
        self.early = BTreeMap::new();
        self.recent = VecDeque::new();
        self.view = View::ZERO.next();
        self.failed_from = self.view;
        self.entered = now.elapsed;
        self.phase = Phase::Waiting;
        self.peers = super::recover::peers(&self.context, self.me, now);
        self.asked_candidates = BTreeSet::new();
        self.asked_certificates = None;
        self.asked_checkpoint = None;
        self.helper = None;
        self.armed = None;
        self.unfinal = None;
        self.last_block_at = now.elapsed;
        self.resend_at = None;
        self.catch_up_at = None;
        self.time_fits_at = None;
        self.stirred = true;
        self.forget_floor();
        self.stand();
        self.take_up_later_records(now);
    }
}
