//! The node's figures, for Prometheus.

use consensus::Status;
use genesis::Height;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All figures of a node. Names start with `realdid_`.
pub struct Metrics {
    registry: Registry,
    height: IntGauge,
    view: IntGauge,
    epoch: IntGauge,
    delta_seconds: Gauge,
    waiting_batches: IntGauge,
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
    /// How long it took to make a block durable.
    pub commit_seconds: Histogram,
    /// The newest executed block.
    pub executed_height: IntGauge,
    /// Transactions that were executed, by what became of them.
    pub transactions: IntCounterVec,
    /// Calls of the RPC, by method and outcome.
    pub rpc_calls: IntCounterVec,
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
    mempool_transactions: IntGauge,
    mempool_bytes: IntGauge,
    peers: IntGauge,
    connections_refused: IntGauge,
    p2p_bytes: IntGaugeVec,
    p2p_dropped: IntGaugeVec,
    ledger_entries: IntGaugeVec,
    ledger_bytes: IntGaugeVec,
}

/// What is read only when somebody asks for the figures.
pub struct Gathered {
    /// How full the mempool is.
    pub load: crate::mempool::Load,
    /// What is known of the peers.
    pub peers: Vec<p2p::PeerStatus>,
    /// Connections of strangers that were refused.
    pub refused: u64,
    /// The store's figures.
    pub store: ledger::store::Statistics,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When two figures share a name: a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = &registry;
        Ok(Self {
            height: gauge(r, "consensus_height", "height of the newest final block")?,
            view: gauge(r, "consensus_view", "the view that the replica is in")?,
            epoch: gauge(r, "consensus_epoch", "the epoch")?,
            delta_seconds: {
                let gauge = Gauge::new("realdid_consensus_delta_seconds", "Δ as it is now")?;
                r.register(Box::new(gauge.clone()))?;
                gauge
            },
            waiting_batches: gauge(
                r,
                "consensus_waiting_batches",
                "batches that wait for a block to name them",
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
            commit_seconds: seconds(r, "ledger_commit_seconds", "making a block durable")?,
            executed_height: gauge(r, "ledger_height", "height of the newest executed block")?,
            transactions: counters(r, "ledger_transactions_total", "transactions, by code", &["code"])?,
            rpc_calls: counters(
                r,
                "rpc_calls_total",
                "calls, by method and outcome",
                &["method", "outcome"],
            )?,
            sync_blocks: counter(r, "sync_blocks_total", "final blocks from peers' stores")?,
            sync_bytes: counter(r, "sync_bytes_total", "bytes of blocks and batches from peers' stores")?,
            sync_height: gauge(r, "sync_height", "newest executed block when last catching up")?,
            sync_target: gauge(r, "sync_target", "newest certified block when last catching up")?,
            sync_rate: {
                let rate = Gauge::new(
                    "realdid_sync_blocks_per_second",
                    "blocks executed a second while catching up",
                )?;
                r.register(Box::new(rate.clone()))?;
                rate
            },
            peers_dropped: counters(
                r,
                "sync_peers_dropped_total",
                "times that a peer was not asked for blocks or batches for a time, by reason",
                &["peer", "reason"],
            )?,
            mempool_transactions: gauge(r, "mempool_transactions", "transactions without a receipt")?,
            mempool_bytes: gauge(r, "mempool_bytes", "their bytes")?,
            peers: gauge(r, "p2p_peers_connected", "peers with a connection")?,
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

    /// The figures in Prometheus's text format.
    ///
    /// # Errors
    /// When they can not be encoded.
    pub fn render(&self, gathered: &Gathered) -> Result<Vec<u8>, prometheus::Error> {
        self.mempool_transactions.set(gathered.load.transactions as i64);
        self.mempool_bytes.set(gathered.load.bytes as i64);
        self.peers.set(gathered.peers.iter().filter(|peer| peer.link.is_some()).count() as i64);
        self.connections_refused.set(gathered.refused as i64);
        type Part = fn(&p2p::PeerStatus) -> &p2p::Traffic;
        let channels: [(&str, Part); 3] =
            [("votes", |peer| &peer.votes), ("batches", |peer| &peer.batches), ("sync", |peer| &peer.sync)];
        for (name, part) in channels {
            let sum = |figure: fn(&p2p::Traffic) -> u64| {
                gathered.peers.iter().map(|peer| figure(part(peer))).sum::<u64>() as i64
            };
            self.p2p_bytes.with_label_values(&["sent", name]).set(sum(|traffic| traffic.sent_bytes));
            self.p2p_bytes.with_label_values(&["received", name]).set(sum(|traffic| traffic.received_bytes));
            self.p2p_dropped.with_label_values(&[name]).set(sum(|traffic| traffic.drops.queue_full));
        }
        let counts = gathered.store.counts;
        for (kind, count) in
            [("dids", counts.dids), ("receipts", counts.receipts), ("versions", counts.versions)]
        {
            self.ledger_entries.with_label_values(&[kind]).set(count as i64);
        }
        for (family, bytes) in &gathered.store.disk_bytes {
            self.ledger_bytes.with_label_values(&[family]).set(*bytes as i64);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(format!("realdid_{name}"), help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let gauges = IntGaugeVec::new(Opts::new(format!("realdid_{name}"), help), labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(format!("realdid_{name}"), help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(format!("realdid_{name}"), help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

/// From 50 µs to 6.5 s, each bound twice the last.
fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let buckets = prometheus::exponential_buckets(0.000_05, 2.0, 18)?;
    let histogram =
        Histogram::with_opts(HistogramOpts::new(format!("realdid_{name}"), help).buckets(buckets))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
