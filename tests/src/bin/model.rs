//! Model checking from the command line; `scripts/model` calls it.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use genesis::ValidatorIndex;
use tests::model::{Bounds, explore};
use tests::say::{say, tell};

/// Goes through every run of four replicas, some of them Byzantine, up to a number of views.
#[derive(Parser)]
#[command(name = "model")]
struct Options {
    /// The last view in which something is said
    #[arg(long, default_value_t = 2, value_name = "N")]
    views: u64,
    /// Which of the four validators break the rules; 1 leads view 1
    #[arg(
        long,
        default_value = "1",
        value_name = "INDEX,…",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(..i64::from(VALIDATORS))
    )]
    byzantine: Vec<u16>,
    /// Replicas also restart, at any moment
    #[arg(long)]
    restarts: bool,
}

const VALIDATORS: u16 = 4;

fn main() -> ExitCode {
    let Options { views, byzantine, restarts } = Options::parse();
    let byzantine = byzantine.into_iter().map(ValidatorIndex).collect();
    let bounds = Bounds { validators: VALIDATORS, byzantine, views, restarts };
    say(format_args!("{bounds:?}"));
    let started = Instant::now();
    let mut told = started;
    let report = explore(bounds, |level, looked_at, reached| {
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            let seconds = started.elapsed().as_secs();
            tell(format_args!(
                "[{seconds} s] {level} messages sent; {looked_at} states looked at, {reached} reached"
            ));
        }
    });
    say(&report);
    say(format_args!("{} s", started.elapsed().as_secs()));
    if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
