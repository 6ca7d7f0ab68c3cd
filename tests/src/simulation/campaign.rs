//! Many seeds on all cores, and what they came to.
//!
//! Invariant: what a seed does depends on the seed and the number of validators alone, so that a campaign's result
//! does not depend on how many threads ran it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::adversary::{Deeds, Kind};
use super::fault::{Fault, Faults};
use super::{Report, weather};

/// How many validators the networks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// The same number for each seed.
    All(usize),
    /// A number that follows from the seed: mostly 4 and 7, but also 1, 2, 3, 5, 6 and 10.
    Mixed,
}

impl Nodes {
    /// The number for `seed`.
    pub fn of(self, seed: u64) -> usize {
        match (self, seed % 20) {
            (Self::All(nodes), _) => nodes,
            (Self::Mixed, 0..8) => 4,
            (Self::Mixed, 8..14) => 7,
            (Self::Mixed, 14) => 1,
            (Self::Mixed, 15) => 2,
            (Self::Mixed, 16) => 3,
            (Self::Mixed, 17) => 5,
            (Self::Mixed, 18) => 6,
            (Self::Mixed, _) => 10,
        }
    }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many validators each has.
    pub nodes: Nodes,
    /// On how many threads.
    pub jobs: usize,
    /// Whether each seed runs twice, and must give the same trace.
    pub twice: bool,
}

/// What many seeds came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds ran.
    pub seeds: u64,
    /// How many events there were.
    pub steps: u64,
    /// How many blocks became final.
    pub blocks: u64,
    /// How many messages were refused.
    pub refused: u64,
    /// How many epochs began after the first.
    pub epochs: u64,
    /// How often somebody was accused with evidence.
    pub accusations: u64,
    /// What the Byzantine machines did.
    pub deeds: Deeds,
    /// What went wrong by itself.
    pub faults: Faults,
    /// The longest that anything took to heal, in which seed, with how many validators.
    pub slowest: (Duration, u64, usize),
    /// The most views that it took, likewise.
    pub most_views: (u64, u64, usize),
    /// The most events of a seed, which, and with how many validators.
    pub longest: (u64, u64, usize),
    /// The seeds that broke a rule, and how.
    pub failures: BTreeMap<u64, String>,
}

impl Summary {
    fn add(&mut self, seed: u64, nodes: usize, result: Result<Report, String>) {
        self.seeds += 1;
        match result {
            Ok(report) => {
                self.steps += report.steps;
                self.blocks += report.blocks as u64;
                self.refused += report.refused;
                self.epochs += report.epochs;
                self.accusations += report.accusations;
                self.deeds.add(&report.deeds);
                self.faults.add(&report.faults);
                self.slowest = self.slowest.max((report.healed_in, seed, nodes));
                self.most_views = self.most_views.max((report.healed_in_views, seed, nodes));
                self.longest = self.longest.max((report.steps, seed, nodes));
            }
            Err(failure) => {
                self.failures.insert(seed, failure);
            }
        }
    }

    /// The faults that never happened.
    pub fn missing_faults(&self) -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|fault| self.faults.of(*fault) == 0).collect()
    }

    /// The kinds that never acted.
    pub fn idle_kinds(&self) -> Vec<Kind> {
        Kind::ALL.iter().copied().filter(|kind| self.deeds.of(*kind) == 0).collect()
    }
}

impl Campaign {
    /// Runs all of it. `progress` is called after each seed, by whichever thread ran it.
    pub fn run(&self, progress: impl Fn(&Summary) + Sync) -> Summary {
        let next = AtomicU64::new(0);
        let summary = Mutex::new(Summary::default());
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        if place >= self.seeds {
                            break;
                        }
                        let seed = self.from.wrapping_add(place);
                        let nodes = self.nodes.of(seed);
                        let result = self.one(seed, nodes);
                        let mut summary = summary.lock().unwrap();
                        summary.add(seed, nodes, result);
                        progress(&summary);
                    }
                });
            }
        });
        summary.into_inner().unwrap()
    }

    fn one(&self, seed: u64, nodes: usize) -> Result<Report, String> {
        let report = attempt(seed, nodes)?;
        if self.twice {
            let again = attempt(seed, nodes)?;
            if report != again {
                return Err(format!(
                    "seed {seed} is not deterministic: {report:?}, then {again:?}\n  again: {} --check-determinism",
                    weather::again(seed, nodes)
                ));
            }
        }
        Ok(report)
    }
}

/// A panic of the simulator itself is a failure of its seed, not of the campaign.
fn attempt(seed: u64, nodes: usize) -> Result<Report, String> {
    match catch_unwind(AssertUnwindSafe(|| weather::run(seed, nodes))) {
        Ok(result) => result.map_err(|failure| failure.to_string()),
        Err(_) => {
            Err(format!("the simulator panics in seed {seed}\n  again: {}", weather::again(seed, nodes)))
        }
    }
}
