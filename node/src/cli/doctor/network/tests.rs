use super::super::report::State;
use super::*;

#[test]
fn a_clock_is_judged_by_what_the_chain_bears() {
    for (skew_ms, state, text) in [
        (0, State::Ok, "within 2 s"),
        (-2_000, State::Ok, "within 2 s"),
        (2_600, State::Warn, "2.6 s ahead of"),
        (-6_900, State::Warn, "6.9 s behind"),
        (-7_000, State::Fail, "7.0 s behind"),
        (i64::MIN, State::Fail, "5000 ms are refused"),
    ] {
        let mut report = Report::default();
        judge_clock(skew_ms, 5_000, &mut report);
        let finding = report.of("clock");
        assert!(finding.state == state && finding.found.contains(text), "{skew_ms}: {finding:?}");
    }
}

#[test]
fn a_validator_needs_a_quorum_with_itself_and_an_observer_one_that_is_honest() {
    assert_eq!((needed(true, 4, 3), needed(false, 4, 3)), (2, 2));
    assert_eq!((needed(true, 7, 5), needed(false, 7, 5)), (4, 3));
    assert_eq!((needed(true, 1, 1), needed(false, 1, 1)), (0, 1));
}

#[test]
fn peers_that_are_away_are_a_warning_until_too_few_are_left() {
    for (reached, away, state) in
        [(3, vec![], State::Ok), (2, vec!["node1"], State::Warn), (1, vec!["node1", "node2"], State::Fail)]
    {
        let mut report = Report::default();
        told(reached, away.clone(), 2, "call them", &mut report);
        let finding = report.of("peers");
        assert_eq!(finding.state, state);
        assert!(away.iter().all(|name| finding.found.contains(name)), "{finding:?}");
    }
}
