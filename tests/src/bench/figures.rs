//! A run's figures, and medians of runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::resources::Use;

/// What became of a run's transactions. Each that was sent is one of `committed`, `busy`, `expired`, `lost`, `unanswered`,
/// `refused` and `not_applied`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// How many were to be sent.
    pub offered: u64,
    /// How many were sent.
    pub sent: u64,
    /// How many were sent when they were due, or within a tenth of a second.
    pub sent_in_time: u64,
    /// How many have a receipt that says `applied`.
    pub committed: u64,
    /// How many DIDs these registered.
    pub dids: u64,
    /// How many a full node refused, and said when to come back.
    pub busy: u64,
    /// How many were not ordered in time, and never will be.
    pub expired: u64,
    /// How many a node accepted, and nothing was heard of them again.
    pub lost: u64,
    /// How many were sent in a call that failed, and nothing was heard of them again.
    pub unanswered: u64,
    /// How many a node refused otherwise, by what it said.
    pub refused: BTreeMap<String, u64>,
    /// How many have a receipt that says that nothing changed, by what it says.
    pub not_applied: BTreeMap<String, u64>,
    /// Calls that failed, by kind. What they carried may be final all the same.
    pub failed_calls: BTreeMap<String, u64>,
}

/// A receipt that says `applied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When it was here, from the start of the load.
    pub at: Duration,
    /// How long after its transaction was due.
    pub latency: Duration,
    /// How many DIDs it registers.
    pub dids: u32,
}

/// Figures that runs are compared by. Medians of them are of the same form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Transactions a second, from the receipts between the first and the last hundredth.
    pub committed_per_second: f64,
    /// DIDs a second that these registered.
    pub dids_per_second: f64,
    /// From the moment that a transaction was due until its receipt was seen, in ms.
    pub p50_ms: f64,
    /// The same.
    pub p95_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// How many cores a validator kept busy, on average over the validators.
    pub validator_cores: f64,
    /// Processor time of a validator for each committed transaction, on average over the validators, in µs.
    pub validator_us: f64,
    /// How many cores the client kept busy; with links, the relay too.
    pub client_cores: f64,
    /// Processor time of the client for each committed transaction, in µs.
    pub client_us: f64,
    /// The most memory that any validator held, in MiB.
    pub peak_memory_mib: f64,
    /// Bytes that a validator handed to the disk for each committed transaction, on average over the validators.
    pub written_bytes: f64,
    /// Bytes that a validator sent to the others for each committed transaction, on average over the validators.
    pub sent_bytes: f64,
}

/// What one validator used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfValidator {
    /// How many cores it kept busy.
    pub cores: f64,
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// The most memory that it held, in MiB.
    pub peak_memory_mib: f64,
    /// Bytes handed to the disk.
    pub written_bytes: u64,
    /// Bytes sent to the others.
    pub sent_bytes: u64,
    /// Its height at the end; none where it did not answer.
    pub height: Option<u64>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Transactions a second that were to be sent.
    pub offered_per_second: u64,
    /// From the start to the last receipt.
    pub elapsed_seconds: f64,
    /// By how much latency grew from the second quarter of the run to the last, in ms, by their medians; below 0 where it
    /// shrank.
    pub growth_ms: f64,
    /// What became of its transactions.
    pub counts: Counts,
    /// What it comes to.
    pub summary: Summary,
    /// What each validator used.
    pub validators: Vec<OfValidator>,
}

/// What was used in a run.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// By each validator, with its height at the end.
    pub validators: Vec<(Use, Option<u64>)>,
    /// By the client.
    pub client: Duration,
}

impl Figures {
    /// The figures of a run in which `seen` came.
    pub fn new(rate: u64, elapsed: Duration, counts: Counts, mut seen: Vec<Seen>, used: &Used) -> Self {
        let (committed_per_second, dids_per_second) = pace(&mut seen);
        let growth_ms = growth_ms(&mut seen);
        let mut latencies: Vec<f64> = seen.iter().map(|seen| seen.latency.as_secs_f64() * 1e3).collect();
        latencies.sort_by(f64::total_cmp);
        let seconds = elapsed.as_secs_f64().max(1e-9);
        // Where nothing was committed, no figure for each transaction means anything; 0 stands for it.
        let each = |total: f64| if counts.committed == 0 { 0.0 } else { total / counts.committed as f64 };
        let validators: Vec<_> = used
            .validators
            .iter()
            .map(|(used, height)| OfValidator {
                cores: used.cpu.as_secs_f64() / seconds,
                cpu_seconds: used.cpu.as_secs_f64(),
                peak_memory_mib: used.peak_memory_kib as f64 / 1_024.0,
                written_bytes: used.written_bytes,
                sent_bytes: used.sent_bytes,
                height: *height,
            })
            .collect();
        let mean = |figure: fn(&OfValidator) -> f64| {
            validators.iter().map(figure).sum::<f64>() / validators.len().max(1) as f64
        };
        let summary = Summary {
            committed_per_second,
            dids_per_second,
            p50_ms: percentile(&latencies, 50),
            p95_ms: percentile(&latencies, 95),
            p99_ms: percentile(&latencies, 99),
            validator_cores: mean(|one| one.cores),
            validator_us: each(mean(|one| one.cpu_seconds) * 1e6),
            client_cores: used.client.as_secs_f64() / seconds,
            client_us: each(used.client.as_secs_f64() * 1e6),
            peak_memory_mib: validators.iter().map(|one| one.peak_memory_mib).fold(0.0, f64::max),
            written_bytes: each(mean(|one| one.written_bytes as f64)),
            sent_bytes: each(mean(|one| one.sent_bytes as f64)),
        };
        Self {
            offered_per_second: rate,
            elapsed_seconds: elapsed.as_secs_f64(),
            growth_ms,
            counts,
            summary,
            validators,
        }
    }
}

impl Summary {
    /// The median of each figure on its own.
    pub fn median<'a>(runs: impl IntoIterator<Item = &'a Figures>) -> Self {
        let runs: Vec<&Self> = runs.into_iter().map(|run| &run.summary).collect();
        let of = |figure: fn(&Self) -> f64| {
            median(&runs.iter().map(|summary| figure(summary)).collect::<Vec<_>>())
        };
        Self {
            committed_per_second: of(|summary| summary.committed_per_second),
            dids_per_second: of(|summary| summary.dids_per_second),
            p50_ms: of(|summary| summary.p50_ms),
            p95_ms: of(|summary| summary.p95_ms),
            p99_ms: of(|summary| summary.p99_ms),
            validator_cores: of(|summary| summary.validator_cores),
            validator_us: of(|summary| summary.validator_us),
            client_cores: of(|summary| summary.client_cores),
            client_us: of(|summary| summary.client_us),
            peak_memory_mib: of(|summary| summary.peak_memory_mib),
            written_bytes: of(|summary| summary.written_bytes),
            sent_bytes: of(|summary| summary.sent_bytes),
        }
    }
}

/// Transactions and DIDs a second, between the receipts of the first and the last hundredth: neither the start nor one
/// straggler decides. Holds at overload too, where receipts go on to come after the last transaction was sent.
fn pace(seen: &mut [Seen]) -> (f64, f64) {
    seen.sort_by_key(|seen| seen.at);
    let first = seen.len() / 100;
    let Some(last) = seen.len().checked_sub(first + 1).filter(|last| *last > first) else {
        return (0.0, 0.0);
    };
    let seconds = (seen[last].at - seen[first].at).as_secs_f64();
    if seconds == 0.0 {
        return (0.0, 0.0);
    }
    let dids: u32 = seen[first + 1..=last].iter().map(|seen| seen.dids).sum();
    ((last - first) as f64 / seconds, f64::from(dids) / seconds)
}

/// The median latency of the last quarter of the transactions, by when they were due, less that of the second: in the first, queues
/// that were empty fill up to where they stay. Receipts come in bursts, and the medians tell a queue that grows from those; what came
/// between two moments does not, in a short run.
fn growth_ms(seen: &mut [Seen]) -> f64 {
    seen.sort_by_key(|seen| seen.at.saturating_sub(seen.latency));
    let quarter = seen.len() / 4;
    let of =
        |part: &[Seen]| median(&part.iter().map(|seen| seen.latency.as_secs_f64() * 1e3).collect::<Vec<_>>());
    of(&seen[seen.len() - quarter..]) - of(&seen[quarter..2 * quarter])
}

/// Of values in ascending order, by the nearest rank; 0 where there is none.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

/// The value in the middle, or between the two in the middle; 0 where there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at_ms: u64, dids: u32) -> Seen {
        Seen { at: Duration::from_millis(at_ms), latency: Duration::from_millis(20), dids }
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(
            [50, 95, 99, 100].map(|percent| percentile(&values, percent)),
            [100.0, 190.0, 198.0, 200.0]
        );
        assert_eq!((percentile(&[7.0], 1), percentile(&[7.0], 99), percentile(&[], 50)), (7.0, 7.0, 0.0));
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[9.0, 1.0, 5.0, 6.0]), 5.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn neither_latency_nor_a_straggler_changes_the_pace() {
        // One each 2 ms, the first after a second, the last one ten seconds late.
        let mut receipts: Vec<_> = (0..1_000).map(|place| seen(1_000 + 2 * place, 3)).collect();
        receipts.push(seen(13_000, 3));
        receipts.reverse();
        let (transactions, dids) = pace(&mut receipts);
        assert!((transactions - 500.0).abs() < 1.0 && (dids - 1_500.0).abs() < 3.0, "{transactions} {dids}");
        for few in [0, 1] {
            assert_eq!(pace(&mut vec![seen(1, 1); few]), (0.0, 0.0));
        }
        assert_eq!(pace(&mut [seen(1, 1), seen(1, 1)]), (0.0, 0.0));
    }

    #[test]
    fn a_queue_that_grows_is_told_from_bursts() {
        // Due each 2 ms. In bursts: a block every 300 ms.
        let due = |place: u64| 2 * place;
        let receipt = |at: u64, due: u64| Seen {
            at: Duration::from_millis(at),
            latency: Duration::from_millis(at - due),
            dids: 1,
        };
        let mut bursts: Vec<_> =
            (0..2_000).map(|place| receipt((due(place) / 300 + 1) * 300, due(place))).collect();
        assert!(growth_ms(&mut bursts).abs() < 60.0, "{}", growth_ms(&mut bursts));
        // Each takes 2.2 ms, so the queue grows by a tenth of the time.
        let mut queue: Vec<_> = (0..2_000).map(|place| receipt(22 * place / 10, due(place))).collect();
        assert!((growth_ms(&mut queue) - 200.0).abs() < 10.0, "{}", growth_ms(&mut queue));
        // It grows in the first second to 200 ms, and no further.
        let full = |place: u64| (due(place) / 5).min(200);
        let mut full: Vec<_> =
            (0..2_000).map(|place| receipt(due(place) + full(place), due(place))).collect();
        assert!(growth_ms(&mut full).abs() < 1.0, "{}", growth_ms(&mut full));
        assert_eq!(growth_ms(&mut []), 0.0);
    }

    #[test]
    fn what_validators_used_is_told_for_each_transaction_and_the_client_apart() {
        let used = |seconds, kib| Use {
            cpu: Duration::from_secs(seconds),
            peak_memory_kib: kib,
            written_bytes: 2_000,
            sent_bytes: 4_000,
        };
        let used = Used {
            validators: vec![(used(1, 1_024), Some(7)), (used(3, 2_048), Some(8))],
            client: Duration::from_secs(1),
        };
        let counts = Counts { committed: 1_000, ..Counts::default() };
        let figures = Figures::new(500, Duration::from_secs(2), counts, vec![seen(5, 1)], &used);
        let summary = &figures.summary;
        assert_eq!((summary.validator_cores, summary.validator_us), (1.0, 2_000.0));
        assert_eq!((summary.client_cores, summary.client_us), (0.5, 1_000.0));
        assert_eq!((summary.peak_memory_mib, summary.written_bytes, summary.sent_bytes), (2.0, 2.0, 4.0));
        assert_eq!(summary.p99_ms, 20.0);
        let nothing = Figures::new(500, Duration::ZERO, Counts::default(), Vec::new(), &used);
        assert_eq!(nothing.summary.validator_us, 0.0);
    }

    #[test]
    fn medians_are_of_each_figure_on_its_own() {
        let run = |rate, p99_ms| {
            let mut run = Figures::new(1, Duration::ZERO, Counts::default(), Vec::new(), &Used::default());
            run.summary = Summary { committed_per_second: rate, p99_ms, ..Summary::default() };
            run
        };
        let median = Summary::median(&[run(1.0, 30.0), run(2.0, 10.0), run(3.0, 20.0)]);
        assert_eq!((median.committed_per_second, median.p99_ms), (2.0, 20.0));
    }
}
