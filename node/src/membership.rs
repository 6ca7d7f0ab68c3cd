//! Who is in charge now, as the parts of the node see it. The driver says so when an epoch begins; everybody else reads.
//!
//! Invariant: what is read is what the replica acts by, or what it acted by a moment ago.

use std::sync::{Arc, PoisonError, RwLock};

use consensus::Context;
use genesis::{Configuration, Digest, Epoch, PublicKey, ValidatorIndex};
use p2p::{Member, Role};

/// An epoch's validators.
#[derive(Clone, Debug)]
pub struct Members {
    /// What signatures of this epoch are bound to.
    pub context: Context,
    /// This node's place among them; none for an observer.
    pub me: Option<ValidatorIndex>,
}

/// The handle. Clones are the same.
#[derive(Clone, Debug)]
pub struct Membership {
    chain: Digest,
    consensus_key: PublicKey,
    observers: Arc<Vec<PublicKey>>,
    now: Arc<RwLock<Arc<Members>>>,
}

impl Membership {
    /// Before the replica's first step.
    pub fn new(
        chain: Digest,
        consensus_key: PublicKey,
        observers: Vec<PublicKey>,
        (epoch, configuration): (Epoch, &Configuration),
    ) -> Self {
        let members = Members::of(chain, &consensus_key, epoch, configuration);
        let observers = Arc::new(observers);
        Self { chain, consensus_key, observers, now: Arc::new(RwLock::new(Arc::new(members))) }
    }

    /// Who is in charge.
    pub fn now(&self) -> Arc<Members> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new epoch has begun.
    pub fn begin(&self, epoch: Epoch, configuration: &Configuration) {
        let members = Arc::new(Members::of(self.chain, &self.consensus_key, epoch, configuration));
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Whom the network admits: the validators; those who may soon be, or were until now, as observers; and the
    /// observers of this node's own settings.
    pub fn admitted<'a>(&self, others: impl Iterator<Item = &'a Configuration>) -> Vec<Member> {
        let now = self.now();
        let member = |role| {
            move |(_, validator): (ValidatorIndex, &genesis::Validator)| Member {
                key: validator.network_key,
                role,
                address: Some(validator.address.clone()),
            }
        };
        let mut members: Vec<Member> = now.context.validators.iter().map(member(Role::Validator)).collect();
        let soon = others.flat_map(|other| other.validators.iter().map(member(Role::Observer)));
        let listed =
            self.observers.iter().map(|key| Member { key: *key, role: Role::Observer, address: None });
        for other in soon.chain(listed) {
            if members.iter().all(|member| member.key != other.key) {
                members.push(other);
            }
        }
        members
    }
}

impl Members {
    fn of(chain: Digest, key: &PublicKey, epoch: Epoch, configuration: &Configuration) -> Self {
        let context = Context { chain, epoch, validators: configuration.validators.clone() };
        let me = context.validators.by_consensus_key(key);
        Self { context, me }
    }

    /// The validator with this network key.
    pub fn by_network_key(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.context.validators.by_network_key(key)
    }

    /// The validators' network keys, by index.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.context.validators.iter().map(|(_, validator)| validator.network_key).collect()
    }

    /// What the validator at `index` is called.
    pub fn name(&self, index: ValidatorIndex) -> String {
        self.context.validators.get(index).map(|validator| validator.name.clone()).unwrap_or_default()
    }
}
