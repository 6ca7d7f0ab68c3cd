//! What the trust registry holds, with a proof.

use client::light::RegistryProof;
use consensus::CheckpointCertificate;
use genesis::Epoch;
use ledger::proof::EntryProof;
use ledger::state::StateKey;
use ledger::{RegistryKey, Store};

use super::{PROVERS, ProveError, links, settled};

/// Proves what the registry holds under `key`, for a client that knows the validators of the epoch `since`. Waits a little
/// where that cannot be proved yet.
///
/// # Errors
/// When the disk fails, or there is no certified block to prove it at.
pub fn prove_entry(store: &Store, key: &RegistryKey, since: Epoch) -> Result<RegistryProof, ProveError> {
    settled(store, &PROVERS, |certificate| attempt(store, key, since, certificate))
}

fn attempt(
    store: &Store,
    key: &RegistryKey,
    since: Epoch,
    certificate: CheckpointCertificate,
) -> Result<Option<RegistryProof>, ProveError> {
    let checkpoint = &certificate.checkpoint;
    let Some(mut paths) = store.prove(checkpoint.height, &[StateKey::Registry(*key)])? else {
        return Ok(None);
    };
    let Some(path) = paths.pop() else { return Ok(None) };
    let entry = EntryProof { path, entry: store.registry_after(key, checkpoint.height)? };
    if entry.clone().check(key, &checkpoint.state_root).is_err() {
        return Ok(None);
    }
    let links = links(store, since, checkpoint.epoch)?;
    Ok(Some(RegistryProof { links, certificate, entry }))
}
