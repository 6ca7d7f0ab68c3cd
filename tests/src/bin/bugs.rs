//! Tests the tests: seeds one deliberate fault after the other, and says which check notices it. `scripts/bugs` calls it.
//!
//! Each check of each fault runs in a process of its own: one that hangs or aborts has noticed the fault too.

use std::fmt::Write as _;
use std::panic;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use consensus::bug::{Bug, seed};
use genesis::ValidatorIndex;
use tests::model::{Bounds, explore};
use tests::say::{say, tell};
use tests::simulation::campaign::{Campaign, Nodes};
use tests::twins::scenario::Catalogue;
use tests::twins::{self, Network};

/// Seeds one deliberate fault after the other in the consensus, and says which check notices it.
#[derive(Parser)]
#[command(name = "bugs")]
struct Options {
    /// The test binary of crate consensus, built with the feature seeded-bugs; scripts/bugs sets it
    #[arg(long, value_name = "PATH", required_unless_present = "here")]
    unit_tests: Option<PathBuf>,
    /// These faults alone; `None` is no fault
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// Runs all checks for each fault; else none after the first that notices it
    #[arg(long)]
    all: bool,
    /// How many seeds of the simulation
    #[arg(long, default_value_t = 300, value_name = "N")]
    seeds: u64,
    /// How many cases of twins
    #[arg(long, default_value_t = 600, value_name = "N")]
    cases: u64,
    /// Writes the table there as well
    #[arg(long, value_name = "PATH")]
    markdown: Option<PathBuf>,
    /// One check of one fault, in this process
    #[arg(long, hide = true, num_args = 2, value_names = ["CHECK", "NAME"])]
    here: Option<Vec<String>>,
}

/// What looks for the faults, the quickest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Unit,
    Twins,
    Model,
    Simulation,
}

/// Unit tests about the bounds of what is kept: as slow as all others together, and none is about a rule that is broken here.
const SLOW: [&str; 5] = [
    "p6_checkpoints_far_above_the_tip",
    "p6_results_that_get_no_certificate",
    "p2_a_leader_cannot_make_a_replica_keep",
    "p8_a_question_for_many_certificates",
    "p4_what_a_long_sync_ordered",
];

/// How long a check may take before any was timed: an hour, whatever the machine does beside.
const UNTIMED: Duration = Duration::from_secs(3_600);
/// With a fault a check may take this many times as long as without one: what is slow is no more than slow.
const TIMES: u32 = 10;
/// But at least so long: a quick check is slowed down the most by what else runs.
const LEAST: Duration = Duration::from_secs(60);

const CHECKS: [Check; 4] = [Check::Unit, Check::Twins, Check::Model, Check::Simulation];

/// What a check came to.
#[derive(Clone, Debug)]
enum Outcome {
    Noticed(String),
    Missed(String),
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit tests",
            Self::Twins => "twins",
            Self::Model => "model",
            Self::Simulation => "simulation",
        }
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(wrong) => {
            tell(wrong);
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    if let Some([check, bug]) = options.here.as_deref() {
        return here(options, check, bug);
    }
    let known: Vec<_> = std::iter::once(None).chain(Bug::ALL.iter().copied().map(Some)).collect();
    let name = |bug: &Option<Bug>| bug.map_or("None", Bug::name);
    for asked in options.only.iter().flatten() {
        if !known.iter().any(|bug| name(bug) == asked) {
            return Err(format!("no fault is called `{asked}`"));
        }
    }
    let wanted = |bug: &Option<Bug>| {
        options.only.as_ref().map_or(bug.is_some(), |only| only.iter().any(|asked| asked == name(bug)))
    };
    // What fails without a fault would seem to notice every one.
    let mut timed = Vec::new();
    for check in CHECKS {
        let started = Instant::now();
        if let Outcome::Noticed(how) = apart(options, check, "None", UNTIMED)? {
            return Err(format!("{} fail without any fault: {how}", check.name()));
        }
        timed.push((check, (started.elapsed() * TIMES).max(LEAST)));
    }
    let mut table = String::new();
    let (mut noticed, mut missed) = (0, Vec::new());
    for bug in known.into_iter().filter(wanted) {
        let mut cells = Vec::new();
        for (check, patience) in timed.iter().copied() {
            let found = cells.iter().any(|cell| matches!(cell, Some(Outcome::Noticed(_))));
            cells.push(if found && !options.all {
                None
            } else {
                Some(apart(options, check, name(&bug), patience)?)
            });
        }
        let found = cells.iter().any(|cell| matches!(cell, Some(Outcome::Noticed(_))));
        if found {
            noticed += 1;
        } else {
            missed.push(name(&bug));
        }
        let cells: Vec<_> = cells.iter().map(cell).collect();
        let row = format!("| {} | {} | {} |", name(&bug), bug.map_or("", Bug::what), cells.join(" | "));
        say(&row);
        table.push_str(&row);
        table.push('\n');
    }
    let _ = writeln!(table, "\n{noticed} faults are noticed, {} are not.", missed.len());
    say(format_args!("{noticed} faults are noticed, {} are not: {}", missed.len(), missed.join(", ")));
    if let Some(path) = &options.markdown {
        std::fs::write(path, table).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cell(outcome: &Option<Outcome>) -> String {
    match outcome {
        Some(Outcome::Noticed(how)) => format!("**{how}**"),
        Some(Outcome::Missed(of)) => format!("no ({of})"),
        None => "not run".to_owned(),
    }
}

/// Runs a check in a process of its own.
fn apart(options: &Options, check: Check, bug: &str, patience: Duration) -> Result<Outcome, String> {
    let mut command = match check {
        Check::Unit => {
            let mut command = Command::new(options.unit_tests.as_ref().ok_or("--unit-tests is missing")?);
            command.args(SLOW.iter().flat_map(|test| ["--skip", test]));
            if bug != "None" {
                command.env("REALDID_SEEDED_BUG", bug);
            }
            command
        }
        Check::Twins | Check::Model | Check::Simulation => {
            let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
            command.args(["--here", check.name(), bug]);
            command.args(["--seeds", &options.seeds.to_string(), "--cases", &options.cases.to_string()]);
            command
        }
    };
    let output = std::env::temp_dir().join(format!("bugs-{}-{bug}", std::process::id()));
    let wrong = |error: std::io::Error| format!("{}: {error}", output.display());
    let file = std::fs::File::create(&output).map_err(wrong)?;
    let child = command
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let code = wait(child, patience).map_err(wrong)?;
    let text = std::fs::read_to_string(&output).map_err(wrong)?;
    std::fs::remove_file(&output).map_err(wrong)?;
    Ok(match (check, code) {
        (_, None) => Outcome::Noticed("does not end".to_owned()),
        (Check::Unit, Some(code)) => unit_tests(&text, code),
        (_, Some(0)) => Outcome::Missed(last_line(&text)),
        (_, Some(1)) => Outcome::Noticed(last_line(&text)),
        (_, Some(code)) => Outcome::Noticed(format!("ends with code {code}")),
    })
}

/// The exit code; none where it took too long.
fn wait(mut child: Child, patience: Duration) -> std::io::Result<Option<i32>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        if started.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}

fn unit_tests(text: &str, code: i32) -> Outcome {
    let ran = text.lines().filter(|line| line.starts_with("test ") && line.contains(" ... ")).count();
    let failed: Vec<_> = text.lines().filter_map(|line| line.strip_suffix(" ... FAILED")).collect();
    match failed.first() {
        _ if code == 0 => Outcome::Missed(format!("{ran} tests")),
        Some(first) => {
            let first = first.rsplit("::").next().unwrap_or(first);
            Outcome::Noticed(format!("{} tests: `{first}`", failed.len()))
        }
        None => Outcome::Noticed(format!("ends with code {code}")),
    }
}

/// One check in this process: prints what it came to, and returns 1 where it noticed the fault.
fn here(options: &Options, check: &str, bug: &str) -> Result<ExitCode, String> {
    seed(Bug::ALL.iter().copied().find(|known| known.name() == bug));
    panic::set_hook(Box::new(|_| {}));
    let check = CHECKS.into_iter().find(|known| known.name() == check).ok_or("no such check")?;
    let outcome = match check {
        Check::Unit => return Err("the unit tests are a program of their own".to_owned()),
        Check::Twins => try_twins(options.cases),
        Check::Model => try_model(),
        Check::Simulation => try_simulation(options.seeds),
    };
    match outcome {
        Outcome::Noticed(how) => {
            say(how);
            Ok(ExitCode::FAILURE)
        }
        Outcome::Missed(of) => {
            say(of);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn try_twins(cases: u64) -> Outcome {
    let catalogue = Catalogue::new();
    let mut network = Network::new();
    // Of the short cases and of the long ones by turns.
    for tried in 0..cases {
        let number = tried / 2 + if tried % 2 == 0 { 0 } else { catalogue.listed() };
        if let Err(what) = network.run(&catalogue.case(number)).result {
            return Outcome::Noticed(format!("case {}: {}", tried + 1, brief(&what)));
        }
    }
    let fewest = twins::network::VIEWS_TO_HEAL;
    Outcome::Missed(format!("{cases} cases, healed within {fewest} views"))
}

fn try_model() -> Outcome {
    let mut states = 0;
    for (byzantine, restarts) in [(1, false), (0, true), (3, true), (2, false), (1, true)] {
        let byzantine = vec![ValidatorIndex(byzantine)];
        let report = explore(Bounds { validators: 4, byzantine, views: 2, restarts }, |_, _, _| {});
        states += report.states;
        if let Some(violation) = report.violation {
            return Outcome::Noticed(format!("state {states}: {}", brief(&violation.what)));
        }
    }
    Outcome::Missed(format!("{states} states"))
}

fn try_simulation(seeds: u64) -> Outcome {
    for seed in 0..seeds {
        let campaign = Campaign { from: seed, seeds: 1, nodes: Nodes::Mixed, jobs: 1, twice: false };
        if let Some(what) = campaign.run(|_| {}).failures.into_values().next() {
            return Outcome::Noticed(format!("seed {seed}: {}", brief(&what)));
        }
    }
    Outcome::Missed(format!("{seeds} seeds"))
}

/// The beginning of what went wrong, for a cell of a table.
fn brief(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default().replace('|', "/");
    let words: String = line.chars().take(60).collect();
    if words.len() < line.len() { format!("{words}…") } else { words }
}
