//! How far catching up is, and how fast it goes: for the log, the figures, and whoever asks whether the node is ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesis::Height;

use crate::metrics::Metrics;

/// How often the log tells.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Where catching up is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// The newest executed block.
    pub height: Height,
    /// The newest block that a quorum is known to have executed.
    pub target: Height,
    /// How many blocks were executed in the last second.
    pub blocks_per_second: f64,
}

/// The newest [`Position`], if this node is catching up.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Option<Position>>);

impl Progress {
    /// The newest position; none where there is nothing to catch up with.
    pub fn now(&self) -> Option<Position> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Position>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures one run of catching up. Gone, there is nothing to catch up with any more.
pub(super) struct Meter {
    progress: Arc<Progress>,
    metrics: Arc<Metrics>,
    began: (Instant, Height),
    told: (Instant, Height),
    rate: f64,
    /// Whether the log has told that this node is behind.
    spoken: bool,
}

impl Meter {
    pub(super) fn new(progress: Arc<Progress>, metrics: Arc<Metrics>, height: Height) -> Self {
        let began = (Instant::now(), height);
        Self { progress, metrics, began, told: began, rate: 0.0, spoken: false }
    }

    /// Takes a look; tells once a second, if there is anything to tell.
    pub(super) fn look(&mut self, height: Height, target: Height, peers: usize) {
        let elapsed = self.told.0.elapsed();
        let is_behind = target > height;
        let tells = elapsed >= TELL_EVERY;
        if tells {
            self.rate = height.since(self.told.1) as f64 / elapsed.as_secs_f64();
            self.told = (Instant::now(), height);
        }
        if is_behind {
            self.metrics.sync_height.set(height.0 as i64);
            self.metrics.sync_target.set(target.0 as i64);
            self.metrics.sync_rate.set(self.rate);
            *self.progress.lock() = Some(Position { height, target, blocks_per_second: self.rate });
        }
        if tells && is_behind {
            self.spoken = true;
            let blocks_per_second = self.rate.round();
            tracing::info!(%height, of = %format_args!("~{target}"), blocks_per_second, peers, "catching up");
        }
    }

    /// The run is over.
    pub(super) fn finish(&mut self, height: Height) {
        let (began, first) = self.began;
        let (blocks, seconds) = (height.since(first), began.elapsed().as_secs_f64());
        if blocks > 1 || self.spoken {
            let blocks_per_second = (blocks as f64 / seconds).round();
            tracing::info!(from = %first.next(), to = %height, blocks_per_second, "caught up with the peers' stores");
            self.metrics.sync_height.set(height.0 as i64);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.metrics.sync_rate.set(0.0);
        *self.progress.lock() = None;
    }
}
