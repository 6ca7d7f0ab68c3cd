//! Many seeds: for each, a network that the seed draws goes through delays, losses, crashes, partitions and Byzantine
//! members; nothing unsafe happens, and when the faults are over it finishes its work beside the Byzantine ones that
//! are left, or falls silent.
//!
//! Each test runs seeds of its own; nextest runs the tests in parallel. `scripts/simulate` runs more.

use std::ops::Range;

use tests::simulation::campaign::{Campaign, Nodes, Summary};

fn run(nodes: Nodes, seeds: Range<u64>, twice: bool) -> Summary {
    let (from, seeds) = (seeds.start, seeds.end - seeds.start);
    let summary = Campaign { from, seeds, nodes, jobs: 1, twice }.run(|_| {});
    assert_eq!(summary.seeds, seeds);
    let failures: Vec<_> = summary.failures.values().cloned().collect();
    assert!(failures.is_empty(), "{} seeds fail:\n{}", failures.len(), failures.join("\n"));
    summary
}

macro_rules! seeds {
    ($($name:ident: $nodes:literal nodes, $seeds:expr;)*) => {
        $(#[test]
        fn $name() {
            run(Nodes::All($nodes), $seeds, false);
        })*
    };
}

seeds! {
    one_node: 1 nodes, 0..150;
    two_nodes: 2 nodes, 0..150;
    three_nodes: 3 nodes, 0..150;
    four_nodes_first: 4 nodes, 0..200;
    four_nodes_second: 4 nodes, 200..400;
    four_nodes_third: 4 nodes, 400..600;
    four_nodes_fourth: 4 nodes, 600..800;
    five_nodes: 5 nodes, 0..150;
    six_nodes: 6 nodes, 0..150;
    seven_nodes_first: 7 nodes, 0..200;
    seven_nodes_second: 7 nodes, 200..400;
    seven_nodes_third: 7 nodes, 400..600;
    ten_nodes: 10 nodes, 0..100;
}

/// Each of them showed a mistake once: of the consensus, the node's start, the witness, or the plan.
#[test]
fn seeds_that_found_something_hold() {
    for (seed, nodes) in [(505_114, 1), (506_268, 7), (507_711, 7), (5_256, 3), (19_334, 1), (90_237, 5)] {
        if let Err(failure) = tests::simulation::run(seed, nodes) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_seed_another() {
    for nodes in [1, 4, 7] {
        let trace = |seed| tests::simulation::run(seed, nodes).map(|report| report.trace).ok();
        assert_ne!(trace(7), trace(8));
    }
    run(Nodes::Mixed, 0..60, true);
}

#[test]
fn every_kind_of_byzantine_replica_and_every_fault_is_among_the_seeds_of_this_test() {
    let summary = run(Nodes::All(7), 1_000..1_250, false);
    assert_eq!(summary.idle_kinds(), []);
    assert_eq!(summary.missing_faults(), []);
}
