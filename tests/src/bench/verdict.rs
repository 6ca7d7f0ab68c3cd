//! Whether a run counts: a figure of a network that fell behind, of a client that did not keep its rate, or of transactions that
//! came to nothing is a figure of something else.

use super::figures::Figures;

/// How many blocks a validator may be behind another at the end: those that are under way.
pub const BLOCKS_BEHIND: u64 = 4;

/// The part of the transactions that must have been sent in time.
const IN_TIME: f64 = 0.99;

/// The part of what was offered that must be committed for the network to sustain it.
const COMMITTED: f64 = 0.97;

/// How much latency must grow from the second quarter of a run to the last to be told from chance, in ms.
const LEAST_GROWTH_MS: f64 = 70.0;

/// The p99 beyond which the network does not sustain the load, in ms.
const LONGEST_P99_MS: f64 = 1_000.0;

/// Why a run does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A validator did not keep up.
    #[error("validator {validator} fell behind: it is at height {height}, another at {highest}")]
    Behind {
        /// Which.
        validator: usize,
        /// Where it is.
        height: u64,
        /// Where another is.
        highest: u64,
    },
    /// A validator does not answer.
    #[error("validator {validator} does not answer any more")]
    Silent {
        /// Which.
        validator: usize,
    },
    /// The load was not what it was to be.
    #[error(
        "the client missed its rate: {in_time} of {offered} transactions were sent within 100 ms of when they were due. \
         Something else uses this machine, or the client takes too much of it"
    )]
    Late {
        /// How many were sent in time.
        in_time: u64,
        /// How many were to be sent.
        offered: u64,
    },
    /// A node did not keep its word.
    #[error("{count} transactions were lost: accepted, and neither a receipt nor an expiry came")]
    Lost {
        /// How many.
        count: u64,
    },
    /// Submissions failed.
    #[error(
        "{count} transactions were sent in calls that failed, and nothing was heard of them again ({how})"
    )]
    Unanswered {
        /// How many.
        count: u64,
        /// What the calls failed with.
        how: String,
    },
    /// A node refused what it should take.
    #[error("{count} transactions were refused: {how}")]
    Refused {
        /// How many.
        count: u64,
        /// What the nodes said.
        how: String,
    },
    /// Transactions were ordered for nothing.
    #[error("{count} transactions were ordered without effect: {how}")]
    NotApplied {
        /// How many.
        count: u64,
        /// What their receipts say.
        how: String,
    },
    /// There is nothing to tell.
    #[error("no transaction was committed")]
    Nothing,
}

/// Why this run does not count; empty where it does.
pub fn refusals(run: &Figures) -> Vec<Refusal> {
    let counts = &run.counts;
    let mut refusals = Vec::new();
    let highest = run.validators.iter().filter_map(|validator| validator.height).max().unwrap_or(0);
    for (validator, used) in run.validators.iter().enumerate() {
        match used.height {
            None => refusals.push(Refusal::Silent { validator }),
            Some(height) if height + BLOCKS_BEHIND < highest => {
                refusals.push(Refusal::Behind { validator, height, highest });
            }
            Some(_) => {}
        }
    }
    if !client_kept_up(run) {
        refusals.push(Refusal::Late { in_time: counts.sent_in_time, offered: counts.offered });
    }
    if counts.lost > 0 {
        refusals.push(Refusal::Lost { count: counts.lost });
    }
    if counts.unanswered > 0 {
        refusals.push(Refusal::Unanswered { count: counts.unanswered, how: listed(&counts.failed_calls) });
    }
    let sum = |kinds: &std::collections::BTreeMap<String, u64>| kinds.values().sum::<u64>();
    if !counts.refused.is_empty() {
        refusals.push(Refusal::Refused { count: sum(&counts.refused), how: listed(&counts.refused) });
    }
    if !counts.not_applied.is_empty() {
        let how = listed(&counts.not_applied);
        refusals.push(Refusal::NotApplied { count: sum(&counts.not_applied), how });
    }
    if counts.committed == 0 {
        refusals.push(Refusal::Nothing);
    }
    refusals
}

fn client_kept_up(run: &Figures) -> bool {
    run.counts.sent_in_time as f64 >= IN_TIME * run.counts.offered as f64
}

/// What a step of the ramp shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The network keeps up with what is offered.
    Sustained,
    /// It does not: why.
    Saturated(String),
    /// The run shows nothing of the network.
    Refused(Vec<Refusal>),
}

/// What a step of the ramp shows. A client that shares the machine may miss its rate where the validators are overloaded: that
/// step is saturated, as long as they do not commit all that it did send.
pub fn judge(run: &Figures) -> Step {
    let mut refusals = refusals(run);
    // Of a client that was late, what it sent is what was offered. Its lateness is in the latencies, which count from the
    // due time, so they say nothing of the validators then.
    let kept_up = client_kept_up(run);
    let (counts, summary) = (&run.counts, &run.summary);
    let part = counts.committed as f64 / counts.offered.max(1) as f64;
    // What is due in a second takes that much more than a second. The quarters' middles lie half of the run apart.
    let apart_ms = counts.offered as f64 / run.offered_per_second.max(1) as f64 * 500.0;
    let pace = 1.0 / (1.0 + (run.growth_ms / apart_ms).max(0.0));
    let saturated = if part < COMMITTED {
        Some(format!("{:.1} % of what was offered was committed", part * 100.0))
    } else if pace < COMMITTED && run.growth_ms > LEAST_GROWTH_MS {
        Some(format!("latency grows: {:.1} % of what is offered are committed in its time", pace * 100.0))
    } else if summary.p99_ms > LONGEST_P99_MS && kept_up {
        Some(format!("the p99 is {:.0} ms", summary.p99_ms))
    } else {
        None
    };
    if saturated.is_some() {
        refusals.retain(|refusal| !matches!(refusal, Refusal::Late { .. }));
    }
    match (refusals.is_empty(), saturated) {
        (false, _) => Step::Refused(refusals),
        (true, Some(why)) => Step::Saturated(why),
        (true, None) => Step::Sustained,
    }
}

fn listed(kinds: &std::collections::BTreeMap<String, u64>) -> String {
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    kinds.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::{Counts, Seen, Used};
    use crate::bench::resources::Use;
    use std::time::Duration;

    /// A run of 1,000 transactions at 500 a second that counts.
    fn good() -> Figures {
        let counts = Counts {
            offered: 1_000,
            sent: 1_000,
            sent_in_time: 1_000,
            committed: 1_000,
            dids: 1_000,
            ..Counts::default()
        };
        let receipt = |place: u64| Seen {
            at: Duration::from_millis(2 * place),
            latency: Duration::from_millis(30),
            dids: 1,
        };
        let used = Used { validators: vec![(Use::default(), Some(100)); 4], client: Duration::ZERO };
        Figures::new(500, Duration::from_secs(2), counts, (0..1_000).map(receipt).collect(), &used)
    }

    fn refused(spoil: impl FnOnce(&mut Figures)) -> Vec<Refusal> {
        let mut run = good();
        spoil(&mut run);
        refusals(&run)
    }

    #[test]
    fn a_run_that_counts_is_not_refused() {
        assert_eq!(refusals(&good()), []);
        assert_eq!(judge(&good()), Step::Sustained);
    }

    #[test]
    fn a_validator_that_fell_behind_is_named_and_one_that_is_a_few_blocks_late_is_not() {
        assert_eq!(refused(|run| run.validators[2].height = Some(100 - BLOCKS_BEHIND)), []);
        let behind = refused(|run| run.validators[2].height = Some(95));
        assert_eq!(behind, [Refusal::Behind { validator: 2, height: 95, highest: 100 }]);
        assert_eq!(refused(|run| run.validators[1].height = None), [Refusal::Silent { validator: 1 }]);
    }

    #[test]
    fn a_client_that_missed_its_rate_is_told_with_the_numbers() {
        assert_eq!(refused(|run| run.counts.sent_in_time = 990), []);
        let late = refused(|run| run.counts.sent_in_time = 989);
        assert_eq!(late, [Refusal::Late { in_time: 989, offered: 1_000 }]);
    }

    #[test]
    fn one_lost_transaction_is_enough_and_so_is_one_without_an_answer_or_without_effect() {
        assert_eq!(refused(|run| run.counts.lost = 1), [Refusal::Lost { count: 1 }]);
        let unanswered = refused(|run| {
            run.counts.unanswered = 2;
            run.counts.failed_calls.insert("no connection".to_owned(), 1);
        });
        assert!(unanswered[0].to_string().contains("1 × no connection"), "{unanswered:?}");
        let refusal = refused(|run| run.counts.refused = [("code -32021".to_owned(), 3)].into());
        assert!(refusal[0].to_string().contains("3 × code -32021"), "{refusal:?}");
        let without = refused(|run| run.counts.not_applied = [("no_such_did".to_owned(), 3)].into());
        assert!(without[0].to_string().contains("3 × no_such_did"), "{without:?}");
    }

    #[test]
    fn polite_refusals_and_expiries_are_no_losses() {
        assert_eq!(refused(|run| (run.counts.busy, run.counts.expired) = (400, 3)), []);
    }

    #[test]
    fn a_run_without_receipts_is_refused() {
        assert_eq!(refused(|run| run.counts.committed = 0), [Refusal::Nothing]);
    }

    #[test]
    fn a_step_is_saturated_by_too_few_or_too_late_receipts() {
        let step = |spoil: &dyn Fn(&mut Figures)| {
            let mut run = good();
            spoil(&mut run);
            judge(&run)
        };
        assert_eq!(step(&|run| run.counts.committed = 970), Step::Sustained);
        assert_eq!(step(&|run| run.growth_ms = 60.0), Step::Sustained);
        assert_eq!(step(&|run| run.growth_ms = -300.0), Step::Sustained);
        let saturated: [&dyn Fn(&mut Figures); 4] = [
            &|run| run.counts.committed = 969,
            // A second lies between the quarters.
            &|run| run.growth_ms = 75.0,
            &|run| run.summary.p99_ms = 1_001.0,
            // A client that was late beside validators that are overloaded says nothing else.
            &|run| (run.counts.sent_in_time, run.growth_ms) = (500, 800.0),
        ];
        for spoil in saturated {
            assert!(matches!(step(spoil), Step::Saturated(_)), "{:?}", step(spoil));
        }
    }

    #[test]
    fn a_client_that_is_late_while_validators_keep_up_is_no_saturation() {
        let mut run = good();
        (run.counts.sent_in_time, run.summary.p99_ms) = (500, 2_000.0);
        assert!(matches!(judge(&run), Step::Refused(_)), "{:?}", judge(&run));
    }

    #[test]
    fn overload_excuses_no_loss_and_no_validator_that_fell_behind() {
        let mut run = good();
        (run.growth_ms, run.counts.lost) = (800.0, 1);
        assert_eq!(judge(&run), Step::Refused(vec![Refusal::Lost { count: 1 }]));
    }
}
