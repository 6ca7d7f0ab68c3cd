//! How throughput and latency change with the number of validators, by simulation: `scripts/scale`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use tests::say::{say, tell};
use tests::scale::costs::Costs;
use tests::scale::figures::{Figures, HEAD};
use tests::scale::network::Network;
use tests::scale::plan::{Bandwidth, Load, Plan};

/// Simulates networks of unmodified replicas on links and cores that cost time, and prints what they commit.
///
/// All in simulated time: the same options give the same figures on every machine, unless --measure takes the costs from this
/// one. Exit code 2 where the options make no run.
#[derive(Parser)]
#[command(name = "scale")]
struct Options {
    /// How many validators
    #[arg(long, value_delimiter = ',', default_values_t = [4, 10, 25, 50, 100], value_name = "N,…")]
    nodes: Vec<u16>,
    /// How many transactions a second are offered, in all
    #[arg(long, value_delimiter = ',', default_values_t = [250, 1_000, 4_000, 16_000], value_name = "RATE,…",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rates: Vec<u64>,
    /// Where they arrive: at all validators, at one, or first the one and then the other
    #[arg(long, default_value = "both", value_name = "all|one|both", value_parser = loads)]
    load: Loads,
    /// Decides the delays and the moments of arrival
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The rate of each uplink and each downlink, such as 100Mbit or 1Gbit
    #[arg(long, default_value = "1Gbit", value_name = "RATE", value_parser = bandwidth)]
    bandwidth: Bandwidth,
    /// The least and the greatest delay one way, in ms, such as 10-40
    #[arg(long, default_value = "5-40", value_name = "MS-MS", value_parser = delay)]
    delay: (Duration, Duration),
    /// The bytes of a transaction
    #[arg(long, default_value_t = 330, value_name = "BYTES")]
    bytes: u64,
    /// How many cores a validator has: 1 to 4
    #[arg(long, default_value_t = 2, value_name = "K")]
    cores: usize,
    /// What something costs, in µs, by its name in the line that is printed first: syncUs=5000, for example
    #[arg(long, value_delimiter = ',', value_name = "NAME=US,…", value_parser = cost)]
    cost: Vec<(String, f64)>,
    /// What a frame has on the wire beside its own bytes
    #[arg(long, default_value_t = 100, value_name = "BYTES")]
    overhead: u64,
    /// Measure on this machine what checks cost, instead of the built-in figures; about a second
    #[arg(long)]
    measure: bool,
    /// How many simulated seconds are measured of each run [default: 3, fewer for many validators]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// What if acknowledgements were gathered for so long before they are sent
    #[arg(long, default_value_t = 0, value_name = "MS")]
    gather: u64,
    /// What if each transaction waited so long for others, even where no batch of its author is under way
    #[arg(long, value_name = "MS")]
    age: Option<u64>,
    /// A line of JSON for each run
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loads {
    Only(Load),
    Both,
}

fn loads(text: &str) -> Result<Loads, String> {
    match text {
        "all" => Ok(Loads::Only(Load::All)),
        "one" => Ok(Loads::Only(Load::One)),
        "both" => Ok(Loads::Both),
        _ => Err("expected all, one or both".to_owned()),
    }
}

fn bandwidth(text: &str) -> Result<Bandwidth, String> {
    let units = [("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3)];
    let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let number = found.and_then(|(number, bits)| Some(number.trim().parse::<f64>().ok()? * bits));
    match number {
        Some(bits) if (1e4..=1e12).contains(&bits) => Ok(Bandwidth { bits_a_second: bits as u64 }),
        _ => Err("expected a rate from 10kbit to 1000Gbit, such as 100Mbit".to_owned()),
    }
}

fn delay(text: &str) -> Result<(Duration, Duration), String> {
    let parts = text.split_once('-').unwrap_or((text, text));
    let ms = |part: &str| part.trim().parse::<f64>().ok().filter(|ms| (0.0..=10_000.0).contains(ms));
    match (ms(parts.0), ms(parts.1)) {
        (Some(least), Some(most)) => {
            Ok((Duration::from_secs_f64(least / 1e3), Duration::from_secs_f64(most / 1e3)))
        }
        _ => Err("expected two delays in ms of at most 10000, such as 5-40".to_owned()),
    }
}

fn cost(text: &str) -> Result<(String, f64), String> {
    let pair = text.split_once('=');
    let pair = pair.and_then(|(name, micros)| Some((name.to_owned(), micros.parse().ok()?)));
    let (name, micros) = pair.ok_or("expected a name and a number of µs, such as syncUs=5000")?;
    Costs::default().with(&name, micros).map(|_| (name, micros))
}

impl Options {
    fn plan(&self, validators: u16, load: Load, rate: u64, costs: &Costs) -> Plan {
        let seconds = self.seconds.unwrap_or(match validators {
            0..=15 => 3.0,
            16..=30 => 2.0,
            31..=60 => 1.5,
            _ => 0.8,
        });
        Plan {
            validators,
            seed: self.seed,
            load,
            rate: rate as f64,
            transaction_bytes: self.bytes,
            bandwidth: self.bandwidth,
            delay: self.delay,
            frame_overhead_bytes: self.overhead,
            cores: self.cores,
            costs: costs.clone(),
            // Longer than a few blocks take, and than what is gathered.
            warm_up: Duration::from_secs_f64(seconds.clamp(0.6, 1.0)),
            measured: Duration::from_secs_f64(seconds),
            gather_acknowledgements: Duration::from_millis(self.gather),
            batch_age: self.age.map(Duration::from_millis),
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut costs = if options.measure { Costs::measure() } else { Costs::default() };
    for (name, micros) in &options.cost {
        match costs.with(name, *micros) {
            Ok(changed) => costs = changed,
            Err(error) => {
                tell(error);
                return ExitCode::from(2);
            }
        }
    }
    let loads = match options.load {
        Loads::Only(load) => vec![load],
        Loads::Both => vec![Load::All, Load::One],
    };
    tell(format_args!("costs: {}", json!(costs)));
    if !options.json {
        say(HEAD);
    }
    let begin = Instant::now();
    for load in loads {
        for validators in &options.nodes {
            for rate in &options.rates {
                let plan = options.plan(*validators, load, *rate, &costs);
                let started = Instant::now();
                match Network::run(plan.clone()) {
                    Ok(figures) => print(&options, &plan, &figures, started.elapsed()),
                    Err(error) => {
                        tell(error);
                        return ExitCode::from(2);
                    }
                }
            }
        }
    }
    tell(format_args!("{:.0?} in all", begin.elapsed()));
    ExitCode::SUCCESS
}

fn print(options: &Options, plan: &Plan, figures: &Figures, took: Duration) {
    if options.json {
        say(json!({ "plan": plan, "figures": figures }));
    } else {
        say(figures);
    }
    let Figures { given_up, fetched, pushed_again, synchronized, proposal_ms, .. } = figures;
    let speed = figures.speed;
    tell(format_args!(
        "  {took:.1?} for {:.1?} simulated: {} events, {} steps of {:.1} µs; a proposal is on its leader's uplink for \
         {proposal_ms:.1} ms; {given_up} view-changes, {fetched} batches fetched, {pushed_again} pushed again, \
         {synchronized} asked for blocks\n    drivers, in hundredths of the time: {}\n    the busiest: {}",
        plan.warm_up + plan.measured,
        speed.events,
        speed.steps,
        speed.step_us(),
        figures.driver_work,
        figures.busiest_driver_work,
    ));
}
