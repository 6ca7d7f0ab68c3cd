//! By how much this node's clock differs from the other validators', as their proposals show: a leader writes its clock's time
//! into each block that it proposes.
//!
//! Invariant: bounded by the validators of one epoch. What a proposal says is as old as its way here, and a leader whose clock
//! is behind the block before writes that block's time: so a clock that is behind shows as at least as far behind as is said here.
//! One validator can lie; the median of all is this node's own error as long as fewer than half do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genesis::{PublicKey, UnixMillis};

/// What the newest proposal of each validator showed. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Clocks(Arc<Mutex<BTreeMap<PublicKey, i64>>>);

impl Clocks {
    /// The validator with this network key has just written `theirs` into a block, and this node's clock says `mine`.
    pub fn shown(&self, validator: PublicKey, theirs: UnixMillis, mine: UnixMillis) {
        let ahead = i128::from(mine.0) - i128::from(theirs.0);
        let ahead = ahead.clamp(i64::MIN.into(), i64::MAX.into());
        // It was clamped to fit.
        self.lock().insert(validator, i64::try_from(ahead).unwrap_or_default());
    }

    /// Forgets all but these.
    pub fn keep(&self, validators: &[PublicKey]) {
        self.lock().retain(|key, _| validators.contains(key));
    }

    /// By how many milliseconds this node's clock is ahead of theirs.
    pub fn now(&self) -> BTreeMap<PublicKey, i64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PublicKey, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_proposal_counts_and_who_is_no_validator_any_more_is_forgotten() {
        let [one, other] = [1, 2].map(|byte| PublicKey::Ed25519([byte; 32]));
        let clocks = Clocks::default();
        clocks.shown(one, UnixMillis(5_000), UnixMillis(9_000));
        clocks.shown(one, UnixMillis(6_000), UnixMillis(5_500));
        clocks.shown(other, UnixMillis(u64::MAX), UnixMillis(0));
        assert_eq!(clocks.now(), BTreeMap::from([(one, -500), (other, i64::MIN)]));
        clocks.keep(&[one]);
        assert_eq!(clocks.now(), BTreeMap::from([(one, -500)]));
    }
}
