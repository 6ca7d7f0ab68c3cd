//! Whether the node lives, and whether it is ready: connected to a quorum, and not behind.

use std::time::{Duration, Instant};

use genesis::Height;
use p2p::{Network, Role};
use tokio::sync::watch;

use crate::driver::Snapshot;

/// A node whose execution is so far behind finality is catching up.
const MAX_LAG: u64 = 64;
/// Where nothing became final for so long while something waited, the node is not ready.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What readiness is read from.
pub struct Health {
    /// The peers.
    pub network: Network,
    /// How many validators decide.
    pub quorum: usize,
    /// The replica's position.
    pub snapshot: watch::Receiver<Snapshot>,
    /// What `Status::armed` counts from: when the node started.
    pub started: Instant,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the node can serve writes and fresh reads.
    pub ready: bool,
    /// Why not; or what it has.
    pub why: String,
    /// The newest executed block.
    pub height: Height,
}

impl Health {
    /// Looks now.
    pub fn look(&self) -> Readiness {
        let snapshot = *self.snapshot.borrow();
        let peers = self.network.peers();
        let validators =
            peers.iter().filter(|peer| peer.role == Role::Validator && peer.link.is_some()).count() + 1;
        let lag = snapshot.status.tip.height.since(snapshot.executed);
        // What waits may have come long after the newest block: the later of the two counts.
        let armed = snapshot.status.armed.map(|since| self.started + since);
        let waited = armed.map(|since| since.max(snapshot.final_at.unwrap_or(since)).elapsed());
        let problem = if validators < self.quorum {
            Some(format!(
                "{validators} of the {} validators that decide are connected, itself counted",
                self.quorum
            ))
        } else if lag > MAX_LAG {
            Some(format!("catching up: {lag} final blocks wait to be executed"))
        } else if snapshot.status.behind {
            Some("catching up: a newer block is known to be final that is not here yet".to_owned())
        } else {
            let stuck = waited.filter(|waited| *waited > STUCK_AFTER);
            stuck.map(|waited| {
                format!("transactions wait, but no block became final for {} s", waited.as_secs())
            })
        };
        let height = snapshot.executed;
        Readiness {
            ready: problem.is_none(),
            why: problem.unwrap_or_else(|| format!("{validators} validators are connected, itself counted")),
            height,
        }
    }
}
