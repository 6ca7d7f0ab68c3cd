//! The figures of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::cli::output::Output;

/// The longest latency that is told apart, in microseconds: ten minutes.
const MAX_LATENCY_US: u64 = 600_000_000;

/// Figures of a run, from what was seen.
///
/// Invariant: they count transactions. Each that was sent is one of `committed`, `busy`, `errors` and `unresolved`;
/// calls carry many, so failed ones are counted apart.
#[derive(Debug)]
pub(super) struct Report {
    /// Transactions a second that were to be sent.
    pub(super) rate: u64,
    /// How many were to be sent.
    pub(super) offered: u64,
    /// How many were sent.
    pub(super) sent: u64,
    /// How many were sent when they were due, or within a tenth of a second.
    pub(super) sent_in_time: u64,
    /// How many got a receipt that says `applied`.
    pub(super) committed: u64,
    /// How many a node refused because it was full.
    pub(super) busy: u64,
    /// How many got no receipt.
    pub(super) unresolved: u64,
    /// How many a node refused for another reason, or have a receipt that says that nothing changed, by kind.
    pub(super) errors: BTreeMap<String, u64>,
    /// Calls that failed, by kind. What they carried may be final all the same.
    pub(super) failed_calls: BTreeMap<String, u64>,
    /// From the moment that a transaction was due to the moment that its receipt was here, in microseconds. None
    /// where the histogram could not be made.
    pub(super) latency: Option<Histogram<u64>>,
    /// From the start to the last receipt.
    pub(super) elapsed: Duration,
    /// Whether Ctrl-C ended the run.
    pub(super) interrupted: bool,
}

impl Report {
    /// Nothing happened yet.
    pub(super) fn new(rate: u64, offered: u64) -> Self {
        Self {
            rate,
            offered,
            sent: 0,
            sent_in_time: 0,
            committed: 0,
            busy: 0,
            unresolved: 0,
            errors: BTreeMap::new(),
            failed_calls: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).ok(),
            elapsed: Duration::ZERO,
            interrupted: false,
        }
    }

    /// A receipt that says `applied` came, `latency` after its transaction was due.
    pub(super) fn commit(&mut self, latency: Duration) {
        self.committed += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(histogram) = &mut self.latency {
            histogram.saturating_record(micros.clamp(1, MAX_LATENCY_US));
        }
    }

    /// A transaction was refused, or ordered without effect.
    pub(super) fn fail(&mut self, kind: impl Into<String>) {
        count(&mut self.errors, kind.into());
    }

    /// A call failed, whatever became of what it carried.
    pub(super) fn call_failed(&mut self, kind: impl Into<String>) {
        count(&mut self.failed_calls, kind.into());
    }

    /// Committed transactions a second, over the whole time until the last receipt.
    fn per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.committed as f64 / seconds } else { 0.0 }
    }

    fn rate_kept(&self) -> bool {
        // What was not due yet when the run was interrupted says nothing.
        let due = if self.interrupted { self.sent } else { self.offered };
        self.sent_in_time as f64 >= 0.99 * due as f64
    }

    fn percentile_ms(&self, quantile: f64) -> f64 {
        let micros = self.latency.as_ref().map_or(0, |latency| latency.value_at_quantile(quantile));
        micros as f64 / 1_000.0
    }

    fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    fn failed_call_count(&self) -> u64 {
        self.failed_calls.values().sum()
    }

    /// All figures.
    pub(super) fn to_json(&self) -> Value {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        json!({
            "offeredPerSecond": self.rate,
            "offered": self.offered,
            "sent": self.sent,
            "offeredRateKept": self.rate_kept(),
            "committed": self.committed,
            "committedPerSecond": rounded(self.per_second()),
            "latencyMs": {
                "p50": rounded(self.percentile_ms(0.5)),
                "p95": rounded(self.percentile_ms(0.95)),
                "p99": rounded(self.percentile_ms(0.99)),
                "max": rounded(self.percentile_ms(1.0)),
            },
            "busy": self.busy,
            "unresolved": self.unresolved,
            "errors": self.error_count(),
            "errorsByKind": self.errors,
            "failedCalls": self.failed_call_count(),
            "failedCallsByKind": self.failed_calls,
            "elapsedSeconds": rounded(self.elapsed.as_secs_f64()),
            "interrupted": self.interrupted,
        })
    }

    /// The same for people.
    pub(super) fn to_text(&self, output: &Output) -> String {
        let kept = if self.rate_kept() { "kept" } else { "not kept: this machine or a node fell behind" };
        let latency = format!(
            "p50 {:.1} ms · p95 {:.1} ms · p99 {:.1} ms · max {:.1} ms",
            self.percentile_ms(0.5),
            self.percentile_ms(0.95),
            self.percentile_ms(0.99),
            self.percentile_ms(1.0),
        );
        let until = if self.interrupted { ", then interrupted" } else { "" };
        let committed = format!("{} of {}, {:.0} a second", self.committed, self.sent, self.per_second());
        let count = |count: u64| output.good(count == 0, &count.to_string());
        let mut text = String::new();
        for (name, value) in [
            ("offered", format!("{} a second ({})", self.rate, output.good(self.rate_kept(), kept))),
            ("sent", format!("{} of {}{until}", self.sent, self.offered)),
            ("committed", output.bold(&committed)),
            ("latency", output.bold(&latency)),
            ("busy", self.busy.to_string()),
            ("errors", count(self.error_count())),
            ("unresolved", count(self.unresolved)),
            ("failed calls", count(self.failed_call_count())),
            ("elapsed", format!("{:.1} s", self.elapsed.as_secs_f64())),
        ] {
            text += &format!("{name:<14}{value}\n");
        }
        for (kind, count) in self.errors.iter().chain(&self.failed_calls) {
            text += &format!("  {count} × {kind}\n");
        }
        text
    }
}

/// Kinds may carry a node's own words: bounded, so that a hostile node cannot fill memory.
fn count(kinds: &mut BTreeMap<String, u64>, kind: String) {
    let kind = if kinds.len() < 100 { kind } else { "other".to_owned() };
    *kinds.entry(kind).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_from_what_was_seen() {
        let mut report = Report::new(100, 200);
        (1..=100).for_each(|millis| report.commit(Duration::from_millis(millis)));
        (0..91).for_each(|_| report.fail("version_mismatch"));
        (0..2).for_each(|_| report.call_failed("waiting: no answer in time"));
        (report.unresolved, report.busy, report.sent, report.sent_in_time) = (4, 5, 200, 199);
        report.elapsed = Duration::from_secs(2);
        let json = report.to_json();
        assert_eq!((&json["committed"], &json["committedPerSecond"]), (&json!(100), &json!(50.0)));
        assert_eq!((&json["errors"], &json["errorsByKind"]["version_mismatch"]), (&json!(91), &json!(91)));
        let ends = ["committed", "busy", "errors", "unresolved"].map(|end| json[end].as_u64().unwrap());
        assert_eq!(ends.iter().sum::<u64>(), 200, "each transaction that was sent has one end: {json}");
        assert_eq!(json["failedCalls"], 2);
        assert_eq!(json["offeredRateKept"], true);
        let p50 = json["latencyMs"]["p50"].as_f64().unwrap();
        assert!((49.9..50.2).contains(&p50), "{p50}");
        let text = report.to_text(&Output::new(true));
        for part in [
            "sent          200 of 200\n",
            "100 of 200, 50 a second",
            "unresolved    4",
            "failed calls  2",
            "91 × version_mismatch",
            "2 × waiting: no answer in time",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn an_interrupted_run_tells_what_was_sent() {
        let mut report = Report::new(100, 1_000);
        (1..=40).for_each(|millis| report.commit(Duration::from_millis(millis)));
        (report.sent, report.sent_in_time, report.unresolved, report.interrupted) = (50, 50, 10, true);
        let (json, text) = (report.to_json(), report.to_text(&Output::new(true)));
        assert_eq!(
            (&json["sent"], &json["offered"], &json["interrupted"]),
            (&json!(50), &json!(1_000), &json!(true))
        );
        assert!(text.contains("50 of 1000, then interrupted") && text.contains("40 of 50,"), "{text}");
    }

    #[test]
    fn a_run_without_receipts_has_figures_too() {
        let json = Report::new(1, 1).to_json();
        assert_eq!((&json["committedPerSecond"], &json["offeredRateKept"]), (&json!(0.0), &json!(false)));
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut report = Report::new(1, 1);
        (0..1_000).for_each(|kind| report.fail(kind.to_string()));
        assert!(report.errors.len() <= 101);
        assert_eq!(report.error_count(), 1_000);
    }
}
