//! Runs seeds of the simulation on all cores, and says how to see a failure again.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use tests::processors;
use tests::say::{say, tell};
use tests::simulation::adversary::Kind;
use tests::simulation::campaign::{Campaign, Nodes, Summary};
use tests::simulation::fault::Fault;
use tests::simulation::weather;

/// Runs simulated networks, each drawn from a seed: unmodified replicas, with faults and Byzantine members.
#[derive(Parser)]
#[command(name = "simulate")]
struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    from: u64,
    /// This seed alone
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// How many validators: 1 to 100, or `mixed`, a number that follows from the seed, mostly 4 and 7
    #[arg(long, default_value = "mixed", value_name = "N|mixed", value_parser = nodes)]
    nodes: Nodes,
    /// How many threads [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Runs each seed twice: its trace must be the same
    #[arg(long)]
    check_determinism: bool,
    /// Prints everything that is sent, finalised or goes wrong
    #[arg(long, requires = "seed", conflicts_with = "check_determinism")]
    narrate: bool,
}

/// How many failures are printed in full; all are counted.
const SHOWN: usize = 20;
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let Options { seeds, from, seed, nodes, jobs, check_determinism: twice, narrate } = Options::parse();
    let jobs = jobs.unwrap_or_else(processors);
    match seed {
        Some(seed) if twice => run_many(&Campaign { from: seed, seeds: 1, nodes, jobs, twice }),
        Some(seed) => run_one(seed, nodes.of(seed), narrate),
        None => run_many(&Campaign { from, seeds, nodes, jobs, twice }),
    }
}

fn nodes(text: &str) -> Result<Nodes, String> {
    match text.parse() {
        Ok(nodes @ 1..=100) => Ok(Nodes::All(nodes)),
        _ if text == "mixed" => Ok(Nodes::Mixed),
        _ => Err("expected 1 to 100, or `mixed`".to_owned()),
    }
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
            tell(failure);
            ExitCode::FAILURE
        }
    }
}

fn run_many(campaign: &Campaign) -> ExitCode {
    let begin = Instant::now();
    let told = Mutex::new((begin, BTreeSet::new()));
    let summary = campaign.run(|summary| {
        let Ok(mut told) = told.lock() else { return };
        let (last, shown) = &mut *told;
        // At once: a long run need not end before anybody looks at what it found.
        for (seed, failure) in &summary.failures {
            if shown.len() < SHOWN && shown.insert(*seed) {
                say(format_args!("\n{failure}\n"));
            }
        }
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
    tell("");
    print_summary(&summary, begin.elapsed());
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
