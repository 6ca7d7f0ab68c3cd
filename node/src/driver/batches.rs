//! Batches, as the driver looks after them: whether a proposal's are here, who has what is missing, what time brings.

use std::sync::Arc;
use std::time::Instant;

use consensus::{Input, Verdict};
use genesis::{Digest, PublicKey};
use p2p::Channel;

use super::{ACKNOWLEDGE_AGAIN, DriverError, PUSH_AGAIN, Work};
use crate::availability::{Held, Payload};
use crate::fetcher::Want;
use crate::quota::Account;
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
                return self.want(digests, &[leader], Account::Leader(leader));
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
        let offers = held.into_iter().filter_map(|held| known.hold(held, now)).collect();
        self.driver.quotas.release(&late);
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

    pub(super) fn want(&self, digests: Vec<Digest>, from: &[PublicKey], account: Account) {
        let known =
            digests.first().map(|digest| self.driver.availability.holders(digest)).unwrap_or_default();
        let holders =
            from.iter().chain(&known).filter(|holder| **holder != self.driver.me).copied().collect();
        // A fetcher that is full is asked again, by the next housekeeping or the next look at the payload.
        let _ = self.driver.fetch.try_send(Want { digests, holders, account: Some(account) });
    }

    /// What time brings: pushes that were lost, batches that expired, segments that may go.
    pub(super) fn look_after(&mut self) -> Result<(), DriverError> {
        let now = Instant::now();
        self.looked_after = now;
        self.driver.journal.forget_before(self.executed)?;
        let expired = self.driver.availability.expire(self.executed, now);
        if !expired.is_empty() {
            tracing::info!(count = expired.len(), "batches expired before a block named them");
            self.driver.quotas.release(&expired);
            self.driver.mempool.unsealed(&expired, self.executed);
            self.step(Input::Withdrawn(expired));
        }
        for (digest, holders) in self.driver.availability.overdue(now) {
            self.want(vec![digest], &holders, Account::Acknowledged);
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
