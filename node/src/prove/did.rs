//! What a DID resolves to, with a proof.

use client::api::ShownProof;
use client::light::ResolutionProof;
use consensus::CheckpointCertificate;
use genesis::{Epoch, Height};
use ledger::proof::{DidProof, Recorder};
use ledger::resolution::{self, Finding, History, Options};
use ledger::state::StateKey;
use ledger::{Did, DidId, Record, Store, StoreError, Version};
use serde_json::json;

use super::{PROVERS, ProveError, links, settled};

/// A proof with what it proves.
pub struct Proved {
    /// What the client will find.
    pub finding: Finding,
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

/// What the DID `text` of `network` resolves to: as of the newest block, or, where the options ask for a proof, with that as of
/// the newest block that can be proved.
///
/// # Errors
/// When the disk fails, or a proof is asked for and there is none.
pub fn find(store: &Store, network: &str, text: &str, options: &Options) -> Result<Finding, ProveError> {
    let did = text.parse().ok().filter(|did: &Did| did.network() == network);
    let (Some(since), Some(did)) = (options.proof_since(), did) else {
        return Ok(resolution::find(store, network, text, options)?);
    };
    match prove(store, &did, options, since) {
        Ok(Proved { finding, proof }) => Ok(finding.with_proof(json!(ShownProof::new(since, &proof)))),
        Err(ProveError::Question(problem)) => Ok(problem.into()),
        Err(error) => Err(error),
    }
}

/// Resolves `did` at the newest block that can be proved, for a client that knows the validators of the epoch `since`. Waits
/// a little where none can yet.
///
/// # Errors
/// When the disk fails, there is no such block, or the options cannot be followed.
pub fn prove(store: &Store, did: &Did, options: &Options, since: Epoch) -> Result<Proved, ProveError> {
    settled(store, &PROVERS, |certificate| attempt(store, did, options, since, certificate))
}

fn attempt(
    store: &Store,
    did: &Did,
    options: &Options,
    since: Epoch,
    certificate: CheckpointCertificate,
) -> Result<Option<Proved>, ProveError> {
    let height = certificate.checkpoint.height;
    let Some(mut paths) = store.prove(height, &[StateKey::Did(did.id())])? else { return Ok(None) };
    let Some(path) = paths.pop() else { return Ok(None) };
    let as_of = AsOf { store, height };
    let recorder = Recorder::new(&as_of);
    let finding = resolution::find(&recorder, did.network(), &did.to_string(), options)?;
    if let Some(problem) = finding.problem().filter(|problem| !problem.is_of_the_state()) {
        return Err(ProveError::Question(problem.clone()));
    }
    let (headers, documents) = recorder.into_parts(&did.id(), finding.version())?;
    let proof = DidProof { path, headers, documents };
    if proof.clone().check(did.id(), &certificate.checkpoint.state_root).is_err() {
        return Ok(None);
    }
    let links = links(store, since, certificate.checkpoint.epoch)?;
    Ok(Some(Proved { finding, proof: ResolutionProof { links, certificate, did: proof } }))
}
