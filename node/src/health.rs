//! Whether the node lives, and whether it is ready: connected to a quorum, not behind, and its disk above its floor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use consensus::Report;
use genesis::Height;
use p2p::{Network, Role};
use tokio::sync::watch;

use crate::disk::{Disk, Room};
use crate::driver::Snapshot;
use crate::membership::Membership;
use crate::mempool::Mempool;
use crate::sync::Progress;

/// A node whose execution is so far behind finality is catching up.
const MAX_LAG: u64 = 64;
/// Where nothing became final for so long while something waited, the node is not ready.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// What readiness is read from.
pub struct Health {
    /// The peers.
    pub network: Network,
    /// Who decides.
    pub membership: Membership,
    /// The replica's position.
    pub snapshot: watch::Receiver<Snapshot>,
    /// How far catching up is.
    pub progress: Arc<Progress>,
    /// What clients wait for here.
    pub mempool: Arc<Mempool>,
    /// Where it writes.
    pub disk: Arc<Disk>,
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
    /// How many validators there is a connection to, itself counted where it is one.
    pub validators: usize,
    /// How many blocks are known to be final that are not executed here.
    pub lag: u64,
    /// For how long something has waited while no block became final; none where nothing waits.
    pub waited: Option<Duration>,
}

impl Health {
    /// Looks now.
    pub fn look(&self) -> Readiness {
        let snapshot = *self.snapshot.borrow();
        let members = self.membership.now();
        let (quorum, itself) = (members.context.validators.quorum(), usize::from(members.me.is_some()));
        let peers = self.network.peers();
        let validators =
            peers.iter().filter(|peer| peer.role == Role::Validator && peer.link.is_some()).count() + itself;
        // One validator shows an observer all there is; to be sure to hear of it, it needs one that is honest.
        let needed = if itself == 1 { quorum } else { members.context.validators.faulty() + 1 };
        let lag = snapshot.status.tip.height.since(snapshot.executed);
        // What waits may have come long after the newest block: the later of the two counts. Without a quorum nobody acknowledges a
        // batch, so the replica waits for nothing, and this node's clients do.
        let armed = snapshot.status.armed.map(|since| self.started + since);
        let since = armed.into_iter().chain(self.mempool.load().waits_since).min();
        let waited = since.map(|since| since.max(snapshot.final_at.unwrap_or(since)).elapsed());
        let problem = if let Some(full) = self.disk.full() {
            Some(full.to_string())
        } else if validators < needed {
            Some(format!("{validators} validators are connected, itself counted, but {needed} are needed"))
        } else if let Some(problem) = recovering(snapshot.status.standing) {
            Some(problem)
        } else if let Some(far) = self.progress.now().filter(|far| far.target.since(far.height) > MAX_LAG) {
            Some(format!(
                "catching up: at height {} of about {}, {:.0} blocks a second",
                far.height, far.target, far.blocks_per_second
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
        let ahead = self.progress.now().map_or(0, |far| far.target.since(height));
        Readiness {
            ready: problem.is_none(),
            why: problem.unwrap_or_else(|| {
                let room = match self.disk.room() {
                    Room::Plenty => String::new(),
                    Room::Scarce | Room::Gone => {
                        format!("; the disk fills up: {} are free", self.disk.free())
                    }
                };
                format!("{validators} validators are connected, itself counted{room}")
            }),
            height,
            validators,
            lag: lag.max(ahead),
            waited,
        }
    }
}

/// What a validator that may not vote yet waits for.
fn recovering(standing: Report) -> Option<String> {
    match standing {
        Report::Observing | Report::Voting => None,
        Report::Inquiring { answers, needed } => Some(format!(
            "{answers} of {needed} validators have told which votes of this one they know; it votes then"
        )),
        Report::Wiped { answers, needed } => Some(format!(
            "the voting record was lost, and {answers} of {needed} other validators have told which view they are in; it \
             votes again above that"
        )),
        Report::Barred(view) => {
            Some(format!("the voting record was lost: this validator votes again above view {view}"))
        }
    }
}
