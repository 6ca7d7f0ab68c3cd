//! Answers that their callers need not take this node's word for: `did_prove`, `tx_prove`, `registry_prove`, and `chain_links`
//! for light clients that are far behind.

use std::sync::Arc;

use client::api::{
    Links, Proof, ProofWindow, Receipt, RegistryProof, RegistryQuestion, TransactionProof, code, to_base64,
};
use genesis::{Digest, Epoch};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use ledger::Did;
use ledger::proof::FateProof;
use ledger::resolution::{JsonOptions, resolve_by};

use super::{Api, Refusal, internal, refusal};
use crate::prove::{self, ProveError, Proved};

pub(super) async fn prove(api: Arc<Api>, params: Params<'static>) -> Result<Proof, Refusal> {
    let fault =
        |error: ErrorObjectOwned| misread(&error, "[did], [did, options] or [did, options, sinceEpoch]");
    let mut sequence = params.sequence();
    let did: Did = sequence.next().map_err(fault)?;
    let options: Option<JsonOptions> = sequence.optional_next().map_err(fault)?;
    let since: Option<Epoch> = sequence.optional_next().map_err(fault)?;
    of_this_network(&api, &did)?;
    let options = options
        .unwrap_or_default()
        .check()
        .map_err(|problem| refusal(code::INVALID_PARAMS, problem.to_string()))?;
    waiting(move || {
        let since = since.unwrap_or(Epoch::ZERO);
        let Proved { finding, proof } = prove::prove(&api.store, &did, &options, since)?;
        let height = proof.certificate.checkpoint.height;
        let resolution = resolve_by::<ProveError>(&options, || Ok(finding))?;
        Ok(Proof::new(height, resolution.to_json(), &proof))
    })
    .await
}

pub(super) async fn transaction(api: Arc<Api>, params: Params<'static>) -> Result<TransactionProof, Refusal> {
    let fault = |error: ErrorObjectOwned| {
        let expected = "[id], [id, {after, expiresAt}] or [id, {after, expiresAt} or null, sinceEpoch]";
        misread(&error, expected)
    };
    let mut sequence = params.sequence();
    let id: Digest = sequence.next().map_err(fault)?;
    let window: Option<ProofWindow> = sequence.optional_next().map_err(fault)?;
    let since: Option<Epoch> = sequence.optional_next().map_err(fault)?;
    waiting(move || {
        let (window, since) = (window.map(Into::into), since.unwrap_or(Epoch::ZERO));
        let proof = prove::prove_fate(&api.store, &api.genesis, &id, window, since)?;
        let receipt = match &proof.fate {
            FateProof::Final { receipt, .. } => Some(Receipt::new(receipt, api.genesis.network())),
            FateProof::Expired { .. } => None,
        };
        let height = proof.certificate.checkpoint.height;
        Ok(TransactionProof { height, receipt, proof: to_base64(&proof.encode()) })
    })
    .await
}

pub(super) async fn entry(api: Arc<Api>, params: Params<'static>) -> Result<RegistryProof, Refusal> {
    let fault = |error: ErrorObjectOwned| {
        let expected = "[question] or [question, sinceEpoch]; a question is {kind: accreditation, did, role}, \
                        {kind: schema, issuer, number} or {kind: statusList, issuer, number}";
        misread(&error, expected)
    };
    let mut sequence = params.sequence();
    let question: RegistryQuestion = sequence.next().map_err(fault)?;
    let since: Option<Epoch> = sequence.optional_next().map_err(fault)?;
    of_this_network(&api, question.did())?;
    waiting(move || {
        let proof = prove::prove_entry(&api.store, &question.key(), since.unwrap_or(Epoch::ZERO))?;
        let (height, text) = (proof.certificate.checkpoint.height, to_base64(&proof.encode()));
        Ok(RegistryProof { height, present: proof.entry.entry.is_some(), proof: text })
    })
    .await
}

pub(super) async fn links(api: Arc<Api>, since: Epoch) -> Result<Links, Refusal> {
    waiting(move || {
        let (links, more_links) = prove::portion(&api.store, since)?;
        Ok(Links { links: to_base64(&links.encode()), more_links })
    })
    .await
}

fn of_this_network(api: &Api, did: &Did) -> Result<(), Refusal> {
    let served = api.genesis.network();
    if did.network() == served {
        return Ok(());
    }
    Err(refusal(code::INVALID_PARAMS, format!("{did} is not of this network, which is `{served}`")))
}

pub(super) fn misread(error: &ErrorObjectOwned, expected: &str) -> Refusal {
    let problem: String =
        error.data().map_or_else(String::new, |data| data.get().chars().take(300).collect());
    refusal(code::INVALID_PARAMS, format!("expected {expected}: {problem}"))
}

/// What `work` comes to, on a thread that may wait for the disk, and for a certificate.
pub(super) async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProveError> + Send + 'static,
) -> Result<T, Refusal> {
    let worked = tokio::task::spawn_blocking(work).await.map_err(|error| internal(&error))?;
    worked.map_err(|error| match error {
        ProveError::Question(_)
        | ProveError::Window(_)
        | ProveError::TooWide { .. }
        | ProveError::TooMany { .. } => refusal(code::INVALID_PARAMS, error.to_string()),
        ProveError::NoReceipt { .. } | ProveError::NotOver { .. } | ProveError::Gone { .. } => {
            refusal(code::NOT_FOUND, error.to_string())
        }
        error if error.is_transient() => refusal(code::UNAVAILABLE, error.to_string()),
        error => internal(&error),
    })
}
