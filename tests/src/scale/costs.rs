//! What each thing costs a core or a disk.
//!
//! The defaults were measured once, on two cores of a cloud machine; [`Costs::measure`] measures those that can be measured in
//! a moment on this one. A run with the same costs, plan and seed has the same figures.

use std::hint::black_box;
use std::time::{Duration, Instant};

use genesis::key::{Claim, verify_all};
use genesis::{Height, PublicKey, SecretKey};
use node::availability::{Availability, Held};
use serde::{Deserialize, Serialize};

use super::Nanos;
use crate::founding::item;

/// What is measured, each for so long.
const TIME: Duration = Duration::from_millis(150);
/// As long as what a vote's signature covers.
const STATEMENT_BYTES: usize = 101;
/// How many signatures of a batch are checked together, for [`Costs::transaction_check_us`].
const TOGETHER: usize = 256;

/// Times in µs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// To check one signature by itself: a vote's, or a transaction's when it is handed in.
    pub signature_check_us: f64,
    /// To check one of a certificate's signatures, which are checked together.
    pub certificate_check_us: f64,
    /// To sign.
    pub sign_us: f64,
    /// To read and check a transaction in a batch, signature and keys.
    pub transaction_check_us: f64,
    /// To execute a transaction, its share of the state tree and of the store among it.
    pub transaction_execute_us: f64,
    /// To execute a block, beside its transactions.
    pub block_us: f64,
    /// To take in a batch, beside its transactions: to read, hash and keep it.
    pub batch_us: f64,
    /// A step of the replica, beside the checks of signatures.
    pub step_us: f64,
    /// To note that a peer holds a batch.
    pub held_us: f64,
    /// The same for each validator of the network: who holds it is counted anew.
    pub held_a_validator_us: f64,
    /// To send or receive a frame: encryption, multiplexing, the system's calls.
    pub frame_us: f64,
    /// The same for a KiB of it.
    pub kib_us: f64,
    /// Until what was written is durable. It keeps no core busy.
    pub sync_us: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            signature_check_us: 37.0,
            certificate_check_us: 18.0,
            sign_us: 18.0,
            transaction_check_us: 38.0,
            transaction_execute_us: 30.0,
            block_us: 300.0,
            batch_us: 60.0,
            step_us: 10.0,
            held_us: 0.35,
            held_a_validator_us: 0.0045,
            frame_us: 4.0,
            kib_us: 0.8,
            sync_us: 1_000.0,
        }
    }
}

/// A number of µs, as time.
pub fn us(micros: f64) -> Nanos {
    Nanos((micros * 1e3).round() as u64)
}

impl Costs {
    /// The defaults, with what can be measured here in about a second: checking, signing, and counting who holds a batch.
    pub fn measure() -> Self {
        let key = SecretKey::generate();
        let statement = [5; STATEMENT_BYTES];
        let signature = key.sign(&statement);
        let public = key.public();
        let signature_check_us =
            timed(|| assert!(public.verify(black_box(&statement), &signature), "a signature of its own"));
        let sign_us = timed(|| {
            black_box(key.sign(black_box(&statement)));
        });
        let defaults = Self::default();
        let together = together();
        let few = held(4);
        let held_a_validator_us = ((held(100) - few) / 96.0).max(0.0);
        // What a transaction costs beside its signature stays as it was measured.
        let beside = defaults.transaction_check_us - defaults.certificate_check_us;
        Self {
            signature_check_us,
            certificate_check_us: together,
            sign_us,
            transaction_check_us: together + beside,
            held_us: (few - 4.0 * held_a_validator_us).max(0.0),
            held_a_validator_us,
            ..defaults
        }
    }

    /// The same, but for one of them, by its name in JSON.
    ///
    /// # Errors
    /// When there is none of that name, or it is no time.
    pub fn with(&self, name: &str, micros: f64) -> Result<Self, String> {
        if !(0.0..=1e7).contains(&micros) {
            return Err(format!("{name}={micros}, but a cost is 0 to 10000000 µs"));
        }
        let mut all = serde_json::json!(self);
        match all.get_mut(name) {
            Some(cost) => *cost = micros.into(),
            None => return Err(format!("there is no cost {name}; there are these: {all}")),
        }
        serde_json::from_value(all).map_err(|error| error.to_string())
    }

    /// To send or receive a frame of so many bytes.
    pub fn frame(&self, bytes: u64) -> Nanos {
        us(self.frame_us + self.kib_us * bytes as f64 / 1_024.0)
    }

    /// To note that a peer holds so many batches, among so many validators.
    pub fn held(&self, batches: usize, validators: usize) -> Nanos {
        us(batches as f64 * (self.held_us + self.held_a_validator_us * validators as f64))
    }

    /// To read and check a batch of so many transactions.
    pub fn batch_check(&self, transactions: u64) -> Nanos {
        us(self.batch_us + self.transaction_check_us * transactions as f64)
    }

    /// To execute a block of so many transactions.
    pub fn execute(&self, transactions: u64) -> Nanos {
        us(self.block_us + self.transaction_execute_us * transactions as f64)
    }
}

/// How long `work` takes, in µs.
fn timed(mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut turns) = (Instant::now(), 0_u32);
    while start.elapsed() < TIME {
        work();
        turns += 1;
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(turns)
}

/// To check one signature of many by different keys, in µs.
fn together() -> f64 {
    let signed = (0..TOGETHER).map(|place| {
        let mut message = [5; STATEMENT_BYTES];
        message[..8].copy_from_slice(&place.to_le_bytes());
        let key = SecretKey::generate();
        (key.public(), message, key.sign(&message))
    });
    let signed: Vec<_> = signed.collect();
    let claims = signed.iter().map(|(signer, message, signature)| Claim {
        signer: *signer,
        message,
        signature: *signature,
    });
    let claims: Vec<_> = claims.collect();
    timed(|| assert!(verify_all(black_box(&claims)), "signatures of its own")) / TOGETHER as f64
}

/// To note that a peer of `validators` holds a batch, in µs: the mean over all of a batch's holders.
fn held(validators: u8) -> f64 {
    let keys: Vec<_> = (0..validators).map(|index| PublicKey::Ed25519([index; 32])).collect();
    let quorum = keys.len() - (keys.len() - 1) / 3;
    let (now, mut number) = (Instant::now(), 0);
    let mut known = Availability::new(keys[0], &keys, quorum, 1_000);
    let one_batch = || {
        let digest = item(number);
        number += 1;
        known.hold(Held { digest, expires_at: Height(1_000) }, now);
        for peer in &keys[1..] {
            black_box(known.held_by(*peer, digest, now));
        }
        if number.is_multiple_of(1_000) {
            known.expire(Height(1_000), now);
        }
    };
    timed(one_batch) / f64::from(validators)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_set_by_its_name_and_one_that_does_not_exist_is_refused_with_those_that_do() {
        let costs = Costs::default().with("syncUs", 5.0).unwrap();
        assert_eq!(costs, Costs { sync_us: 5.0, ..Costs::default() });
        assert!(costs.with("sinkUs", 5.0).unwrap_err().contains("syncUs"));
        assert!(costs.with("syncUs", -1.0).unwrap_err().contains("syncUs=-1"));
    }

    #[test]
    fn what_is_done_more_often_costs_so_many_times_more() {
        let costs =
            Costs { frame_us: 4.0, kib_us: 1.0, held_us: 1.0, held_a_validator_us: 0.5, ..Costs::default() };
        assert_eq!(costs.frame(2_048), us(6.0));
        assert_eq!(costs.held(3, 10), us(18.0));
        assert_eq!(costs.batch_check(10).0 - costs.batch_check(0).0, us(10.0 * costs.transaction_check_us).0);
        assert_eq!(costs.execute(0), us(costs.block_us));
    }
}
