//! Runs Twins cases from the command line.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tests::say::{say, tell};
use tests::twins;

const USAGE: &str = "usage: twins [--from N] [--count N] [--jobs N]
  --from N    the number of the first case (default 0)
  --count N   how many cases (default: all of three rounds and two groups, and as many longer ones as make 30,000)
  --jobs N    how many threads (default: as many as there are processors)";

struct Options {
    from: u64,
    count: u64,
    jobs: u64,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut options = Options { from: 0, count: 30_000, jobs: processors };
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--from" => &mut options.from,
            "--count" => &mut options.count,
            "--jobs" => &mut options.jobs,
            other => return Err(format!("`{other}` is not known\n{USAGE}")),
        };
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"))?;
        *place = value.parse().map_err(|_| format!("{argument} {value} is not a number\n{USAGE}"))?;
    }
    Ok(options)
}

fn main() -> ExitCode {
    let Options { from, count, jobs } = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            tell(wrong);
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let told = AtomicU64::new(0);
    let report = twins::run(from..from.saturating_add(count), jobs as usize, |cases, failures| {
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
            "case {number}: {what}\n  {}\n  again: twins --from {number} --count 1",
            catalogue.case(*number)
        ));
    }
    say(format_args!("{} s", started.elapsed().as_secs()));
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
