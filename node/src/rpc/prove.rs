//! `did_prove`: an answer that its caller need not take this node's word for.

use client::api::{Proof, code, to_base64};
use genesis::Epoch;
use jsonrpsee::types::Params;
use ledger::Did;
use ledger::resolution::JsonOptions;
use tokio::sync::Semaphore;

use super::{Api, Refusal, internal, refusal};
use crate::prove::{self, ProveError};

/// How many proofs are put together at once: each may read thousands of versions, and consensus needs the machine too.
static PROVERS: Semaphore = Semaphore::const_new(8);

/// On a thread that may wait for the disk, and for a certificate.
pub(super) async fn prove(api: std::sync::Arc<Api>, params: Params<'static>) -> Result<Proof, Refusal> {
    let fault = |error: jsonrpsee::types::ErrorObjectOwned| {
        let problem: String =
            error.data().map_or_else(String::new, |data| data.get().chars().take(300).collect());
        refusal(
            code::INVALID_PARAMS,
            format!("expected [did], [did, options] or [did, options, sinceEpoch]: {problem}"),
        )
    };
    let mut sequence = params.sequence();
    let did: Did = sequence.next().map_err(fault)?;
    let options: Option<JsonOptions> = sequence.optional_next().map_err(fault)?;
    let since: Option<Epoch> = sequence.optional_next().map_err(fault)?;
    if did.network() != api.genesis.network() {
        let served = api.genesis.network();
        return Err(refusal(
            code::INVALID_PARAMS,
            format!("{did} is not of this network, which is `{served}`"),
        ));
    }
    let options = options
        .unwrap_or_default()
        .check()
        .map_err(|problem| refusal(code::INVALID_PARAMS, problem.to_string()))?;
    let since = since.unwrap_or(Epoch::ZERO);
    let Ok(permit) = PROVERS.try_acquire() else {
        return Err(refusal(
            code::UNAVAILABLE,
            "this node makes as many proofs at once as it may: try again, or ask another",
        ));
    };
    let proved = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        prove::prove(&api.store, &did, &options, since)
    });
    match proved.await.map_err(|error| internal(&error))? {
        Ok(proved) => Ok(Proof {
            height: proved.height,
            resolution: proved.resolution.to_json(),
            proof: to_base64(&proved.proof.encode()),
        }),
        Err(error @ (ProveError::NotCertified { .. } | ProveError::NoLink { .. })) => {
            Err(refusal(code::UNAVAILABLE, error.to_string()))
        }
        Err(error) => Err(internal(&error)),
    }
}
