//! Batches, as the driver looks after them: whether a proposal's are here, who has what is missing, what time brings.

use std::sync::Arc;
use std::time::Instant;

use consensus::{Input, Verdict};
use genesis::{Digest, PublicKey};
use p2p::Channel;

use super::{ACKNOWLEDGE_AGAIN, DriverError, PUSH_AGAIN, Work};
use crate::availability::{Availability, Held, Payload};
use crate::fetcher::{Missing, Want};
use crate::quota::{Account, Quotas};
use crate::wire::{Gossip, MAX_DIGESTS};

impl Work {
    /// Answers the replica's question about a payload, if it can be answered now (P2).
    pub(super) fn judge_again(&mut self) {
        let Some(block) = self.judging.clone() else { return };
        let verdict = match self.driver.availability.judge(&block.payload, block.height) {
            Payload::Ready => Verdict::Valid,
            Payload::Invalid(batch) => {
                tracing::warn!(view = %block.view, %batch, "a proposal names a batch that it may not name");
                Verdict::Invalid
            }
            Payload::Missing(digests) => {
                let leader = self.driver.replica.context().validators.leader(block.view);
                let Some(leader) = self.keys.get(usize::from(leader.0)).copied() else { return };
                return self.want(&digests, leader);
            }
        };
        self.judging = None;
        self.step(Input::Judged { digest: block.digest(), verdict });
    }

    /// These batches are here.
    pub(super) fn hold(&mut self, held: Vec<Held>) {
        let (now, known) = (Instant::now(), &mut self.driver.availability);
        let late: Vec<_> =
            held.iter().map(|held| held.digest).filter(|digest| known.is_ordered(digest)).collect();
        // Nothing else is under way, in which these could be gathered.
        let is_idle = known.waiting_after(Digest::ZERO).next().is_none();
        let waiting = held.iter().filter(|held| is_idle && !known.is_ordered(&held.digest));
        let alone: Vec<_> = waiting.map(|held| known.offer(*held)).collect();
        let offers = held.into_iter().filter_map(|held| known.hold(held, now)).collect();
        self.driver.quotas.release(&late);
        // A node that is behind does not lead: what it holds may be ordered already.
        if !alone.is_empty() && !self.is_behind() {
            self.step(Input::Held(alone));
        }
        self.available(offers);
        self.judge_again();
    }

    /// Whether a newer block than the newest one here is known to be final.
    pub(super) fn is_behind(&self) -> bool {
        self.driver.replica.status().behind
    }

    /// Tells the others what has come. A node that is behind waits with that: its word would complete quorums, and of the
    /// blocks that name such batches it can vote for none yet.
    pub(super) fn acknowledge(&mut self) {
        if self.acknowledge.is_empty() {
            return;
        }
        self.acknowledge.sort_unstable();
        self.acknowledge.dedup();
        if self.is_behind() {
            // What waits beyond this is acknowledged in one of the rounds that come again and again.
            return self.acknowledge.truncate(MAX_DIGESTS);
        }
        for digests in std::mem::take(&mut self.acknowledge).chunks(MAX_DIGESTS) {
            self.broadcast(&Gossip::Held(digests.to_vec()));
        }
    }

    /// Fetches what a proposal names: from its leader, or who else is said to hold it.
    fn want(&self, digests: &[Digest], leader: PublicKey) {
        let missing = |digest: &Digest| {
            let known = self.driver.availability.holders(digest);
            let holders = std::iter::once(leader).chain(known.into_iter().filter(|holder| *holder != leader));
            let holders = holders.filter(|holder| *holder != self.driver.me).collect();
            Missing { digest: *digest, holders }
        };
        let batches = digests.iter().map(missing).collect();
        // A fetcher that is full is asked again, by the next look at the payload.
        let _ = self.driver.fetch.try_send(Want { batches, account: Some(Account::Leader(leader)) });
    }

    /// What time brings: pushes that were lost, batches that expired, segments that may go.
    pub(super) fn look_after(&mut self) -> Result<(), DriverError> {
        let now = Instant::now();
        self.looked_after = now;
        if self.driver.journal.has_before(self.executed) {
            // A final block that is forgotten here must be durable there.
            self.driver.store.sync()?;
            self.driver.journal.forget_before(self.executed)?;
        }
        let expired = self.driver.availability.expire(self.executed, now);
        if !expired.is_empty() {
            tracing::info!(count = expired.len(), "batches expired before a block named them");
            self.driver.quotas.release(&expired);
            self.driver.mempool.unsealed(&expired, self.executed);
            self.step(Input::Withdrawn(expired));
        }
        // A node that is behind votes for no block that names them, and needs its requests for those that are final.
        if !self.is_behind()
            && let Some(want) = overdue(&self.driver.availability, &self.driver.quotas, now)
        {
            // A fetcher that is full is asked again, by the next housekeeping.
            let _ = self.driver.fetch.try_send(want);
        }
        self.judge_again();
        if now.duration_since(self.acknowledged_at) >= ACKNOWLEDGE_AGAIN {
            self.acknowledged_at = now;
            self.push_again();
            let waiting = self.driver.availability.waiting_after(self.place).take(MAX_DIGESTS);
            let waiting: Vec<_> = waiting.map(|(held, _)| held.digest).collect();
            self.place = waiting.last().copied().unwrap_or_default();
            self.acknowledge.extend(waiting);
        }
        Ok(())
    }

    /// Pushes own batches again to those who have not acknowledged them.
    pub(super) fn push_again(&self) {
        let waiting = self.driver.availability.waiting_after(self.place);
        let own = waiting.filter(|(held, _)| self.driver.mempool.is_sealed(&held.digest));
        for (held, holders) in own.take(PUSH_AGAIN) {
            // A failing disk shows itself in the intake and the executor, which stop the node.
            let Ok(Some(bytes)) = self.driver.store.batch(&held.digest) else { continue };
            let bytes: Arc<[u8]> = bytes.into();
            for key in &self.keys {
                if *key != self.driver.me && !holders.contains(key) {
                    let _ = self.driver.network.send(key, Channel::Batches, Arc::clone(&bytes));
                }
            }
        }
    }
}

/// What is to be fetched because its push was lost: all in one want, and no more than may wait here.
fn overdue(known: &Availability, quotas: &Quotas, now: Instant) -> Option<Want> {
    let account = Account::Acknowledged;
    let batches = known.overdue(now, quotas.places(account));
    (!batches.is_empty()).then_some(Want { batches, account: Some(account) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn numbered(number: u64) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Digest::from_bytes(bytes)
    }

    #[test]
    fn thousands_of_lost_pushes_leave_the_fetcher_room_for_what_the_executor_waits_for() {
        let (peers, now) = ([0, 1, 2, 3].map(|index| PublicKey::Ed25519([index; 32])), Instant::now());
        let mut known = Availability::new(peers[0], &peers, 3, 100);
        for digest in (0..2_000).map(numbered) {
            assert!(peers[1..3].iter().all(|peer| known.held_by(*peer, digest, now).is_none()));
        }
        let (fetch, mut wants) = crate::fetcher::channel();
        let (quotas, later) = (Quotas::default(), now + Duration::from_secs(1));
        fetch.try_send(overdue(&known, &quotas, later).unwrap()).unwrap();
        fetch.try_send(Want::of_final_blocks(vec![numbered(9_999)])).unwrap();
        let first = wants.try_recv().unwrap();
        assert!(
            first.batches.len() > 1_000 && first.batches.iter().all(|missing| missing.holders.len() == 2)
        );
        assert_eq!(wants.try_recv().unwrap().batches[0].digest, numbered(9_999));
        // What may not wait here is not fetched only to be refused.
        (10_000..10_000 + first.batches.len() as u64)
            .for_each(|number| quotas.charge(numbered(number), Account::Acknowledged, 1));
        assert!(overdue(&known, &quotas, later).is_none());
    }
}
