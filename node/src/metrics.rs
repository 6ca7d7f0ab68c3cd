//! The node's figures, for Prometheus: what they are called and what they count.
//!
//! - [`register`]: how a figure is made
//! - [`gathered`]: those that are looked up when somebody asks
//!
//! Invariant: how many series there are is bounded by the validators (at most those of one epoch at a time), the RPC's methods and
//! fixed words; nothing that a client or a stranger sends is a label. What the names mean together stands in
//! `scripts/observability`, which tests hold to this file.

mod gathered;
mod register;

use std::sync::Mutex;

use consensus::Status;
use genesis::{Height, ValidatorSet};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

pub use self::gathered::Gathered;
use self::register::{
    build_info, counter, counters, gauge, gauges, plain_gauge, plain_gauges, seconds, seconds_by,
    slow_seconds_by,
};

/// All figures of a node. Names start with `realdid_`.
pub struct Metrics {
    registry: Registry,
    height: IntGauge,
    view: IntGauge,
    epoch: IntGauge,
    delta_seconds: Gauge,
    waiting_batches: IntGauge,
    waiting_seconds: Gauge,
    leader: IntGaugeVec,
    validators: IntGauge,
    quorum: IntGauge,
    /// How long the phases of a block took, by phase.
    pub phase_seconds: HistogramVec,
    /// Views that ended without a block.
    pub view_changes: IntCounter,
    /// The same, by who led them.
    pub missed_proposals: IntCounterVec,
    /// Messages of the votes channel that were sent, by kind.
    pub messages_sent: IntCounterVec,
    /// Messages that were malformed or whose signature was not valid.
    pub messages_refused: IntCounter,
    /// Times that a validator contradicted itself.
    pub evidence: IntCounter,
    /// Times that a validator's key was seen to run twice.
    pub doubles: IntCounter,
    checkpoint_lag: IntGauge,
    /// How long the replica's records took to become durable.
    pub journal_seconds: Histogram,
    /// How long the check of the batches that came together took.
    pub batch_check_seconds: Histogram,
    /// Batches that were refused.
    pub batches_refused: IntCounter,
    /// Batches that had to be asked for.
    pub batches_fetched: IntCounter,
    /// How long it took to execute a block.
    pub apply_seconds: Histogram,
    /// How much of that the state tree took.
    pub tree_seconds: Histogram,
    /// How long it took to make a block durable.
    pub commit_seconds: Histogram,
    /// The newest executed block.
    pub executed_height: IntGauge,
    /// Transactions that were executed, by what they asked for and what became of them.
    pub transactions: IntCounterVec,
    /// Calls of the RPC, by method and outcome.
    pub rpc_calls: IntCounterVec,
    /// How long they took, by method.
    pub rpc_seconds: HistogramVec,
    /// Final blocks that were got from peers' stores.
    pub sync_blocks: IntCounter,
    /// Bytes of blocks and their batches that were got from peers' stores.
    pub sync_bytes: IntCounter,
    /// The newest executed block, while this node catches up.
    pub sync_height: IntGauge,
    /// Where catching up leads, as a quorum signed it.
    pub sync_target: IntGauge,
    /// How fast it goes; 0 where there is nothing to catch up with.
    pub sync_rate: Gauge,
    /// Peers that were not asked for a time, by name and reason.
    pub peers_dropped: IntCounterVec,
    sync_lag: IntGauge,
    ready: IntGauge,
    mempool_transactions: IntGauge,
    mempool_bytes: IntGauge,
    mempool_queued_bytes: IntGauge,
    mempool_max_bytes: IntGauge,
    mempool_refusals: IntCounter,
    peers: IntGauge,
    validators_connected: IntGauge,
    validator_connected: IntGaugeVec,
    round_trip: GaugeVec,
    clock_skew: GaugeVec,
    disk_free: IntGauge,
    disk_floor: IntGauge,
    /// One page at a time is made: series by validator are made anew for each.
    page: Mutex<()>,
    connections_refused: IntGauge,
    p2p_bytes: IntGaugeVec,
    p2p_dropped: IntGaugeVec,
    ledger_entries: IntGaugeVec,
    ledger_bytes: IntGaugeVec,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When two figures share a name: a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        build_info(r)?;
        Ok(Self {
            height: gauge(r, "consensus_height", "height of the newest final block")?,
            view: gauge(r, "consensus_view", "the view that the replica is in")?,
            epoch: gauge(r, "consensus_epoch", "the epoch")?,
            delta_seconds: plain_gauge(r, "consensus_delta_seconds", "Δ as it is now")?,
            waiting_batches: gauge(
                r,
                "consensus_waiting_batches",
                "batches that wait for a block to name them",
            )?,
            waiting_seconds: plain_gauge(
                r,
                "consensus_waiting_seconds",
                "for how long something has waited while no block became final; 0 where nothing waits",
            )?,
            leader: gauges(r, "consensus_leader", "1 for who leads the view, else 0", &["validator"])?,
            validators: gauge(r, "consensus_validators", "how many validators there are")?,
            quorum: gauge(r, "consensus_quorum", "how many of them decide")?,
            phase_seconds: seconds_by(
                r,
                "consensus_phase_duration_seconds",
                "what a block's way took: propose, prepare, commit, execute, certify",
                "phase",
            )?,
            view_changes: counter(r, "consensus_view_changes_total", "views that ended without a block")?,
            missed_proposals: counters(
                r,
                "consensus_missed_proposals_total",
                "views that ended without a block, by who led them",
                &["validator"],
            )?,
            messages_sent: counters(r, "consensus_messages_sent_total", "messages sent, by kind", &["kind"])?,
            messages_refused: counter(r, "consensus_messages_refused_total", "messages that were not valid")?,
            evidence: counter(r, "consensus_evidence_total", "times that a validator contradicted itself")?,
            doubles: counter(r, "p2p_double_keys_total", "times that one key was seen on two hosts at once")?,
            checkpoint_lag: gauge(
                r,
                "checkpoint_lag",
                "executed blocks whose checkpoint has no certificate yet",
            )?,
            journal_seconds: seconds(r, "consensus_journal_seconds", "making records durable")?,
            batch_check_seconds: seconds(
                r,
                "mempool_batch_check_seconds",
                "checking the batches that came together",
            )?,
            batches_refused: counter(r, "mempool_batches_refused_total", "batches that were not valid")?,
            batches_fetched: counter(r, "mempool_batches_fetched_total", "batches that had to be asked for")?,
            apply_seconds: seconds(r, "ledger_apply_seconds", "executing a block")?,
            tree_seconds: seconds(r, "ledger_tree_seconds", "what the state tree took of executing a block")?,
            commit_seconds: seconds(r, "ledger_commit_seconds", "making a block durable")?,
            executed_height: gauge(r, "ledger_height", "height of the newest executed block")?,
            transactions: counters(
                r,
                "ledger_transactions_total",
                "transactions, by kind and code",
                &["kind", "code"],
            )?,
            rpc_calls: counters(
                r,
                "rpc_calls_total",
                "calls, by method and outcome",
                &["method", "outcome"],
            )?,
            rpc_seconds: slow_seconds_by(r, "rpc_call_seconds", "calls, waiting included", "method")?,
            sync_blocks: counter(r, "sync_blocks_total", "final blocks from peers' stores")?,
            sync_bytes: counter(r, "sync_bytes_total", "bytes of blocks and batches from peers' stores")?,
            sync_height: gauge(r, "sync_height", "newest executed block when last catching up")?,
            sync_target: gauge(r, "sync_target", "newest certified block when last catching up")?,
            sync_rate: plain_gauge(
                r,
                "sync_blocks_per_second",
                "blocks executed a second while catching up",
            )?,
            sync_lag: gauge(r, "sync_lag", "blocks that are known to be final and are not executed here")?,
            ready: gauge(r, "ready", "1 where the node has caught up and reaches a quorum, else 0")?,
            peers_dropped: counters(
                r,
                "sync_peers_dropped_total",
                "times that a peer was not asked for blocks or batches for a time, by reason",
                &["peer", "reason"],
            )?,
            mempool_transactions: gauge(r, "mempool_transactions", "transactions without a receipt")?,
            mempool_bytes: gauge(r, "mempool_bytes", "their bytes")?,
            mempool_queued_bytes: gauge(r, "mempool_queued_bytes", "those of them that are in no batch yet")?,
            mempool_max_bytes: gauge(r, "mempool_max_bytes", "the most bytes that may wait")?,
            mempool_refusals: counter(
                r,
                "mempool_refusals_total",
                "calls that were told to come again, as the mempool had no room",
            )?,
            peers: gauge(r, "p2p_peers_connected", "peers with a connection")?,
            validators_connected: gauge(
                r,
                "p2p_validators_connected",
                "validators with a connection, this node counted where it is one",
            )?,
            validator_connected: gauges(
                r,
                "p2p_validator_connected",
                "1 where there is a connection to this validator, else 0",
                &["validator"],
            )?,
            round_trip: plain_gauges(r, "p2p_round_trip_seconds", "the newest ping", "validator")?,
            clock_skew: plain_gauges(
                r,
                "clock_skew_seconds",
                "by how much this node's clock is ahead of this validator's, as its newest proposal showed",
                "validator",
            )?,
            disk_free: gauge(r, "disk_free_bytes", "free bytes on the file system of the node's data")?,
            disk_floor: gauge(r, "disk_floor_bytes", "the free bytes that the node needs to run")?,
            page: Mutex::new(()),
            connections_refused: gauge(r, "p2p_connections_refused", "connections refused since the start")?,
            p2p_bytes: gauges(r, "p2p_bytes", "bytes since the start", &["direction", "channel"])?,
            p2p_dropped: gauges(r, "p2p_frames_dropped", "frames not sent since the start", &["channel"])?,
            ledger_entries: gauges(r, "ledger_entries", "what the ledger holds", &["kind"])?,
            ledger_bytes: gauges(r, "ledger_store_bytes", "bytes on disk, by column family", &["family"])?,
            registry,
        })
    }

    /// Takes over the replica's position.
    pub fn observe(&self, status: &Status, executed: Height) {
        self.height.set(status.tip.height.0 as i64);
        self.view.set(status.view.0 as i64);
        self.epoch.set(status.epoch.0 as i64);
        self.checkpoint_lag.set(executed.since(status.certified) as i64);
        self.delta_seconds.set(status.delta.as_secs_f64());
        self.waiting_batches.set(status.waiting as i64);
    }

    /// An epoch has begun, or the node: counts by validator begin at 0, and those of who is none any more end.
    pub fn begin(&self, before: Option<&ValidatorSet>, validators: &ValidatorSet) {
        let stays = |name: &str| validators.iter().any(|(_, validator)| validator.name == name);
        for (_, former) in before.into_iter().flat_map(ValidatorSet::iter) {
            if !stays(&former.name) {
                // Where none of its views failed there is nothing to remove.
                let _ = self.missed_proposals.remove_label_values(&[&former.name]);
            }
        }
        for (_, validator) in validators.iter() {
            self.missed_proposals.with_label_values(&[&validator.name]).inc_by(0);
        }
    }
}
