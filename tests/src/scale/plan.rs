//! What a run consists of. The same plan gives the same figures.

use std::time::Duration;

use genesis::Parameters;
use serde::Serialize;

use super::Nanos;
use super::costs::Costs;
use super::holders::MOST;

/// Where the transactions arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// At all validators, each the same part of them.
    All,
    /// At one of them.
    One,
}

/// A link's rate, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bandwidth {
    /// In bits a second.
    pub bits_a_second: u64,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// How many validators: at least 4, at most [`MOST`].
    pub validators: u16,
    /// Decides the delays, and when each validator's first transaction arrives.
    pub seed: u64,
    /// Where the transactions arrive.
    pub load: Load,
    /// How many a second, in all.
    pub rate: f64,
    /// The bytes of one.
    pub transaction_bytes: u64,
    /// Each validator's uplink, and its downlink.
    pub bandwidth: Bandwidth,
    /// The least and the greatest delay one way; each pair has one of its own, the same in both directions.
    pub delay: (Duration, Duration),
    /// What a frame has on the wire beside its own bytes, in bytes: its length, multiplexing, encryption, TCP and IP.
    pub frame_overhead_bytes: u64,
    /// How many cores a validator has.
    pub cores: usize,
    /// What things cost.
    pub costs: Costs,
    /// How long it runs before anything is measured.
    pub warm_up: Duration,
    /// How long is measured.
    pub measured: Duration,
    /// For how long acknowledgements are gathered before they are sent; the node sends them at once.
    pub gather_acknowledgements: Duration,
    /// How long a transaction waits for others before it is sealed; nothing: as in the node.
    pub batch_age: Option<Duration>,
}

/// A plan that cannot be run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// Too few or too many validators.
    #[error("{0} validators, but 4 to {MOST} can be simulated")]
    Validators(u16),
    /// The delays are the wrong way around.
    #[error("delays of {0:?} to {1:?}: the first must not be the longer one")]
    Delay(Duration, Duration),
    /// Nothing would be measured.
    #[error("{0:?} are measured, but at least 100 ms must be")]
    Measured(Duration),
    /// A transaction that does not fit.
    #[error("transactions of {0} bytes, but 1 to {1} are allowed (max_transaction_bytes)")]
    Transaction(u64, u64),
    /// No core, or more than there is work for.
    #[error("{0} cores, but 1 to 4 can be simulated: a validator has four things to do at a time")]
    Cores(usize),
}

impl Plan {
    /// Looks whether it can be run.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(&self) -> Result<(), PlanError> {
        let most = self.parameters().max_transaction_bytes;
        let (least, greatest) = self.delay;
        if !(4..=MOST as u16).contains(&self.validators) {
            return Err(PlanError::Validators(self.validators));
        }
        if least > greatest {
            return Err(PlanError::Delay(least, greatest));
        }
        if self.measured < Duration::from_millis(100) {
            return Err(PlanError::Measured(self.measured));
        }
        if !(1..=most).contains(&self.transaction_bytes) {
            return Err(PlanError::Transaction(self.transaction_bytes, most));
        }
        if !(1..=4).contains(&self.cores) {
            return Err(PlanError::Cores(self.cores));
        }
        Ok(())
    }

    /// The network's parameters: the defaults.
    pub fn parameters(&self) -> Parameters {
        Parameters::default()
    }

    /// How long a link is busy with a frame of so many bytes.
    pub fn on_link(&self, bytes: u64) -> Nanos {
        let bits = u128::from((bytes + self.frame_overhead_bytes) * 8);
        Nanos((bits * 1_000_000_000 / u128::from(self.bandwidth.bits_a_second.max(1))) as u64)
    }

    /// When nothing is measured any more.
    pub fn end(&self) -> Nanos {
        Nanos::from(self.warm_up) + self.measured.into()
    }
}
