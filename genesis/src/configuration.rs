//! Who is in charge in an epoch, and by which parameters: what a vote of the validators changes, at an epoch's end.

use serde::{Deserialize, Serialize};

use crate::document::Genesis;
use crate::{Digest, Domain, Parameters, ValidatorSet, encoding};

/// The most bytes that a configuration's encoding has: 512 validators with long names and addresses fit.
pub const MAX_CONFIGURATION_BYTES: usize = 1 << 20;

/// The validators and parameters of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Who votes.
    pub validators: ValidatorSet,
    /// By which parameters.
    pub parameters: Parameters,
}

impl Configuration {
    /// That of the first epoch.
    pub fn of(genesis: &Genesis) -> Self {
        Self { validators: genesis.validators().clone(), parameters: genesis.parameters().clone() }
    }

    /// The hash that checkpoints commit to: over validators, in their order, and parameters.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Configuration, &encoding::encode(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretKey, Validator};

    #[test]
    fn the_digest_depends_on_every_validator_and_parameter() {
        let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
        let validator = |index: u8| Validator {
            name: format!("node{index}"),
            consensus_key: key(10 * index + 1),
            network_key: key(10 * index + 2),
            governance_key: key(10 * index + 3),
            address: format!("127.0.0.1:2660{index}"),
        };
        let of = |count: u8, parameters| Configuration {
            validators: ValidatorSet::new((0..count).map(validator).collect()).unwrap(),
            parameters,
        };
        let first = of(4, Parameters::default());
        let slower = of(4, Parameters { delta_ms: 500, ..Parameters::default() });
        let digests = [first.digest(), of(5, Parameters::default()).digest(), slower.digest()];
        assert!(digests[0] != digests[1] && digests[0] != digests[2] && digests[1] != digests[2]);
        assert_eq!(first.digest(), of(4, Parameters::default()).digest());
    }
}
