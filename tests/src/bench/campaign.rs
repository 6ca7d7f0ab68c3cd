//! All runs, in their order: ceilings, the ramp to saturation, then at saturation, at half and at double of it, and one
//! transaction at a time. Each run has a network of its own.
//!
//! Where the ledgers are full when a run begins, the same is measured of new ones: the runs of the two take turns, so that
//! whatever else the machine does meets both.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ceilings::{self, Ceilings};
use super::figures::{Figures, Summary, percentile};
use super::network::Network;
use super::ordering;
use super::search::{Search, rounded};
use super::setup::Setup;
use super::state::Kept;
use super::verdict::{Refusal, Step, judge, refusals};
use crate::say::tell;

/// The most steps of a ramp.
const MOST_STEPS: u32 = 14;
/// The most transactions in one run: they are signed beforehand and kept in memory, about a kilobyte each.
const MOST_TRANSACTIONS: u64 = 2_000_000;
/// The same where they are only ordered: what is kept is when each was due and final.
const MOST_ITEMS: u64 = 8_000_000;
/// The most lone transactions, and for how long.
const LONE: (usize, Duration) = (100, Duration::from_secs(10));

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What.
    pub setup: Setup,
    /// What the ledgers are when a run begins; none where they are new.
    pub kept: Option<Kept>,
    /// How often at saturation; half as often, rounded up, at half and double of it.
    pub runs: usize,
    /// How long each of these sends, in seconds.
    pub seconds: u64,
    /// How long a step of the ramp sends, in seconds.
    pub step_seconds: u64,
}

impl Plan {
    /// The same with new ledgers, where these are full.
    fn with_new_ledgers(&self) -> Option<Self> {
        self.kept.as_ref()?;
        Some(Self { setup: Setup { state: None, ..self.setup.clone() }, kept: None, ..self.clone() })
    }
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
    /// The same with new ledgers, where those of the other figures were full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_ledgers: Option<NewLedgers>,
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

/// What full ledgers are compared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewLedgers {
    /// The ramp.
    pub ramp: Vec<RampStep>,
    /// At the highest rate that was sustained.
    pub saturation: Measured,
    /// At double of it.
    pub double: Measured,
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
        "{rate} a second for {seconds} s are more than the {most} transactions that a run may have: take fewer --seconds"
    )]
    TooMany {
        /// How many a run may have.
        most: u64,
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
    let signatures = match plan.setup.ordering {
        Some(_) => 0.0,
        None => plan.setup.mix.signatures(plan.setup.policy),
    };

    let first = rounded((ceiling(&plan.setup, &ceilings, signatures).1 / 16.0) as u64);
    let new = plan.with_new_ledgers();
    let below = match &new {
        Some(new) => Some(climb(new, first, &told).await?),
        None => None,
    };
    let (ramp, rate) = climb(plan, below.as_ref().map_or(first, |(_, rate)| *rate), &told).await?;
    let fewer = plan.runs.div_ceil(2);
    let new_rate = new.as_ref().zip(below.as_ref().map(|(_, rate)| *rate));
    let saturation = measure("at saturation", (plan, rate), new_rate, plan.runs, &told);
    let (saturation, new_saturation) = saturation.await?;
    let (half, _) = measure("at half of saturation", (plan, (rate / 2).max(1)), None, fewer, &told).await?;
    let new_double = new_rate.map(|(new, rate)| (new, rate * 2));
    let double = measure("at double of saturation", (plan, rate * 2), new_double, fewer, &told);
    let (double, new_double) = double.await?;
    let of_new = below.map(|(ramp, _)| ramp).zip(new_saturation).zip(new_double);
    let new_ledgers = of_new.map(|((ramp, saturation), double)| NewLedgers { ramp, saturation, double });

    told("one transaction at a time");
    let times = match plan.setup.ordering {
        Some(bytes) => ordering::Network::start(&plan.setup, bytes).await.run_lone(LONE.0, LONE.1).await,
        None => {
            let network = Network::start(&plan.setup, plan.kept.as_ref()).await;
            let transactions = network.prepare(LONE.0).await;
            network.run_lone(&transactions, LONE.1).await
        }
    };
    let times = times.map_err(CampaignError::Lone)?;
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
        ratios: ratios(&plan.setup, &ceilings, signatures, (&saturation, &double), new_ledgers.as_ref()),
        ceilings,
        signatures,
        reached_saturation: ramp.iter().any(|step| step.saturated.is_some()),
        ramp,
        saturation,
        half,
        double,
        lone,
        new_ledgers,
        not_counted: vec![
            "RocksDB's own ceiling: only the ledger's store names RocksDB, and the benchmark does not"
                .to_owned(),
            "bytes that validators send to clients: only those to other nodes are counted".to_owned(),
        ],
    })
}

/// What the machine would do at best, in transactions a second, and what bounds it there.
fn ceiling(setup: &Setup, ceilings: &Ceilings, signatures: f64) -> (&'static str, f64) {
    match setup.ordering {
        // Each validator keeps each batch, on the disk that they share.
        Some(bytes) => ("disk ceiling", ceilings.appended_bytes / f64::from(bytes) / setup.validators as f64),
        None => ("signature ceiling", ceilings.signatures_of_1024 / signatures),
    }
}

impl Report {
    /// What the machine would do at best, in transactions a second, and what bounds it there.
    pub fn ceiling(&self) -> (&'static str, f64) {
        ceiling(&self.setup, &self.ceilings, self.signatures)
    }
}

/// Higher is better, all of them.
fn ratios(
    setup: &Setup,
    ceilings: &Ceilings,
    signatures: f64,
    (saturation, double): (&Measured, &Measured),
    new: Option<&NewLedgers>,
) -> BTreeMap<String, f64> {
    let (saturation, double) = (&saturation.median, &double.median);
    let committed = saturation.committed_per_second;
    let of_double = ("doubleOfSaturation".to_owned(), double.committed_per_second / committed.max(1e-9));
    if setup.ordering.is_some() {
        let of_disk = committed / ceiling(setup, ceilings, signatures).1;
        return [("committedOfDiskCeiling".to_owned(), of_disk), of_double].into();
    }
    let check_us = ceilings.check_of_1024_us * signatures;
    let mut ratios = vec![
        ("committedOfSignatureCeiling", committed * signatures / ceilings.signatures_of_1024),
        (
            "committedOfCeilingOnAllCores",
            committed * signatures / ceilings.signatures_of_1024_on_all_cores.max(1e-9),
        ),
        ("signaturesOfValidatorCpu", check_us / saturation.validator_us.max(1e-9)),
    ];
    if let Some(new) = new {
        let of = |full: &Summary, new: &Measured| {
            full.committed_per_second / new.median.committed_per_second.max(1e-9)
        };
        ratios.push(("fullOfNewLedgers", of(saturation, &new.saturation)));
        ratios.push(("fullOfNewLedgersAtDouble", of(double, &new.double)));
    }
    ratios.into_iter().map(|(name, ratio)| (name.to_owned(), ratio)).chain([of_double]).collect()
}

/// Goes up to saturation from the rate `first` on; the steps, and the highest rate that was sustained.
async fn climb(plan: &Plan, first: u64, told: &impl Fn(&str)) -> Result<(Vec<RampStep>, u64), CampaignError> {
    let mut search = Search::new(first, MOST_STEPS);
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

/// Measures one thing, and in turns with it the other, where there is one: each at its rate.
async fn measure(
    what: &str,
    one: (&Plan, u64),
    other: Option<(&Plan, u64)>,
    runs: usize,
    told: &impl Fn(&str),
) -> Result<(Measured, Option<Measured>), CampaignError> {
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    for turn in 1..=runs {
        for ((plan, rate), done) in
            std::iter::once((one, &mut of_one)).chain(other.map(|other| (other, &mut of_other)))
        {
            let run = format!("{what}, {rate} a second, {turn} of {runs}");
            let figures = once(plan, rate, plan.seconds, &run, told).await?;
            let refusals = refusals(&figures);
            if !refusals.is_empty() {
                return Err(CampaignError::Refused { run, refusals });
            }
            done.push(figures);
        }
    }
    let measured = |rate: u64, runs: Vec<Figures>| Measured {
        offered_per_second: rate,
        median: Summary::median(&runs),
        runs,
    };
    Ok((measured(one.1, of_one), other.map(|(_, rate)| measured(rate, of_other))))
}

async fn once(
    plan: &Plan,
    rate: u64,
    seconds: u64,
    run: &str,
    told: &impl Fn(&str),
) -> Result<Figures, CampaignError> {
    let count = rate.saturating_mul(seconds);
    let most = if plan.setup.ordering.is_some() { MOST_ITEMS } else { MOST_TRANSACTIONS };
    if count > most {
        return Err(CampaignError::TooMany { most, rate, seconds });
    }
    let ledgers = plan.kept.as_ref().map(|kept| format!(", {} DIDs in state", kept.dids()));
    told(&format!("{run}{}", ledgers.unwrap_or_default()));
    let figures = match plan.setup.ordering {
        Some(bytes) => ordering::Network::start(&plan.setup, bytes).await.run(count, rate).await,
        None => {
            let network = Network::start(&plan.setup, plan.kept.as_ref()).await;
            let transactions = network.prepare(count as usize).await;
            network.run(transactions, rate).await
        }
    };
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
    use crate::bench::setup::{Mix, Policy};

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
            appended_bytes: 4e8,
            blake3_us: 1.0,
        };
        let at = |committed_per_second, validator_us| Measured {
            offered_per_second: 1,
            median: Summary { committed_per_second, validator_us, ..Summary::default() },
            runs: Vec::new(),
        };
        let new = NewLedgers { ramp: Vec::new(), saturation: at(6_250.0, 0.0), double: at(9_000.0, 0.0) };
        let (saturation, double) = (at(5_000.0, 80.0), at(4_500.0, 0.0));
        let mut setup = Setup {
            validators: 4,
            policy: Policy::Open,
            mix: Mix::CREATES,
            ordering: None,
            links: None,
            state: None,
            rates: Vec::new(),
        };
        let ratios = |setup: &Setup| super::ratios(setup, &ceilings, 2.0, (&saturation, &double), Some(&new));
        let of_items = {
            setup.ordering = Some(1_000);
            ratios(&setup)
        };
        // 4e8 bytes a second are 100,000 items at four validators.
        assert_eq!(of_items["committedOfDiskCeiling"], 0.05);
        setup.ordering = None;
        let ratios = ratios(&setup);
        assert_eq!(ratios["committedOfSignatureCeiling"], 0.4);
        assert_eq!(ratios["committedOfCeilingOnAllCores"], 0.5);
        assert_eq!(ratios["signaturesOfValidatorCpu"], 0.5);
        assert_eq!(ratios["doubleOfSaturation"], 0.9);
        assert_eq!(ratios["fullOfNewLedgers"], 0.8);
        assert_eq!(ratios["fullOfNewLedgersAtDouble"], 0.5);
    }
}
