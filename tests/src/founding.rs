//! A network's genesis and its replicas, made from nothing but the number of validators.

use consensus::{Config, Context, Now, Output, Record, Replica, Tip};
use genesis::{Digest, Domain, Epoch, Genesis, Parameters, SecretKey, UnixMillis, Validator, ValidatorIndex};

/// What the replicas of one network have in common.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The network's founding document.
    pub genesis: Genesis,
    /// What signatures are bound to.
    pub context: Context,
}

impl Founding {
    /// A network of `validators` with these parameters. The same arguments give the same network.
    pub fn new(validators: u16, parameters: Parameters) -> Self {
        let list = (0..validators).map(|index| Validator {
            name: format!("node{index}"),
            consensus_key: key(1, index).public(),
            network_key: key(2, index).public(),
            governance_key: key(3, index).public(),
            address: format!("127.0.0.1:{}", 1_000 + index),
        });
        let time = UnixMillis(1_700_000_000_000);
        let genesis = Genesis::new("small".to_owned(), time, parameters, list.collect())
            .unwrap_or_else(|error| unreachable!("a founded network is a valid one: {error}"));
        let context =
            Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators: genesis.validators().clone() };
        Self { genesis, context }
    }

    /// The replica of the validator at `index`, from what it had recorded.
    pub fn replica(
        &self,
        index: ValidatorIndex,
        now: Now,
        tip: Tip,
        records: Vec<Record>,
    ) -> (Replica, Output) {
        let config = Config {
            context: self.context.clone(),
            me: index,
            secret: secret(index),
            parameters: self.genesis.parameters().clone(),
        };
        Replica::recover(config, now, tip, None, records)
            .unwrap_or_else(|error| unreachable!("a replica's own records are sound: {error}"))
    }
}

/// The consensus key of the validator at `index`.
pub fn secret(index: ValidatorIndex) -> SecretKey {
    key(1, index.0)
}

fn key(role: u8, index: u16) -> SecretKey {
    let mut seed = [role; 32];
    seed[..2].copy_from_slice(&index.to_le_bytes());
    SecretKey::from_seed(seed)
}

/// The name of an item to be ordered.
pub fn item(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}
