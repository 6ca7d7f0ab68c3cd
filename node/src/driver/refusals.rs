//! Who sends what is not valid: checking a signature costs this node more than making one up costs a member.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use genesis::PublicKey;

/// How many messages of one member may be refused within [`WINDOW`] before its connections are closed.
pub const MAX_REFUSED: u32 = 64;
/// The time within which they count.
pub const WINDOW: Duration = Duration::from_secs(10);

/// What was refused lately, by who sent it.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<PublicKey, (u32, Instant)>);

impl Refusals {
    /// Counts a message that was refused. Says whether its sender is to be disconnected now.
    pub fn add(&mut self, from: PublicKey, now: Instant) -> bool {
        let (count, since) = self.0.entry(from).or_insert((0, now));
        if now.duration_since(*since) > WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        let is_enough = *count >= MAX_REFUSED;
        if is_enough {
            self.0.remove(&from);
        }
        is_enough
    }

    /// An epoch begins, with other members perhaps.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_many_invalid_messages_at_once_is_disconnected_and_who_sends_one_now_and_then_is_not() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let [one, other] = [1, 2].map(|byte| PublicKey::Ed25519([byte; 32]));
        for round in 1..=3 * MAX_REFUSED {
            assert_eq!(refusals.add(one, now), round.is_multiple_of(MAX_REFUSED), "round {round}");
            assert!(!refusals.add(other, now + WINDOW / 32 * round), "round {round}");
        }
    }
}
