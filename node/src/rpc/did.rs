//! `did_…`: resolving.

use client::api::{ResolveOptions, code};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use ledger::resolution;
use serde_json::Value;

use super::{Api, Refusal, internal, refusal};

pub(super) fn resolve(api: &Api, params: &Params<'_>) -> Result<Value, Refusal> {
    let fault = |error: ErrorObjectOwned| {
        let problem: String =
            error.data().map_or_else(String::new, |data| data.get().chars().take(300).collect());
        refusal(code::INVALID_PARAMS, format!("expected [did] or [did, options]: {problem}"))
    };
    let mut params = params.sequence();
    let did: String = params.next().map_err(fault)?;
    let options: Option<ResolveOptions> = params.optional_next().map_err(fault)?;
    let options = options.unwrap_or_default().into();
    let resolved = resolution::resolve(api.store.as_ref(), api.genesis.network(), &did, &options);
    resolved.map(|resolution| resolution.to_json()).map_err(|error| internal(&error))
}
