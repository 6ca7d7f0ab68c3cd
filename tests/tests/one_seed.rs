//! Runs one seed again, as a failure's last line says:
//! `SEED=123 NODES=4 cargo nextest run --release -p tests one_seed`. With `NARRATE=1 … --no-capture` it prints
//! every message.

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
    let (seed, nodes) = (number("SEED", 0), number("NODES", 4));
    assert!((1..=100).contains(&nodes), "NODES={nodes}, but must be 1 to 100");
    match tests::simulation::weather::run_drawn(seed, nodes as usize, number("NARRATE", 0) != 0) {
        Ok(report) => println!("seed {seed}, {nodes} nodes: {report:?}"),
        Err(failure) => panic!("{failure}"),
    }
}
