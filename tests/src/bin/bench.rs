//! How many transactions a second a network on this machine commits, beside what the machine could do: `scripts/bench`.
//!
//! Exit codes: 0 where it is told; 1 where a ratio dropped against the baseline; 2 for the command line; 3 where a run does
//! not count; 130 after Ctrl-C.

// A program of the tests: what does not hold ends it.
#![allow(clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use clap::Parser;
use tests::bench::campaign::{self, CampaignError, Plan, Report};
use tests::bench::compare::Baseline;
use tests::bench::plot;
use tests::bench::setup::{Links, Mix, Policy, Setup};
use tests::bench::state::Kept;
use tests::filling::BLOCK;
use tests::say::{say, tell};
use tokio::signal::unix::{SignalKind, signal};

const DROPPED: i32 = 1;
const COMMAND_LINE: i32 = 2;
const REFUSED: i32 = 3;
const INTERRUPTED: i32 = 130;

/// Measures a network of real validators on this machine, beside the machine's own ceilings.
///
/// Prints tables, and writes bench.json and bench.svg. A run in which a validator fell behind, the client missed its rate or a
/// transaction was lost is not told: the exit code is 3 then, with the reason.
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    /// How many validators
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    validators: u8,
    /// Who may register: under `endorsed`, a registrar signs each registration too
    #[arg(long, value_enum, default_value = "open")]
    policy: Policy,
    /// What is sent, by weights: such as create=80,update=15,create-many=5 (20 DIDs each)
    #[arg(long, default_value = "create=1", value_name = "KIND=WEIGHT,…")]
    mix: Mix,
    /// Measure the ordering alone: bytes that no validator looks into, in the place of transactions
    #[arg(long, conflicts_with_all = ["policy", "mix", "state"])]
    ordering: bool,
    /// How many bytes each of these has
    #[arg(long, default_value_t = 512, requires = "ordering", value_name = "BYTES", value_parser = clap::value_parser!(u32).range(8..=65_536))]
    size: u32,
    /// What is between each two validators, one way, such as 50ms,0,1Gbit; nothing unless named
    #[arg(long, value_name = "DELAY,LOSS,RATE")]
    links: Option<Links>,
    /// The validators begin with so many DIDs in their ledgers, in thousands: 10000000. It is compared with new ledgers
    #[arg(long, value_name = "DIDS", conflicts_with = "links", value_parser = dids)]
    state: Option<u64>,
    /// Where such ledgers are kept for the next time: ten million DIDs are 8 GB, and take a quarter of an hour to fill in
    #[arg(long, default_value = "bench/state", value_name = "DIR", requires = "state")]
    state_dir: PathBuf,
    /// Only fill that ledger in, for later runs
    #[arg(long, requires = "state")]
    fill_only: bool,
    /// How often it is measured at saturation; half as often at half and at double of it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    runs: Option<u16>,
    /// How long each of these sends
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: Option<u64>,
    /// The offered rates of the ramp, a second; saturation is searched for unless they are named
    #[arg(long, value_delimiter = ',', value_name = "RATE,…", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rates: Vec<u64>,
    /// Fewer and shorter runs
    #[arg(long)]
    quick: bool,
    /// An earlier bench.json: exit code 1 where a ratio dropped by more than a tenth
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Where bench.json and bench.svg are written
    #[arg(long, default_value = "bench", value_name = "DIR")]
    out: PathBuf,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// A number of DIDs that a ledger is filled with.
fn dids(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|dids: &u64| *dids > 0 && dids.is_multiple_of(BLOCK as u64));
    number.ok_or_else(|| format!("a multiple of {BLOCK}, such as 10000000, is expected"))
}

impl Options {
    fn plan(&self) -> Plan {
        let (runs, seconds, step_seconds) = if self.quick { (3, 5, 4) } else { (5, 10, 6) };
        let mut rates = self.rates.clone();
        rates.sort_unstable();
        rates.dedup();
        let seconds = self.seconds.unwrap_or(seconds);
        Plan {
            setup: Setup {
                validators: usize::from(self.validators),
                policy: self.policy,
                mix: self.mix,
                ordering: self.ordering.then_some(self.size),
                links: self.links,
                state: self.state,
                rates,
            },
            kept: None,
            runs: self.runs.map_or(runs, usize::from),
            seconds,
            step_seconds: step_seconds.min(seconds),
        }
    }
}

fn main() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let code = runtime.block_on(async {
        let [mut interrupted, mut terminated] = [SignalKind::interrupt(), SignalKind::terminate()]
            .map(|kind| signal(kind).expect("signals can be waited for"));
        // What is not chosen is dropped, and with it the network's processes and folders.
        tokio::select! {
            code = run(&options) => code,
            _ = interrupted.recv() => INTERRUPTED,
            _ = terminated.recv() => INTERRUPTED,
        }
    });
    if code == INTERRUPTED {
        tell("Interrupted: the validators are stopped, and nothing is told.");
    }
    // Signing that is under way need not end first.
    std::process::exit(code);
}

async fn run(options: &Options) -> i32 {
    if options.state.is_some() && options.policy == Policy::Endorsed {
        return ended(
            COMMAND_LINE,
            &"--state fills ledgers by registrations that nobody endorses: leave --policy endorsed out",
        );
    }
    let mut plan = options.plan();
    let baseline = options.against.as_deref().map(|path| Baseline::read(path, &plan.setup)).transpose();
    let baseline = match baseline {
        Ok(baseline) => baseline,
        Err(error) => return ended(COMMAND_LINE, &error),
    };
    if let Err(error) = std::fs::create_dir_all(&options.out) {
        let out = options.out.display();
        return ended(
            COMMAND_LINE,
            &format!("--out {out}: {error}. Name a folder that can be made and written to"),
        );
    }
    // A baseline that each run replaces lets a slow decline pass.
    let written = options.out.join("bench.json").canonicalize().ok();
    if written.is_some() && written == options.against.as_deref().and_then(|path| path.canonicalize().ok()) {
        let out = options.out.display();
        return ended(
            COMMAND_LINE,
            &format!("--out {out} would overwrite the baseline: name another folder"),
        );
    }
    if let Some(dids) = options.state {
        tell(format!("{dids} DIDs in {}", options.state_dir.display()));
        let (folder, validators) = (options.state_dir.clone(), plan.setup.validators);
        let kept = tokio::task::spawn_blocking(move || Kept::prepare(&folder, dids, validators)).await;
        match kept.expect("the ledger is prepared") {
            Ok(_) if options.fill_only => return 0,
            Ok(kept) => plan.kept = Some(kept),
            Err(error) => return ended(COMMAND_LINE, &error),
        }
    }
    let report = match campaign::run(&plan).await {
        Ok(report) => report,
        Err(error @ CampaignError::TooMany { .. }) => return ended(COMMAND_LINE, &error),
        Err(error) => return ended(REFUSED, &error),
    };
    if let Err(error) = write(&report, &options.out) {
        return ended(COMMAND_LINE, &format!("{} cannot be written to: {error}", options.out.display()));
    }
    if options.json {
        say(serde_json::to_string_pretty(&report).expect("a report is JSON"));
    } else {
        say(report.to_text());
    }
    let mut dropped = false;
    for line in baseline.iter().flat_map(|baseline| baseline.compare(&report.ratios)) {
        let now = line.now.map_or("gone".to_owned(), |now| format!("{now:.3}"));
        let verdict = if line.dropped() { "  dropped by more than a tenth" } else { "" };
        tell(format!("{:30}{:.3} before, {now} now{verdict}", line.name, line.before));
        dropped |= line.dropped();
    }
    if dropped { DROPPED } else { 0 }
}

fn write(report: &Report, out: &Path) -> std::io::Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    std::fs::write(out.join("bench.json"), json + "\n")?;
    std::fs::write(out.join("bench.svg"), plot::svg(report))?;
    tell(format!("Written: {}", out.join("bench.{json,svg}").display()));
    Ok(())
}

fn ended(code: i32, why: &dyn std::fmt::Display) -> i32 {
    tell(format!("bench: {why}"));
    code
}
