//! Runs Twins cases from the command line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use tests::say::{say, tell};
use tests::{processors, twins};

/// Runs Twins cases: one key on two hosts, in every way to divide five hosts.
#[derive(Parser)]
#[command(name = "twins")]
struct Options {
    /// The number of the first case
    #[arg(long, default_value_t = 0, value_name = "N")]
    from: u64,
    /// How many cases: 30,000 are all of three rounds and two groups, and longer ones
    #[arg(long, default_value_t = 30_000, value_name = "N")]
    count: u64,
    /// How many threads [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    let Options { from, count, jobs } = Options::parse();
    let jobs = jobs.unwrap_or_else(processors);
    let started = Instant::now();
    let told = AtomicU64::new(0);
    let report = twins::run(from..from.saturating_add(count), jobs, |cases, failures| {
        let seconds = started.elapsed().as_secs();
        if seconds >= told.load(Ordering::Relaxed) + 5 {
            told.store(seconds, Ordering::Relaxed);
            tell(format_args!("[{seconds} s] {cases} of {count} cases, {failures} failures"));
        }
    });
    say(&report);
    let catalogue = twins::scenario::Catalogue::new();
    for (number, what) in &report.failures {
        say(format_args!(
            "case {number}: {what}\n  {}\n  again: scripts/simulate --twins --from {number} --count 1",
            catalogue.case(*number)
        ));
    }
    say(format_args!("{} s", started.elapsed().as_secs()));
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
