//! One validator's key on two hosts, and every way to divide five hosts, round by round: no fork, and a healed network
//! goes on. With two such validators the same runs find a fork, so they can fail. All cases: `scripts/simulate --twins`.

use tests::twins::network::Network;
use tests::twins::scenario::{Proposers, Round, Scenario, partitions};
use tests::twins::{Report, run};

fn all_hold(report: &Report) {
    println!("{report}");
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert_eq!(report.distinct as u64, report.cases);
    // The cases are what they are meant to be: the twins equivocate, and networks come to decisions all the same.
    assert!(report.equivocations * 4 > report.cases, "{report}");
    assert!(report.final_before_heal * 4 > report.cases, "{report}");
}

#[test]
fn a_sample_of_the_cases_of_three_rounds_and_two_groups_holds() {
    all_hold(&run(0..800, 1, |_, _| {}));
}

#[test]
fn a_sample_of_the_cases_of_six_rounds_and_three_groups_holds() {
    all_hold(&run(21_504..21_904, 1, |_, _| {}));
}

#[test]
fn a_case_gives_the_same_run_again() {
    let steps = || run(100..120, 1, |_, _| {}).steps;
    assert_eq!(steps(), steps());
}

#[test]
fn twins_of_two_validators_fork_the_chain() {
    let mut network = Network::new();
    let cases = partitions(6, 2).into_iter().map(|groups| {
        let round = Round { groups, proposers: Proposers::Both };
        Scenario { twinned: vec![1, 2], rounds: vec![round.clone(), round] }
    });
    let fork = cases.into_iter().find_map(|scenario| {
        let outcome = network.run(&scenario);
        outcome.result.err().filter(|what| what.starts_with("FORK")).map(|what| format!("{scenario}: {what}"))
    });
    println!("{fork:?}");
    assert!(fork.is_some(), "twins of f+1 validators find no fork");
}
