//! The figures that are looked up only when somebody asks, and the page that shows all.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use genesis::{PublicKey, ValidatorIndex};
use prometheus::{Encoder, TextEncoder};

use super::Metrics;
use crate::disk::Space;
use crate::health::Readiness;
use crate::membership::Members;
use crate::mempool::Load;

/// What is read only when somebody asks for the figures.
pub struct Gathered {
    /// Who decides.
    pub members: Arc<Members>,
    /// Who leads the view.
    pub leader: ValidatorIndex,
    /// Whether the node is ready, and what keeps it.
    pub health: Readiness,
    /// How full the mempool is.
    pub load: Load,
    /// What is known of the peers.
    pub peers: Vec<p2p::PeerStatus>,
    /// By how many milliseconds this node's clock is ahead of theirs.
    pub skews: BTreeMap<PublicKey, i64>,
    /// Connections of strangers that were refused.
    pub refused: u64,
    /// The store's figures.
    pub store: ledger::store::Statistics,
    /// The disk.
    pub disk: Space,
}

impl Metrics {
    /// The figures in Prometheus's text format.
    ///
    /// # Errors
    /// When they can not be encoded.
    pub fn render(&self, gathered: &Gathered) -> Result<Vec<u8>, prometheus::Error> {
        let _alone = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_over_node(gathered);
        self.take_over_validators(gathered);
        self.take_over_traffic(&gathered.peers);
        self.take_over_store(&gathered.store);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    fn take_over_node(&self, gathered: &Gathered) {
        let Gathered { health, load, disk, .. } = gathered;
        self.ready.set(i64::from(health.ready));
        self.sync_lag.set(health.lag as i64);
        self.waiting_seconds.set(health.waited.unwrap_or_default().as_secs_f64());
        self.validators_connected.set(health.validators as i64);
        self.connections_refused.set(gathered.refused as i64);
        self.mempool_transactions.set(load.transactions as i64);
        self.mempool_bytes.set(load.bytes as i64);
        self.mempool_queued_bytes.set(load.queued_bytes as i64);
        self.mempool_max_bytes.set(load.max_bytes as i64);
        // The mempool counts by itself; only one page at a time is made.
        self.mempool_refusals.inc_by(load.refusals.saturating_sub(self.mempool_refusals.get()));
        self.disk_free.set(disk.free_bytes as i64);
        self.disk_floor.set(disk.floor_bytes as i64);
    }

    /// Series by validator. Made anew: who is none any more has none.
    fn take_over_validators(&self, gathered: &Gathered) {
        let Gathered { members, leader, peers, skews, .. } = gathered;
        let validators = &members.context.validators;
        self.validators.set(validators.len() as i64);
        self.quorum.set(validators.quorum() as i64);
        self.leader.reset();
        self.validator_connected.reset();
        self.round_trip.reset();
        self.clock_skew.reset();
        for (index, validator) in validators.iter() {
            let name = [validator.name.as_str()];
            self.leader.with_label_values(&name).set(i64::from(index == *leader));
            let Some(peer) = peers.iter().find(|peer| peer.key == validator.network_key) else { continue };
            self.validator_connected.with_label_values(&name).set(i64::from(peer.link.is_some()));
            if let Some(time) = peer.link.and_then(|link| link.round_trip) {
                self.round_trip.with_label_values(&name).set(time.as_secs_f64());
            }
            if let Some(millis) = skews.get(&validator.network_key) {
                let ahead = Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
                self.clock_skew.with_label_values(&name).set(if *millis < 0 { -ahead } else { ahead });
            }
        }
    }

    fn take_over_traffic(&self, peers: &[p2p::PeerStatus]) {
        self.peers.set(peers.iter().filter(|peer| peer.link.is_some()).count() as i64);
        type Part = fn(&p2p::PeerStatus) -> &p2p::Traffic;
        let channels: [(&str, Part); 3] =
            [("votes", |peer| &peer.votes), ("batches", |peer| &peer.batches), ("sync", |peer| &peer.sync)];
        for (name, part) in channels {
            let sum = |figure: fn(&p2p::Traffic) -> u64| {
                peers.iter().map(|peer| figure(part(peer))).sum::<u64>() as i64
            };
            self.p2p_bytes.with_label_values(&["sent", name]).set(sum(|traffic| traffic.sent_bytes));
            self.p2p_bytes.with_label_values(&["received", name]).set(sum(|traffic| traffic.received_bytes));
            self.p2p_dropped.with_label_values(&[name]).set(sum(|traffic| traffic.drops.queue_full));
        }
    }

    fn take_over_store(&self, store: &ledger::store::Statistics) {
        let counts = store.counts;
        for (kind, count) in
            [("dids", counts.dids), ("receipts", counts.receipts), ("versions", counts.versions)]
        {
            self.ledger_entries.with_label_values(&[kind]).set(count as i64);
        }
        for (family, bytes) in &store.disk_bytes {
            self.ledger_bytes.with_label_values(&[family]).set(*bytes as i64);
        }
    }
}
