//! Runs one seed again, as a failure's last line says:
//! `SEED=123 NODES=4 cargo nextest run --release -p tests one_seed`. With `NARRATE=1 … --no-capture` it prints
//! every message; with `SEEDS=1000` it runs so many, from
//! `SEED` on.

// A test through and through: what does not hold ends it.
#![allow(clippy::panic)]

use std::env;

fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Err(_) => default,
        Ok(text) => match text.parse() {
            Ok(number) => number,
            Err(error) => panic!("{name}={text} is not a number: {error}"),
        },
    }
}

#[test]
fn one_seed() {
    let (first, count, nodes) = (number("SEED", 0), number("SEEDS", 1), number("NODES", 4));
    assert!((1..=100).contains(&nodes), "NODES={nodes}, but must be 1 to 100");
    let narrate = number("NARRATE", 0) != 0;
    let mut failures = Vec::new();
    for seed in first..first.saturating_add(count) {
        match tests::simulation::weather::run_drawn(seed, nodes as usize, narrate) {
            Ok(report) if count == 1 => println!("seed {seed}, {nodes} nodes: {report:?}"),
            Ok(_) => {}
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(failures.is_empty(), "{} of {count} seeds fail:\n{}", failures.len(), failures.join("\n"));
}
