//! Many seeds: for each, a network that the seed draws goes through delays, losses, crashes and partitions, nothing
//! unsafe happens, and when they are over it finishes its work and falls silent.
//!
//! Each test runs seeds of its own; nextest runs the tests in parallel.

use std::ops::Range;

fn all_hold(nodes: usize, seeds: Range<u64>) {
    let mut failures = Vec::new();
    let (mut steps, mut blocks, mut longest) = (0, 0, (0, 0));
    for seed in seeds {
        match tests::simulation::run(seed, nodes) {
            Ok(report) => {
                steps += report.steps;
                blocks += report.blocks;
                longest = longest.max((report.steps, seed));
            }
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    println!("{nodes} nodes: {steps} steps, {blocks} blocks; {} steps in seed {}", longest.0, longest.1);
    assert!(failures.is_empty(), "{} seeds fail:\n{}", failures.len(), failures.join("\n"));
}

macro_rules! seeds {
    ($($name:ident: $nodes:literal nodes, $seeds:expr;)*) => {
        $(#[test]
        fn $name() {
            all_hold($nodes, $seeds);
        })*
    };
}

seeds! {
    one_node: 1 nodes, 0..200;
    two_nodes: 2 nodes, 0..200;
    three_nodes: 3 nodes, 0..200;
    four_nodes_first: 4 nodes, 0..250;
    four_nodes_second: 4 nodes, 250..500;
    four_nodes_third: 4 nodes, 500..750;
    four_nodes_fourth: 4 nodes, 750..1_000;
    five_nodes: 5 nodes, 0..200;
    six_nodes: 6 nodes, 0..200;
    seven_nodes_first: 7 nodes, 0..250;
    seven_nodes_second: 7 nodes, 250..500;
    seven_nodes_third: 7 nodes, 500..750;
    seven_nodes_fourth: 7 nodes, 750..1_000;
    ten_nodes: 10 nodes, 0..150;
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_seed_another() {
    for nodes in [1, 4, 7] {
        let trace = |seed| tests::simulation::run(seed, nodes).map(|report| report.trace).ok();
        assert_eq!(trace(7), trace(7));
        assert_ne!(trace(7), trace(8));
    }
}
