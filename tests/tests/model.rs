//! Every run of four replicas up to two views, one of them Byzantine: nothing unsafe happens. With two of them
//! Byzantine the same search finds a fork, so it can fail. Three views: `scripts/model`.

use genesis::{ValidatorIndex, View};
use tests::model::{Bounds, Report, explore};

fn run(views: u64, byzantine: &[u16], restarts: bool) -> Report {
    let byzantine = byzantine.iter().copied().map(ValidatorIndex).collect();
    let report = explore(Bounds { validators: 4, byzantine, views, restarts }, |_, _, _| {});
    println!("{report}");
    report
}

fn holds(byzantine: u16, restarts: bool) {
    let report = run(2, &[byzantine], restarts);
    assert!(report.violation.is_none(), "{report}");
    // The search went somewhere: blocks of both views become final.
    assert!(report.finals.contains_key(&View(1)) && report.finals.contains_key(&View(2)), "{report}");
}

fn forks(views: u64, byzantine: &[u16]) {
    let report = run(views, byzantine, false);
    let what = report.violation.as_ref().map(|violation| violation.what.as_str());
    assert!(what.is_some_and(|what| what.starts_with("FORK")), "{report}");
}

#[test]
fn two_views_are_safe_with_a_byzantine_follower() {
    holds(0, true);
    holds(3, true);
}

#[test]
fn two_views_are_safe_with_a_byzantine_leader_of_the_first() {
    holds(1, true);
}

#[test]
fn two_views_are_safe_with_a_byzantine_leader_of_the_second() {
    holds(2, false);
}

#[test]
fn two_byzantine_validators_fork_the_chain_within_one_view_if_they_lead_it() {
    forks(1, &[0, 1]);
}

#[test]
fn two_byzantine_validators_fork_the_chain_over_two_views_whoever_leads() {
    forks(2, &[0, 3]);
    forks(2, &[1, 2]);
    forks(2, &[2, 3]);
}
