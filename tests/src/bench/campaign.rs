//! All runs, in their order: ceilings, the ramp to saturation, then at saturation, at half and at double of it, and one
//! transaction at a time. Each run has a network of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ceilings::{self, Ceilings};
use super::figures::{Figures, Summary, percentile};
use super::network::Network;
use super::search::{Search, rounded};
use super::setup::Setup;
use super::verdict::{Refusal, Step, judge, refusals};
use crate::say::tell;

/// The most steps of a ramp.
const MOST_STEPS: u32 = 14;
/// The most transactions in one run: they are signed beforehand and kept in memory, about a kilobyte each.
const MOST_TRANSACTIONS: u64 = 2_000_000;
/// The most lone transactions, and for how long.
const LONE: (usize, Duration) = (100, Duration::from_secs(10));

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What.
    pub setup: Setup,
    /// How often at saturation; half as often, rounded up, at half and double of it.
    pub runs: usize,
    /// How long each of these sends, in seconds.
    pub seconds: u64,
    /// How long a step of the ramp sends, in seconds.
    pub step_seconds: u64,
}

/// All figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of this form: 1.
    pub format: u32,
    /// What was measured.
    pub setup: Setup,
    /// For how long each run sent, in seconds.
    pub seconds: u64,
    /// What the machine does at best.
    pub ceilings: Ceilings,
    /// How many signatures a transaction has, on average.
    pub signatures: f64,
    /// The ramp, in ascending order of what was offered.
    pub ramp: Vec<RampStep>,
    /// Whether a rate was offered that was not sustained: else saturation lies above all that was offered.
    pub reached_saturation: bool,
    /// At the highest rate that was sustained.
    pub saturation: Measured,
    /// At half of that.
    pub half: Measured,
    /// At double of it.
    pub double: Measured,
    /// One transaction at a time.
    pub lone: Lone,
    /// Figures against the machine's own: what another machine or day can be compared by.
    pub ratios: BTreeMap<String, f64>,
    /// What is not among the figures, and why.
    pub not_counted: Vec<String>,
}

/// A step of the ramp.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RampStep {
    /// Why it was not sustained; none where it was.
    pub saturated: Option<String>,
    /// Its figures.
    pub figures: Figures,
}

/// Runs of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Transactions a second that were offered.
    pub offered_per_second: u64,
    /// The median of each figure.
    pub median: Summary,
    /// Each run.
    pub runs: Vec<Figures>,
}

/// Lone transactions, from submission to receipt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lone {
    /// How many.
    pub count: usize,
    /// The median, in ms.
    pub p50_ms: f64,
    /// In ms.
    pub p99_ms: f64,
    /// The median in one-way delays, where the links have one.
    pub p50_in_delays: Option<f64>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// A run does not count.
    #[error("the run {run} does not count: {}", listed(refusals))]
    Refused {
        /// Which.
        run: String,
        /// Why.
        refusals: Vec<Refusal>,
    },
    /// Nothing is slow enough.
    #[error("no rate was sustained: the lowest that was offered, {lowest} a second, was not ({why})")]
    NothingSustained {
        /// What was offered.
        lowest: u64,
        /// Why it was not sustained.
        why: String,
    },
    /// A run would be too large.
    #[error(
        "{rate} a second for {seconds} s are more than the {MOST_TRANSACTIONS} transactions that a run may have: take fewer --seconds"
    )]
    TooMany {
        /// Transactions a second.
        rate: u64,
        /// For how long.
        seconds: u64,
    },
    /// A lone transaction did not land.
    #[error("the run of lone transactions does not count: {0}")]
    Lone(String),
}

fn listed(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Measures it all.
///
/// # Errors
/// When a run does not count: then no figure is told.
pub async fn run(plan: &Plan) -> Result<Report, CampaignError> {
    let start = Instant::now();
    let told = |what: &str| tell(format!("[{:4} s] {what}", start.elapsed().as_secs()));
    told("the machine's ceilings");
    let validators = plan.setup.validators;
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        ceilings::measure(validators, folder.path())
    });
    let ceilings = measured.await.expect("the ceilings are measured");
    let signatures = plan.setup.mix.signatures(plan.setup.policy);

    let (ramp, rate) = climb(plan, ceilings.signatures_of_1024 / signatures, &told).await?;
    let fewer = plan.runs.div_ceil(2);
    let saturation = measure(plan, "at saturation", rate, plan.runs, &told).await?;
    let half = measure(plan, "at half of saturation", (rate / 2).max(1), fewer, &told).await?;
    let double = measure(plan, "at double of saturation", rate * 2, fewer, &told).await?;

    told("one transaction at a time");
    let network = Network::start(&plan.setup).await;
    let transactions = network.prepare(LONE.0).await;
    let times = network.run_lone(&transactions, LONE.1).await.map_err(CampaignError::Lone)?;
    let delay_ms = plan.setup.links.map(|links| links.delay().as_secs_f64() * 1e3);
    let p50_ms = percentile(&times, 50);
    let lone = Lone {
        count: times.len(),
        p50_ms,
        p99_ms: percentile(&times, 99),
        p50_in_delays: delay_ms.filter(|delay| *delay > 0.0).map(|delay| p50_ms / delay),
    };
    told("done");
    Ok(Report {
        format: 1,
        setup: plan.setup.clone(),
        seconds: plan.seconds,
        ratios: ratios(&ceilings, signatures, &saturation.median, &double.median),
        ceilings,
        signatures,
        reached_saturation: ramp.iter().any(|step| step.saturated.is_some()),
        ramp,
        saturation,
        half,
        double,
        lone,
        not_counted: vec![
            "RocksDB's own ceiling: only the ledger's store names RocksDB, and the benchmark does not"
                .to_owned(),
            "bytes that validators send to clients: only those to other nodes are counted".to_owned(),
        ],
    })
}

/// Higher is better, all of them.
fn ratios(
    ceilings: &Ceilings,
    signatures: f64,
    saturation: &Summary,
    double: &Summary,
) -> BTreeMap<String, f64> {
    let committed = saturation.committed_per_second;
    let check_us = ceilings.check_of_1024_us * signatures;
    [
        ("committedOfSignatureCeiling", committed * signatures / ceilings.signatures_of_1024),
        (
            "committedOfCeilingOnAllCores",
            committed * signatures / ceilings.signatures_of_1024_on_all_cores.max(1e-9),
        ),
        ("signaturesOfValidatorCpu", check_us / saturation.validator_us.max(1e-9)),
        ("doubleOfSaturation", double.committed_per_second / committed.max(1e-9)),
    ]
    .map(|(name, ratio)| (name.to_owned(), ratio))
    .into()
}

/// Goes up to saturation; the steps, and the highest rate that was sustained. `ceiling` is what the machine would do at best.
async fn climb(
    plan: &Plan,
    ceiling: f64,
    told: &impl Fn(&str),
) -> Result<(Vec<RampStep>, u64), CampaignError> {
    let mut search = Search::new(rounded((ceiling / 16.0) as u64), MOST_STEPS);
    let (mut ramp, mut named, mut best) = (Vec::<RampStep>::new(), plan.setup.rates.iter(), None);
    loop {
        let next = if plan.setup.rates.is_empty() { search.next_rate() } else { named.next().copied() };
        let Some(rate) = next else { break };
        let figures = once(plan, rate, plan.step_seconds, &format!("ramp: {rate} a second"), told).await?;
        let saturated = match judge(&figures) {
            Step::Sustained => None,
            Step::Saturated(why) => Some(why),
            Step::Refused(refusals) => {
                return Err(CampaignError::Refused {
                    run: format!("of the ramp at {rate} a second"),
                    refusals,
                });
            }
        };
        tell(format!("      {}", saturated.as_deref().unwrap_or("sustained")));
        search.note(saturated.is_none());
        if saturated.is_none() {
            best = best.max(Some(rate));
        }
        ramp.push(RampStep { saturated, figures });
    }
    ramp.sort_by_key(|step| step.figures.offered_per_second);
    match best {
        Some(rate) => {
            Ok((ramp, if plan.setup.rates.is_empty() { search.sustained().unwrap_or(rate) } else { rate }))
        }
        None => {
            let lowest = ramp.first();
            Err(CampaignError::NothingSustained {
                lowest: lowest.map_or(0, |step| step.figures.offered_per_second),
                why: lowest.and_then(|step| step.saturated.clone()).unwrap_or_default(),
            })
        }
    }
}

async fn measure(
    plan: &Plan,
    what: &str,
    rate: u64,
    runs: usize,
    told: &impl Fn(&str),
) -> Result<Measured, CampaignError> {
    let mut done = Vec::new();
    for turn in 1..=runs {
        let run = format!("{what}, {rate} a second, {turn} of {runs}");
        let figures = once(plan, rate, plan.seconds, &run, told).await?;
        let refusals = refusals(&figures);
        if !refusals.is_empty() {
            return Err(CampaignError::Refused { run, refusals });
        }
        done.push(figures);
    }
    Ok(Measured { offered_per_second: rate, median: Summary::median(&done), runs: done })
}

async fn once(
    plan: &Plan,
    rate: u64,
    seconds: u64,
    run: &str,
    told: &impl Fn(&str),
) -> Result<Figures, CampaignError> {
    let count = rate.saturating_mul(seconds);
    if count > MOST_TRANSACTIONS {
        return Err(CampaignError::TooMany { rate, seconds });
    }
    told(run);
    let network = Network::start(&plan.setup).await;
    let transactions = network.prepare(count as usize).await;
    let figures = network.run(transactions, rate).await;
    let Figures { summary, counts, .. } = &figures;
    tell(format!(
        "      {:.0} a second, p50 {:.0} ms, p99 {:.0} ms, busy {}, in time {:.1} %, validators {:.2} cores each, client {:.2}",
        summary.committed_per_second,
        summary.p50_ms,
        summary.p99_ms,
        counts.busy,
        counts.sent_in_time as f64 * 100.0 / counts.offered.max(1) as f64,
        summary.validator_cores,
        summary.client_cores,
    ));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ceilings::Sync;

    #[test]
    fn ratios_are_held_against_the_ceilings_by_signatures_and_not_by_transactions() {
        let sync = Sync { p50_us: 1.0, p99_us: 1.0, per_second: 1.0 };
        let ceilings = Ceilings {
            cores: 2,
            single_check_us: 40.0,
            check_of_64_us: 25.0,
            check_of_1024_us: 20.0,
            check_of_1024_on_all_cores_us: 25.0,
            signatures_of_64: 20_000.0,
            signatures_of_1024: 25_000.0,
            signatures_of_1024_on_all_cores: 20_000.0,
            append: sync,
            overwrite: sync,
            blake3_us: 1.0,
        };
        let at = |committed_per_second, validator_us| Summary {
            committed_per_second,
            validator_us,
            ..Summary::default()
        };
        let ratios = ratios(&ceilings, 2.0, &at(5_000.0, 80.0), &at(4_500.0, 0.0));
        assert_eq!(ratios["committedOfSignatureCeiling"], 0.4);
        assert_eq!(ratios["committedOfCeilingOnAllCores"], 0.5);
        assert_eq!(ratios["signaturesOfValidatorCpu"], 0.5);
        assert_eq!(ratios["doubleOfSaturation"], 0.9);
    }
}
