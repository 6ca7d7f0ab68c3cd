//! Makes the proofs that light clients check ([`client::light`]).
//!
//! A proof holds at a block whose checkpoint a quorum certified; under load the tip is some blocks past the newest such one,
//! so the DID's records are read as they were then. Whatever was put together is checked once as the client will: a
//! block that came in between makes this node try again, never answer wrongly.

use std::thread;
use std::time::Duration;

use client::light::{Link, ResolutionProof};
use consensus::CheckpointCertificate;
use genesis::encoding::DecodeError;
use genesis::{Epoch, Height};
use ledger::proof::{DidProof, Recorder};
use ledger::resolution::{self, History, Options, Resolution};
use ledger::state::StateKey;
use ledger::{Did, DidId, Record, Store, StoreError, Version};

use crate::wire::decode_checkpoint;

/// The most changes of the validators that one answer bridges. A client that is further behind asks in steps.
const MAX_LINKS: usize = 256;
/// How often it is tried, and how long it waits in between: a certificate follows its block within a round of messages.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The disk fails, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored certificate is damaged.
    #[error("the certificate of a checkpoint is damaged: {0}")]
    Certificate(#[from] DecodeError),
    /// A certificate that every node keeps is missing.
    #[error(
        "this node lost the certificate of block {height}, which closed epoch {epoch}: it proves nothing to clients that know \
         no later epoch. Ask another node"
    )]
    NoLink {
        /// The epoch.
        epoch: Epoch,
        /// Its last block.
        height: Height,
    },
    /// The validators have certified no block that can still be proved.
    #[error(
        "no checkpoint near block {tip} is certified yet: a quorum signs one shortly after each block. Try again; where that \
         does not help, the network has no quorum, or this node is catching up"
    )]
    NotCertified {
        /// The newest block.
        tip: Height,
    },
}

/// A proof with what it proves.
pub struct Proved {
    /// What the client will find.
    pub resolution: Resolution,
    /// The block after which it holds.
    pub height: Height,
    /// The proof.
    pub proof: ResolutionProof,
}

/// The records as they were after the block at `height`.
struct AsOf<'a> {
    store: &'a Store,
    height: Height,
}

impl History for AsOf<'_> {
    type Error = StoreError;

    fn newest(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        let mut record = self.store.record(did)?;
        while let Some(later) = &record
            && later.header.updated.height > self.height
        {
            // As many as the DID got in the few blocks since.
            let before = Version(later.header.version.0.saturating_sub(1));
            record = self.store.version(did, before)?;
        }
        Ok(record)
    }

    fn at_version(&self, did: &DidId, version: Version) -> Result<Option<Record>, StoreError> {
        self.store.version(did, version)
    }
}

/// Resolves `did` at the newest block that can be proved, for a client that knows the validators of the epoch `since`. Waits
/// a little where none can yet.
///
/// # Errors
/// When the disk fails, or there is no such block.
pub fn prove(store: &Store, did: &Did, options: &Options, since: Epoch) -> Result<Proved, ProveError> {
    for _ in 0..TRIES {
        if let Some(proved) = attempt(store, did, options, since)? {
            return Ok(proved);
        }
        thread::sleep(PAUSE);
    }
    Err(ProveError::NotCertified { tip: store.tip().height })
}

fn attempt(store: &Store, did: &Did, options: &Options, since: Epoch) -> Result<Option<Proved>, ProveError> {
    let Some((height, bytes)) = store.checkpoint_at_or_before(store.tip().height)? else { return Ok(None) };
    let certificate = decode_checkpoint(&bytes)?;
    let Some(mut paths) = store.prove(height, &[StateKey::Did(did.id())])? else { return Ok(None) };
    let Some(path) = paths.pop() else { return Ok(None) };
    let as_of = AsOf { store, height };
    let recorder = Recorder::new(&as_of);
    let resolution = resolution::resolve(&recorder, did.network(), &did.to_string(), options)?;
    let (headers, documents) = recorder.into_parts(&did.id(), resolution.version())?;
    let proof = DidProof { path, headers, documents };
    if proof.clone().check(did.id(), &certificate.checkpoint.state_root).is_err() {
        return Ok(None);
    }
    let links = links(store, since, &certificate)?;
    Ok(Some(Proved { resolution, height, proof: ResolutionProof { links, certificate, did: proof } }))
}

fn links(store: &Store, since: Epoch, certificate: &CheckpointCertificate) -> Result<Vec<Link>, ProveError> {
    let mut links = Vec::new();
    for (epoch, height) in store.closing_heights(since, MAX_LINKS) {
        if epoch >= certificate.checkpoint.epoch {
            break;
        }
        let missing = || ProveError::NoLink { epoch, height };
        let bytes = store.checkpoint(height)?.ok_or_else(missing)?;
        let configuration = store.configuration_of(epoch.next())?.ok_or_else(missing)?;
        links.push(Link { certificate: decode_checkpoint(&bytes)?, configuration });
    }
    Ok(links)
}
