use std::time::Duration;

use super::*;
use crate::scale::costs::Costs;
use crate::scale::plan::Bandwidth;

const MS: Duration = Duration::from_millis(1);

/// Nothing costs anything but the way: 20 ms to each.
fn free() -> Plan {
    let costs = Costs {
        signature_check_us: 0.0,
        certificate_check_us: 0.0,
        sign_us: 0.0,
        transaction_check_us: 0.0,
        transaction_execute_us: 0.0,
        block_us: 0.0,
        batch_us: 0.0,
        step_us: 0.0,
        held_us: 0.0,
        held_a_validator_us: 0.0,
        frame_us: 0.0,
        kib_us: 0.0,
        sync_us: 0.0,
    };
    Plan {
        validators: 4,
        seed: 1,
        load: Load::All,
        rate: 200.0,
        transaction_bytes: 330,
        bandwidth: Bandwidth { bits_a_second: 1_000_000_000_000 },
        delay: (20 * MS, 20 * MS),
        frame_overhead_bytes: 100,
        cores: 1,
        costs,
        warm_up: 500 * MS,
        measured: 1_000 * MS,
        gather_acknowledgements: Duration::ZERO,
        batch_age: None,
    }
}

fn run(plan: Plan) -> Figures {
    Network::run(plan).expect("a plan that can be run")
}

#[test]
fn the_same_plan_has_the_same_figures_and_another_seed_has_others() {
    let plan = |seed| Plan { seed, delay: (5 * MS, 40 * MS), costs: Costs::default(), ..free() };
    assert_eq!(run(plan(1)), run(plan(1)));
    assert_ne!(run(plan(1)), run(plan(2)));
}

#[test]
fn where_only_the_way_costs_time_a_transaction_takes_five_of_them_and_what_it_waits_for_its_turn() {
    let figures = run(free());
    assert!(figures.is_sustained, "{figures}");
    // Push, acknowledgement, proposal, PREPARE, COMMIT; a batch may wait for its age, and for the view that is under way.
    assert!((99.0..165.0).contains(&figures.p50_ms), "{figures}");
    assert_eq!((figures.given_up, figures.fetched, figures.synchronized), (0, 0, 0), "{figures}");
}

#[test]
fn one_author_commits_what_its_uplink_carries_to_all_others_and_no_more() {
    let bandwidth = Bandwidth { bits_a_second: 10_000_000 };
    let figures = run(Plan { load: Load::One, rate: 4_000.0, bandwidth, measured: 3_000 * MS, ..free() });
    let most = 10_000_000.0 / 8.0 / (330.0 * 3.0);
    assert!((0.6 * most..most).contains(&figures.committed), "{} of {most}: {figures}", figures.committed);
    assert_eq!(figures.limit, "author's uplink", "{figures}");
}

#[test]
fn a_core_is_busy_for_what_its_transactions_cost_and_commits_no_more_than_it_has_time_for() {
    let costs = Costs { transaction_check_us: 400.0, transaction_execute_us: 100.0, ..free().costs };
    let plan = |rate| Plan { rate, costs: costs.clone(), measured: 3_000 * MS, ..free() };
    let half = run(plan(1_000.0));
    assert!(half.is_sustained && (0.45..0.55).contains(&half.core.mean), "500 µs each: {half}");
    let over = run(plan(4_000.0));
    assert!(over.committed < 2_000.0 && over.limit == "core", "{over}");
}

#[test]
fn what_is_gathered_before_it_is_acknowledged_takes_fewer_bytes_and_no_transaction_is_lost() {
    let plan = |gather| Plan { rate: 2_000.0, validators: 10, gather_acknowledgements: gather, ..free() };
    let (at_once, gathered) = (run(plan(Duration::ZERO)), run(plan(10 * MS)));
    assert!(at_once.is_sustained && gathered.is_sustained, "{at_once}\n{gathered}");
    let [more, less] = [at_once, gathered].map(|figures| figures.sent_bytes.acknowledgements);
    assert!(less < 0.8 * more, "{less} of {more}");
}

#[test]
fn a_plan_that_makes_no_sense_is_refused_by_what_is_wrong_with_it() {
    assert!(matches!(Network::run(Plan { validators: 3, ..free() }), Err(PlanError::Validators(3))));
    assert!(matches!(Network::run(Plan { cores: 9, ..free() }), Err(PlanError::Cores(9))));
    assert!(matches!(Network::run(Plan { delay: (2 * MS, MS), ..free() }), Err(PlanError::Delay(..))));
    assert!(matches!(
        Network::run(Plan { transaction_bytes: 0, ..free() }),
        Err(PlanError::Transaction(0, _))
    ));
}
