//! `chain_status` and `net_peers`: where a node stands, and who its peers are.

use genesis::{Digest, Epoch, Height, PublicKey, UnixMillis, View};
use serde::{Deserialize, Serialize};

/// Where a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainStatus {
    /// The network's name: the third part of its DIDs.
    pub network: String,
    /// The chain's id: the hash of the genesis document.
    pub chain: Digest,
    /// The chain whose state this one goes on from, where it was founded after a quorum was lost for good. The node's word
    /// alone: who relied on that chain takes the new genesis document from those it trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<Predecessor>,
    /// The node's name among the validators; `observer` where it is none.
    pub node: String,
    /// `voting`; `observing` where it has no vote; `inquiring` or `recovering` where it has to find out first what it may
    /// have signed.
    pub standing: String,
    /// The node's software and version.
    pub software: String,
    /// The newest final block.
    pub height: Height,
    /// That block's digest.
    pub digest: Digest,
    /// That block's time.
    pub time: UnixMillis,
    /// The view that the node is in.
    pub view: View,
    /// The name of that view's leader.
    pub leader: String,
    /// The epoch.
    pub epoch: Epoch,
    /// The newest height whose result a quorum has signed.
    pub certified_height: Height,
    /// How many validators there are.
    pub validators: usize,
    /// How many votes decide.
    pub quorum: usize,
    /// To how many peers the node has a connection.
    pub peers_connected: usize,
    /// Whether the node has caught up and reaches a quorum.
    pub ready: bool,
    /// Why it is not ready, in the node's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready_because: Option<String>,
    /// Δ as it is now: it grows while views fail.
    pub delta_ms: u64,
    /// Transactions that the node holds and that are not in a batch yet.
    pub pending_transactions: usize,
    /// Batches that wait for a block to name them.
    pub waiting_batches: usize,
    /// How long ago this node saw its newest block become final; none before it saw one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_since_block: Option<u64>,
    /// Blocks that are known to be final and are not executed here yet.
    #[serde(default)]
    pub lag: u64,
    /// For how long something has waited while no block became final; none where nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_seconds: Option<u64>,
    /// How often this node has seen a validator contradict itself since its start: see `chain_evidence`.
    #[serde(default)]
    pub contradictions: u64,
    /// How often it has seen one key on two hosts at once since its start.
    #[serde(default)]
    pub double_keys: u64,
    /// How many transactions have a receipt in this node's ledger.
    #[serde(default)]
    pub transactions: u64,
    /// What the network goes by in this epoch.
    #[serde(with = "ParametersJson")]
    pub parameters: genesis::Parameters,
}

/// Where a chain that goes on from another begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predecessor {
    /// The other chain's id.
    pub chain: Digest,
    /// The height of its last block.
    pub height: Height,
    /// The digest of its last block.
    pub block: Digest,
    /// The state after it.
    pub state_root: Digest,
}

/// [`genesis::Parameters`] as the API names them.
#[derive(Serialize, Deserialize)]
#[serde(remote = "genesis::Parameters", rename_all = "camelCase")]
pub(super) struct ParametersJson {
    delta_ms: u64,
    delta_cap_ms: u64,
    heartbeat_ms: u64,
    clock_bound_ms: u64,
    max_block_batches: u64,
    max_checkpoint_lag: u64,
    max_batch_bytes: u64,
    max_batch_transactions: u64,
    max_transaction_bytes: u64,
    max_transaction_lifetime: u64,
    max_batch_lifetime: u64,
    max_document_keys: u64,
    max_document_bytes: u64,
    max_controllers: u64,
    max_versions: u64,
    max_services: u64,
    max_create_many_items: u64,
    max_author_registrations: u64,
    registration: genesis::Registration,
}

/// A peer of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its name among the present validators; for an observer, its key.
    pub name: String,
    /// The key that authenticates its connections.
    pub key: PublicKey,
    /// Where it is reached, where that is known.
    pub address: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether it votes.
    pub validator: bool,
    /// How long a ping took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u64>,
    /// By how many milliseconds the node's clock is ahead of this validator's, as its newest proposal showed. The proposal's way is
    /// part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_ms: Option<i64>,
    /// Messages that wait to be sent to it.
    pub queued_frames: u64,
    /// Messages that were dropped because too many waited.
    pub dropped_frames: u64,
}
