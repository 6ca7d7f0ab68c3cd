//! Runs seeds of the simulation on all cores, and says how to see a failure again.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tests::simulation::adversary::Kind;
use tests::simulation::campaign::{Campaign, Nodes, Summary};
use tests::simulation::fault::Fault;
use tests::simulation::{say, weather};

const HELP: &str = "\
Runs simulated networks, each drawn from a seed: unmodified replicas, with faults and Byzantine members.

  simulate [--seeds N] [--from S] [--nodes N|mixed] [--jobs J] [--check-determinism]
      N seeds (1000) from S (0) on, each with N validators, or with a number that follows from the seed
      (mixed, mostly 4 and 7), on J threads (one a core). Ends with 1 if any seed breaks a rule.
      --check-determinism runs each seed twice: its trace must be the same.

  simulate --seed S --nodes N [--narrate]
      one seed; with --narrate everything that is sent, finalised or goes wrong is printed";

/// How many failures are printed in full; all are counted.
const SHOWN: usize = 20;
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

enum Task {
    Help,
    Many(Campaign),
    One { seed: u64, nodes: usize, narrate: bool },
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match understand(&arguments) {
        Ok(Task::Help) => {
            say(format_args!("{HELP}"));
            ExitCode::SUCCESS
        }
        Ok(Task::Many(campaign)) => run_many(&campaign),
        Ok(Task::One { seed, nodes, narrate }) => run_one(seed, nodes, narrate),
        Err(error) => {
            eprintln!("{error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn understand(arguments: &[String]) -> Result<Task, String> {
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut campaign = Campaign { from: 0, seeds: 1_000, nodes: Nodes::Mixed, jobs, twice: false };
    let (mut one, mut narrate) = (None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(Task::Help),
            "--narrate" => narrate = true,
            "--check-determinism" => campaign.twice = true,
            "--seed" => one = Some(number(argument, value()?)?),
            "--seeds" => campaign.seeds = number(argument, value()?)?,
            "--from" => campaign.from = number(argument, value()?)?,
            "--jobs" => campaign.jobs = number(argument, value()?)? as usize,
            "--nodes" => {
                campaign.nodes = match value()?.as_str() {
                    "mixed" => Nodes::Mixed,
                    nodes => match number(argument, nodes)? {
                        nodes @ 1..=100 => Nodes::All(nodes as usize),
                        nodes => return Err(format!("--nodes {nodes}, but 1 to 100 are possible")),
                    },
                }
            }
            unknown => return Err(format!("{unknown} is not an option")),
        }
    }
    match one {
        Some(seed) if campaign.twice => Ok(Task::Many(Campaign { from: seed, seeds: 1, ..campaign })),
        Some(seed) => Ok(Task::One { seed, nodes: campaign.nodes.of(seed), narrate }),
        None if narrate => Err("--narrate needs --seed: it prints everything".to_owned()),
        None => Ok(Task::Many(campaign)),
    }
}

fn number(name: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|error| format!("{name} {text} is not a number: {error}"))
}

fn run_one(seed: u64, nodes: usize, narrate: bool) -> ExitCode {
    match weather::run_drawn(seed, nodes, narrate) {
        Ok(report) => {
            say(format_args!(
                "seed {seed}, {nodes} nodes: {} steps, {} blocks, {} messages refused, healed in {:?}, trace {:016x}",
                report.steps, report.blocks, report.refused, report.healed_in, report.trace
            ));
            print_deeds(&report.deeds, false);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run_many(campaign: &Campaign) -> ExitCode {
    let begin = Instant::now();
    let last = Mutex::new(begin);
    let summary = campaign.run(|summary| {
        let Ok(mut last) = last.lock() else { return };
        if last.elapsed() >= PROGRESS_EVERY {
            *last = Instant::now();
            let rate = summary.seeds as f64 / begin.elapsed().as_secs_f64();
            let left = (campaign.seeds - summary.seeds) as f64 / rate;
            // Progress is for people who watch; one who closed the pipe does not.
            let _ = write!(
                std::io::stderr(),
                "\r{} of {} seeds, {rate:.1} a second, {} failed, {}:{:02} left  ",
                summary.seeds,
                campaign.seeds,
                summary.failures.len(),
                left as u64 / 60,
                left as u64 % 60,
            );
        }
    });
    eprintln!();
    print_summary(&summary, begin.elapsed());
    for failure in summary.failures.values().take(SHOWN) {
        say(format_args!("\n{failure}"));
    }
    if summary.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    let seeds: Vec<_> = summary.failures.keys().map(u64::to_string).collect();
    say(format_args!("\n{} of {} seeds fail: {}", seeds.len(), summary.seeds, seeds.join(" ")));
    ExitCode::FAILURE
}

fn print_summary(summary: &Summary, took: Duration) {
    let rate = summary.seeds as f64 / took.as_secs_f64();
    say(format_args!("{} seeds in {took:.1?}, {rate:.1} a second", summary.seeds));
    say(format_args!(
        "{} steps, {} final blocks, {} new epochs, {} messages refused, {} accusations",
        summary.steps, summary.blocks, summary.epochs, summary.refused, summary.accusations
    ));
    let (heal, seed, nodes) = summary.slowest;
    say(format_args!("slowest heal: {heal:.1?}, in seed {seed} with {nodes} nodes"));
    let (views, seed, nodes) = summary.most_views;
    say(format_args!("most views to heal: {views}, in seed {seed} with {nodes} nodes"));
    let (steps, seed, nodes) = summary.longest;
    say(format_args!("most steps: {steps}, in seed {seed} with {nodes} nodes"));
    for fault in Fault::ALL {
        say(format_args!("  {:24} {:>10} times", fault.name(), summary.faults.of(*fault)));
    }
    print_deeds(&summary.deeds, true);
}

fn print_deeds(deeds: &tests::simulation::adversary::Deeds, all: bool) {
    for kind in Kind::ALL {
        let count = deeds.of(*kind);
        if all || count > 0 {
            say(format_args!("  {:24} {count:>10} deeds", kind.name()));
        }
    }
}
