//! Who is in charge now, as the parts of the node see it. The driver says so when an epoch begins; everybody else reads.
//!
//! Invariant: what is read is what the replica acts by, or what it acted by a moment ago.

use std::sync::{Arc, PoisonError, RwLock};

use consensus::Context;
use genesis::{Digest, Epoch, Height, PublicKey, Validator, ValidatorIndex, ValidatorSet};
use p2p::{Member, Role};

/// An epoch's validators.
#[derive(Clone, Debug)]
pub struct Members {
    /// What signatures of this epoch are bound to.
    pub context: Context,
    /// The height of the block that closed the epoch before; in the first, where the chain begins.
    pub began: Height,
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
    others: Arc<RwLock<Others>>,
}

/// Who has no seat now and is admitted all the same.
#[derive(Clone, Debug, Default)]
pub struct Others {
    /// Who had one: they are served until they know that it is gone.
    pub former: Vec<ValidatorSet>,
    /// Who is to have one: they catch up before their votes are needed.
    pub pending: Option<ValidatorSet>,
}

impl Membership {
    /// Before the replica's first step.
    pub fn new(
        chain: Digest,
        consensus_key: PublicKey,
        observers: Vec<PublicKey>,
        (epoch, began): (Epoch, Height),
        validators: &ValidatorSet,
        others: Others,
    ) -> Self {
        let members = Members::of(chain, &consensus_key, epoch, began, validators);
        Self {
            chain,
            consensus_key,
            observers: Arc::new(observers),
            now: Arc::new(RwLock::new(Arc::new(members))),
            others: Arc::new(RwLock::new(others)),
        }
    }

    /// Who is in charge.
    pub fn now(&self) -> Arc<Members> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new epoch has begun, after the block at height `began`.
    pub fn begin(&self, epoch: Epoch, began: Height, validators: &ValidatorSet) {
        let former = vec![self.now().context.validators.clone()];
        self.others.write().unwrap_or_else(PoisonError::into_inner).former = former;
        let members = Members::of(self.chain, &self.consensus_key, epoch, began, validators);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(members);
    }

    /// Whom the validators aim at has changed.
    pub fn aim_at(&self, pending: Option<ValidatorSet>) {
        self.others.write().unwrap_or_else(PoisonError::into_inner).pending = pending;
    }

    /// Whom the network admits: the validators; those who may soon be, or were until now, as observers; and the
    /// observers of this node's own settings.
    pub fn admitted(&self) -> Vec<Member> {
        let now = self.now();
        let Others { former, pending } = self.others.read().unwrap_or_else(PoisonError::into_inner).clone();
        let member = |role| {
            move |(_, validator): (ValidatorIndex, &Validator)| Member {
                key: validator.network_key,
                role,
                address: Some(validator.address.clone()),
            }
        };
        let mut members: Vec<Member> = now.context.validators.iter().map(member(Role::Validator)).collect();
        // Of a key that is in both, the address is the one that will be.
        let others = pending.iter().chain(&former);
        let others = others.flat_map(|other| other.iter().map(member(Role::Observer)));
        let listed =
            self.observers.iter().map(|key| Member { key: *key, role: Role::Observer, address: None });
        for other in others.chain(listed) {
            if members.iter().all(|member| member.key != other.key) {
                members.push(other);
            }
        }
        members
    }
}

impl Members {
    fn of(chain: Digest, key: &PublicKey, epoch: Epoch, began: Height, validators: &ValidatorSet) -> Self {
        let context = Context { chain, epoch, validators: validators.clone() };
        let me = context.validators.by_consensus_key(key);
        Self { context, began, me }
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

#[cfg(test)]
mod tests {
    use genesis::SecretKey;

    use super::*;

    /// Validators, each with keys and an address of its own.
    fn set(numbers: &[u8]) -> ValidatorSet {
        let key = |role: u8, number: u8| SecretKey::from_seed([role * 16 + number; 32]).public();
        let validator = |number: &u8| Validator {
            name: format!("node{number}"),
            consensus_key: key(1, *number),
            network_key: key(2, *number),
            governance_key: key(3, *number),
            address: format!("127.0.0.1:{}", 1_000 + u16::from(*number)),
        };
        ValidatorSet::new(numbers.iter().map(validator).collect()).unwrap()
    }

    /// The ports by which the admitted are known, and whether they are validators.
    fn admitted(membership: &Membership) -> Vec<(String, bool)> {
        let port = |address: Option<String>| address.map(|address| address.replace("127.0.0.1:100", ""));
        let member =
            |member: Member| (port(member.address).unwrap_or_default(), member.role == Role::Validator);
        let mut admitted: Vec<_> = membership.admitted().into_iter().map(member).collect();
        admitted.sort();
        admitted
    }

    fn named(validators: &str, observers: &str) -> Vec<(String, bool)> {
        let all =
            |names: &str, seat| names.chars().map(move |name| (name.to_string(), seat)).collect::<Vec<_>>();
        let mut named = [all(validators, true), all(observers, false)].concat();
        named.sort();
        named
    }

    #[test]
    fn who_is_voted_in_is_admitted_before_its_epoch_begins_and_who_leaves_for_one_epoch_more() {
        let key = SecretKey::from_seed([1; 32]).public();
        let start = (Epoch::ZERO, Height::ZERO);
        let membership =
            Membership::new(Digest::ZERO, key, Vec::new(), start, &set(&[1, 2, 3, 4]), Others::default());
        assert_eq!(admitted(&membership), named("1234", ""));
        membership.aim_at(Some(set(&[2, 3, 4, 5])));
        assert_eq!(admitted(&membership), named("1234", "5"));
        membership.begin(Epoch(1), Height(9), &set(&[2, 3, 4, 5]));
        membership.aim_at(None);
        assert_eq!(admitted(&membership), named("2345", "1"));
        assert_eq!(membership.now().began, Height(9));
        membership.begin(Epoch(2), Height(19), &set(&[2, 3, 4, 5, 6]));
        assert_eq!(admitted(&membership), named("23456", ""));
    }

    #[test]
    fn a_vote_that_is_taken_back_admits_nobody() {
        let key = SecretKey::from_seed([1; 32]).public();
        let others = Others { former: vec![set(&[1, 2, 7])], pending: Some(set(&[1, 2, 3, 4, 5])) };
        let start = (Epoch(3), Height(50));
        let membership = Membership::new(Digest::ZERO, key, Vec::new(), start, &set(&[1, 2, 3, 4]), others);
        assert_eq!(admitted(&membership), named("1234", "57"));
        membership.aim_at(None);
        assert_eq!(admitted(&membership), named("1234", "7"));
    }
}
