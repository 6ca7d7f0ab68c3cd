//! A network's genesis and its replicas, made from nothing but the number of validators.

use consensus::{Config, Context, Memory, Message, Now, Output, Record, Replica, Start, Tip, Verified};
use genesis::{
    Configuration, Digest, Domain, Epoch, Genesis, Parameters, SecretKey, UnixMillis, Validator,
    ValidatorIndex,
};

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

    /// What the replica of the validator at `index` starts with, in the first epoch.
    pub fn config(&self, index: ValidatorIndex) -> Config {
        Config {
            chain: self.context.chain,
            origin: self.genesis.height(),
            epoch: self.context.epoch,
            configuration: Configuration::of(&self.genesis),
            opening: None,
            secret: secret(index),
            memory: Memory::Whole,
            nonce: item(u64::MAX - u64::from(index.0)),
        }
    }

    /// The replica of the validator at `index`, from what it had recorded, on a ledger that ends with `tip`.
    pub fn replica(
        &self,
        index: ValidatorIndex,
        now: Now,
        tip: Tip,
        records: Vec<Record>,
    ) -> (Replica, Output) {
        let start = Start { tip, certificate: None, executed: None, certified: Vec::new() };
        Replica::recover(self.config(index), now, start, records)
            .unwrap_or_else(|error| unreachable!("a replica's own records are sound: {error}"))
    }

    /// The answer of one that knows of no vote by the asker (P7).
    pub fn no_vote(&self) -> Verified<Message> {
        let answer = Message::OwnVotes(Vec::new()).verify(&self.context);
        answer.unwrap_or_else(|error| unreachable!("nothing is signed in it: {error}"))
    }

    /// The others from whose answers on a replica may sign: with itself they are a quorum (P7).
    pub fn answerers(&self, me: ValidatorIndex) -> impl Iterator<Item = ValidatorIndex> {
        let others = self.context.validators.iter().map(|(index, _)| index).filter(move |index| *index != me);
        others.take(self.context.validators.quorum() - 1)
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
