//! `chain_…`: where the node stands, and its blocks.

use std::sync::Arc;

use client::api::{Block, ChainStatus, Checkpoint, Evidence, Participation, Statement, Validators, code};
use consensus::Report;
use genesis::encoding::decode;
use genesis::{Epoch, Height};
use ledger::CheckedBatch;
use tokio::sync::Semaphore;

use super::{Api, Refusal, internal, refusal};
use crate::participation::{self, ReadError};
use crate::wire::{Proof, decode_checkpoint};

/// The most bytes in one piece of evidence.
const MAX_EVIDENCE_BYTES: usize = 1_024;
/// The most ids that one call lists: a block may have a million.
const MAX_TRANSACTIONS: usize = 10_000;

/// How many reports are read at a time: each may read some ten MiB.
static REPORTS: Semaphore = Semaphore::const_new(2);

pub(super) fn status(api: &Api) -> ChainStatus {
    let snapshot = *api.snapshot.borrow();
    let (tip, members) = (api.store.tip(), api.membership.now());
    let validators = &members.context.validators;
    let health = api.health.look();
    ChainStatus {
        network: api.genesis.network().to_owned(),
        chain: api.genesis.chain(),
        predecessor: api.genesis.predecessor().map(|predecessor| client::api::Predecessor {
            chain: predecessor.chain,
            height: predecessor.height,
            block: predecessor.block,
            state_root: predecessor.state_root,
        }),
        node: members.me.map_or_else(|| "observer".to_owned(), |me| members.name(me)),
        standing: standing(snapshot.status.standing).to_owned(),
        software: concat!("realdid ", env!("CARGO_PKG_VERSION")).to_owned(),
        height: tip.height,
        digest: tip.digest,
        time: tip.time,
        view: snapshot.status.view,
        leader: members.name(snapshot.status.leader),
        epoch: snapshot.status.epoch,
        certified_height: snapshot.status.certified,
        validators: validators.len(),
        quorum: validators.quorum(),
        peers_connected: api.network.peers().iter().filter(|peer| peer.link.is_some()).count(),
        ready: health.ready,
        not_ready_because: (!health.ready).then_some(health.why),
        delta_ms: snapshot.status.delta.as_millis() as u64,
        pending_transactions: api.mempool.load().transactions,
        waiting_batches: snapshot.status.waiting,
        seconds_since_block: snapshot.final_at.map(|at| at.elapsed().as_secs()),
        lag: health.lag,
        waiting_seconds: health.waited.map(|waited| waited.as_secs()),
        contradictions: api.metrics.evidence.get(),
        double_keys: api.metrics.doubles.get(),
        transactions: api.store.counts().receipts,
        parameters: api.store.governance().configuration.parameters.clone(),
    }
}

/// In a word, whether this node votes.
const fn standing(report: Report) -> &'static str {
    match report {
        Report::Observing => "observing",
        Report::Inquiring { .. } => "inquiring",
        Report::Wiped { .. } | Report::Barred(_) => "recovering",
        Report::Voting => "voting",
    }
}

/// The certificate of the checkpoint at `height`, or the first one after it.
pub(super) fn checkpoint(api: &Api, height: Height) -> Result<Checkpoint, Refusal> {
    let found = api.store.checkpoint_at_or_after(height).map_err(|error| internal(&error))?;
    let (_, bytes) = found.ok_or_else(|| {
        let newest = api.store.newest_checkpoint().ok().flatten().map_or(Height::ZERO, |(height, _)| height);
        refusal(code::NOT_FOUND, format!("no checkpoint at or after {height}: the newest is at {newest}"))
    })?;
    let certificate = decode_checkpoint(&bytes).map_err(|error| internal(&error))?;
    let validators = configuration(api, certificate.checkpoint.epoch)?.validators;
    let name = |index| validators.get(index).map(|member| member.name.clone()).unwrap_or_default();
    let consensus::Checkpoint {
        epoch,
        height,
        block,
        time,
        state_root,
        receipts_root,
        configuration,
        pending,
    } = certificate.checkpoint.clone();
    Ok(Checkpoint {
        epoch,
        height,
        block,
        time,
        state_root,
        receipts_root,
        configuration,
        pending,
        signers: certificate.signatures.iter().map(|(index, _)| name(*index)).collect(),
        certificate: client::api::to_base64(&bytes),
    })
}

fn configuration(api: &Api, epoch: Epoch) -> Result<genesis::Configuration, Refusal> {
    let found = api.store.configuration_of(epoch).map_err(|error| internal(&error))?;
    found.ok_or_else(|| {
        let newest = api.store.governance().epoch;
        refusal(code::NOT_FOUND, format!("no epoch {epoch}: the newest that this node knows is {newest}"))
    })
}

/// Who is in charge in an epoch, and since when.
pub(super) fn validators(api: &Api, epoch: Epoch) -> Result<Validators, Refusal> {
    let configuration = configuration(api, epoch)?;
    let began = api.store.epoch_start(epoch).map_or(api.store.origin(), |start| start.began);
    Ok(Validators {
        epoch,
        began,
        quorum: configuration.validators.quorum(),
        configuration: client::api::Configuration::new(&configuration),
    })
}

/// What each validator did in a range of blocks.
pub(super) async fn participation(api: Arc<Api>, from: Height, to: Height) -> Result<Participation, Refusal> {
    let Ok(place) = REPORTS.try_acquire() else {
        return Err(refusal(code::UNAVAILABLE, "the node is reading other reports: ask again in a second"));
    };
    // Many reads of the disk: on a thread that may wait for them, and that keeps its place when the client has gone.
    let read = move || {
        let _place = place;
        participation::read(&api.store, &api.genesis, from, to)
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| internal(&error))?;
    read.map_err(|error| match error {
        ReadError::NoBlocks { .. } => refusal(code::NOT_FOUND, error.to_string()),
        ReadError::Store(_) | ReadError::Stored { .. } => internal(&error),
    })
}

/// The validators' contradictions that this node has seen.
pub(super) fn evidence(api: &Api) -> Result<Vec<Evidence>, Refusal> {
    let rows = api.store.evidence().map_err(|error| internal(&error))?;
    let mut all = Vec::new();
    for (_, bytes) in rows {
        let evidence: consensus::Evidence =
            decode(&bytes, MAX_EVIDENCE_BYTES).map_err(|error| internal(&error))?;
        let validators = configuration(api, evidence.epoch)?.validators;
        let index = validators.by_consensus_key(&evidence.validator);
        let statement = |statement: consensus::evidence::Statement| Statement {
            kind: statement.kind.name().into(),
            view: statement.view,
            digest: statement.digest,
            signature: statement.signature,
        };
        all.push(Evidence {
            epoch: evidence.epoch,
            validator: evidence.validator,
            name: index.and_then(|index| validators.get(index)).map(|member| member.name.clone()),
            first: statement(evidence.first),
            second: statement(evidence.second),
        });
    }
    Ok(all)
}

pub(super) fn block(api: &Api, height: Height) -> Result<Block, Refusal> {
    let none = || {
        let (first, tip) = (api.store.first_block(), api.store.tip().height);
        let earlier = if first > api.store.origin().next() { "; earlier ones are not kept here" } else { "" };
        refusal(code::NOT_FOUND, format!("no block {height}: this node has blocks {first} to {tip}{earlier}"))
    };
    // Of the last ones before there are rows, without their batches.
    let is_kept = || height >= api.store.first_block();
    let found = if is_kept() { api.store.block(height).map_err(|error| internal(&error))? } else { None };
    let block = found.ok_or_else(none)?;
    let proof = Proof::decode(&block.proof).map_err(|error| internal(&error))?;
    let mut transactions = Vec::new();
    for digest in &block.batches {
        if transactions.len() >= MAX_TRANSACTIONS {
            break;
        }
        let bytes = api.store.batch(digest).map_err(|error| internal(&error))?;
        let missing = || {
            if is_kept() {
                internal(&format_args!("batch {digest} of block {height} is missing"))
            } else {
                none()
            }
        };
        let bytes = bytes.ok_or_else(missing)?;
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

#[cfg(test)]
mod tests {
    #[test]
    fn evidence_names_the_kinds_of_messages_by_fixed_words() {
        use consensus::message::Kind;
        let kinds = [
            Kind::PrePrepare,
            Kind::Prepare,
            Kind::Commit,
            Kind::ViewChange,
            Kind::Checkpoint,
            Kind::Attestation,
        ];
        let words = ["pre-prepare", "prepare", "commit", "view-change", "checkpoint", "attestation"];
        assert_eq!(kinds.map(Kind::name), words);
    }
}
