//! `chain_…`: where the node stands, and its blocks.

use client::api::{Block, ChainStatus, code};
use genesis::{Genesis, Height, ValidatorIndex};
use ledger::CheckedBatch;

use super::{Api, Refusal, internal, refusal};
use crate::wire::Proof;

/// The most ids that one call lists: a block may have a million.
const MAX_TRANSACTIONS: usize = 10_000;

pub(super) fn status(api: &Api) -> ChainStatus {
    let snapshot = *api.snapshot.borrow();
    let (tip, validators) = (api.store.tip(), api.genesis.validators());
    let health = api.health.look();
    ChainStatus {
        network: api.genesis.network().to_owned(),
        chain: api.genesis.chain(),
        node: name(&api.genesis, api.me),
        software: concat!("realdid ", env!("CARGO_PKG_VERSION")).to_owned(),
        height: tip.height,
        digest: tip.digest,
        time: tip.time,
        view: snapshot.status.view,
        leader: name(&api.genesis, snapshot.status.leader),
        epoch: genesis::Epoch::ZERO,
        validators: validators.len(),
        quorum: validators.quorum(),
        peers_connected: api.network.peers().iter().filter(|peer| peer.link.is_some()).count(),
        ready: health.ready,
        not_ready_because: (!health.ready).then_some(health.why),
        delta_ms: snapshot.status.delta.as_millis() as u64,
        pending_transactions: api.mempool.load().transactions,
        waiting_batches: snapshot.status.waiting,
        seconds_since_block: snapshot.final_at.map(|at| at.elapsed().as_secs()),
        parameters: api.store.governance().configuration.parameters.clone(),
    }
}

pub(super) fn name(genesis: &Genesis, index: ValidatorIndex) -> String {
    genesis.validators().get(index).map(|validator| validator.name.clone()).unwrap_or_default()
}

pub(super) fn block(api: &Api, height: Height) -> Result<Block, Refusal> {
    let block = api.store.block(height).map_err(|error| internal(&error))?.ok_or_else(|| {
        let tip = api.store.tip().height;
        refusal(code::NOT_FOUND, format!("no block {height}: this node has blocks 1 to {tip}"))
    })?;
    let proof = Proof::decode(&block.proof).map_err(|error| internal(&error))?;
    let mut transactions = Vec::new();
    for digest in &block.batches {
        if transactions.len() >= MAX_TRANSACTIONS {
            break;
        }
        let bytes = api.store.batch(digest).map_err(|error| internal(&error))?;
        let bytes =
            bytes.ok_or_else(|| internal(&format_args!("batch {digest} of block {height} is missing")))?;
        let batch = CheckedBatch::decode_already_verified(&bytes, &api.genesis);
        let batch = batch.map_err(|error| internal(&error))?;
        transactions.extend(batch.transactions().iter().map(|transaction| transaction.id()));
    }
    Ok(Block {
        height: block.height,
        digest: block.digest,
        parent: block.parent,
        time: block.time,
        view: proof.candidate.view,
        batches: block.batches,
        more_transactions: transactions.len() >= MAX_TRANSACTIONS,
        transactions: transactions.into_iter().take(MAX_TRANSACTIONS).collect(),
    })
}
