//! Twins (Bano et al., 2020): Byzantine behaviour made of honest parts. One validator's key runs on two hosts, two
//! unmodified replicas with one identity, and each round of a scenario says who hears whom. Equivocation, amnesia
//! and selective sending come about by themselves.
//!
//! - [`scenario`]: which cases there are, each under a number
//! - [`network`]: runs one: by rounds, then healed; what must hold
//!
//! A round is a view: what is said about view `v` is heard only within the groups of round `v`. After the last round,
//! or after a time, the network heals, and has to order something new within a bounded number of views.

pub mod network;
pub mod scenario;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub use network::{Network, Outcome};
pub use scenario::Scenario;

/// What a number of cases came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many ran.
    pub cases: u64,
    /// How many of them differ from all others, twins swapped or not.
    pub distinct: usize,
    /// How many steps all replicas made.
    pub steps: u64,
    /// In how many cases something was final before the network healed.
    pub final_before_heal: u64,
    /// In how many cases somebody signed two different things, as only twins can.
    pub equivocations: u64,
    /// The most views that a healed network took to order something new.
    pub views_to_heal: u64,
    /// The cases in which something does not hold: number and what.
    pub failures: Vec<(u64, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, distinct, steps, final_before_heal, equivocations, views_to_heal, failures } = self;
        write!(
            f,
            "{cases} cases, {distinct} of them distinct, {steps} steps; blocks were final before the heal in \
             {final_before_heal}, the twins contradicted each other in {equivocations}; something new was final \
             within {views_to_heal} views of the heal; {} failures",
            failures.len()
        )
    }
}

/// Runs the cases with these numbers on `jobs` threads. `progress` is told after each how many ran and failed.
pub fn run(cases: Range<u64>, jobs: usize, progress: impl Fn(u64, usize) + Sync) -> Report {
    let catalogue = scenario::Catalogue::new();
    let next = AtomicU64::new(cases.start);
    let total = Mutex::new((Report::default(), BTreeSet::new()));
    std::thread::scope(|threads| {
        for _ in 0..jobs.max(1) {
            threads.spawn(|| {
                let mut network = Network::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases.end {
                        break;
                    }
                    let scenario = catalogue.case(number);
                    let outcome = network.run(&scenario);
                    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    total.1.insert(scenario);
                    total.0.add(number, outcome);
                    progress(total.0.cases, total.0.failures.len());
                }
            });
        }
    });
    let (mut report, distinct) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.distinct = distinct.len();
    report.failures.sort();
    report
}

impl Report {
    fn add(&mut self, number: u64, outcome: Outcome) {
        self.cases += 1;
        self.steps += outcome.steps;
        self.final_before_heal += u64::from(outcome.final_before_heal);
        self.equivocations += u64::from(outcome.equivocated);
        match outcome.result {
            Ok(views) => self.views_to_heal = self.views_to_heal.max(views),
            Err(what) => self.failures.push((number, what)),
        }
    }
}
