//! A relay between the nodes of a network of real processes: for each ordered pair of nodes a path with delay, jitter,
//! loss and cuts.
//!
//! All nodes share one genesis document, which gives each validator one address: the relay's door for it. Who dialled is
//! found by the source port, in the kernel's table of sockets ([`dialler`]). Each connection is carried by two pumps
//! ([`pump`]), one a direction, so a path can be cut one way.
//!
//! What it models is TCP as an application sees it, with Linux's figures:
//! - **Loss** stalls a connection until the lost segment is sent again: 200 to 400 ms, doubled each time that is lost
//!   too. What is behind it waits, as TCP keeps the order. That is the dear case, a loss at the end of what is under way,
//!   which is what short messages meet; a loss in a long stream is mended faster in truth.
//! - **A rate** is that of one direction between two nodes, whatever number of connections shares it.
//! - **A silent cut** drops every segment: connections stay open, nothing arrives, and what was sent is sent again at
//!   intervals that double (a dial from 1 s, data from 200 ms). So data arrives some time *after* the heal, by up to as
//!   long as the cut lasted. Acknowledgements are not modelled: over a one-way cut the open direction goes on.
//! - **A hard cut** closes the connections, and new ones at once.
//! - Reordering and duplication do not exist above TCP: the simulation has them.
//!
//! A seed decides the draws for each connection, but not the processes' timing: a run is alike, not the same.

pub mod dialler;
mod pump;

use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::simulation::chance::Chance;

/// The largest segment, about: what one loss hits.
const SEGMENT: usize = 1_448;
/// When a lost segment is sent again: at the earliest and at the latest.
const RETRANSMISSION: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));

/// What a path is like while it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// How long everything takes.
    pub delay: Duration,
    /// By how much more, at most.
    pub jitter: Duration,
    /// In how many of 100 cases a segment is lost.
    pub loss_percent: u64,
    /// How many bytes pass a second; as many as come where none is named.
    pub rate_bytes: Option<NonZeroU64>,
}

/// Whether anything passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// It does.
    #[default]
    Open,
    /// Every segment is lost; connections stay open.
    Silent,
    /// Connections are closed, and new ones too.
    Closed,
}

/// One direction between two nodes.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    weather: Weather,
    passage: Passage,
}

/// All paths, by who sends and who receives.
type Paths = Vec<Vec<Path>>;

/// A node as others reach it.
#[derive(Debug)]
pub struct Door {
    /// Where the genesis document says that it is.
    pub listener: TcpListener,
    /// Where it is.
    pub node: SocketAddr,
}

/// Tells who dialled from an address to a door.
pub type Whose = dyn Fn(SocketAddr, SocketAddr) -> Option<usize> + Send + Sync;

/// The relay: a thread with a runtime of its own, so that nothing that a test does holds the traffic up. Ends when
/// dropped.
#[derive(Debug)]
pub struct Relay {
    paths: watch::Sender<Paths>,
    figures: Arc<Figures>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What passed.
#[derive(Debug)]
struct Figures {
    bytes: Vec<Vec<AtomicU64>>,
    strangers: AtomicU64,
}

impl Relay {
    /// Opens the doors, each for the node of its place; `whose` tells who dials.
    ///
    /// # Panics
    /// When the system gives no thread or no runtime.
    pub fn start(seed: u64, doors: Vec<Door>, whose: Arc<Whose>) -> Self {
        let count = doors.len();
        let (paths, watched) = watch::channel(vec![vec![Path::default(); count]; count]);
        let bytes = (0..count).map(|_| (0..count).map(|_| AtomicU64::new(0)).collect()).collect();
        let figures = Arc::new(Figures { bytes, strangers: AtomicU64::new(0) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (stop, stopped) = oneshot::channel();
        let lines = pump::Lines::new(count);
        let shared = pump::Shared { seed, paths: watched, lines, figures: Arc::clone(&figures), whose };
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                for (node, door) in doors.into_iter().enumerate() {
                    tokio::spawn(pump::attend(node, door, shared.clone()));
                }
                // An error means that the handle is gone: that is the end too.
                let _ = stopped.await;
            });
            // With the runtime every connection goes.
        });
        Self { paths, figures, stop: Some(stop), thread: Some(thread) }
    }

    /// Gives all paths this weather.
    pub fn weather(&self, weather: Weather) {
        self.change(|_, _, path| path.weather = weather);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: usize, to: usize, how: Passage) {
        self.change(|sender, receiver, path| {
            if (sender, receiver) == (from, to) {
                path.passage = how;
            }
        });
    }

    /// Cuts both directions between all nodes that are not in one of the groups together.
    pub fn split(&self, groups: &[&[usize]], how: Passage) {
        let together = |one: usize, other: usize| {
            groups.iter().any(|group| group.contains(&one) && group.contains(&other))
        };
        self.change(|sender, receiver, path| {
            if !together(sender, receiver) {
                path.passage = how;
            }
        });
    }

    /// Opens all paths. The weather stays.
    pub fn heal(&self) {
        self.change(|_, _, path| path.passage = Passage::Open);
    }

    /// How many bytes passed from a node to another.
    pub fn carried(&self, from: usize, to: usize) -> u64 {
        self.figures.bytes[from][to].load(Relaxed)
    }

    /// How many connections were refused because nobody knew who dialled.
    pub fn strangers(&self) -> u64 {
        self.figures.strangers.load(Relaxed)
    }

    fn change(&self, mut change: impl FnMut(usize, usize, &mut Path)) {
        self.paths.send_modify(|paths| {
            for (sender, row) in paths.iter_mut().enumerate() {
                for (receiver, path) in row.iter_mut().enumerate() {
                    change(sender, receiver, path);
                }
            }
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread was printed by it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Weather {
    /// How long `bytes` take to cross.
    fn crossing(self, bytes: usize, chance: &mut Chance) -> Duration {
        let mut time = self.delay + chance.duration((Duration::ZERO, self.jitter));
        if (0..bytes.div_ceil(SEGMENT)).fold(false, |lost, _| chance.percent(self.loss_percent) || lost) {
            let mut pause = chance.duration(RETRANSMISSION);
            time += pause;
            // A path that loses everything is a cut, and not meant here: ten times are enough.
            for _ in 0..10 {
                if !chance.percent(self.loss_percent) {
                    break;
                }
                pause *= 2;
                time += pause;
            }
        }
        time
    }
}

#[cfg(test)]
mod tests;
