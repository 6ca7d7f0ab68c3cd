//! `did_…`: resolving.

use client::api::{History, HistoryEntry, code};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use ledger::resolution::{self, JsonOptions, Resolution};
use ledger::{Did, Version};
use serde_json::Value;

use super::{Api, Refusal, internal, refusal};

/// The most versions in one answer.
const MAX_VERSIONS: usize = 1_000;

pub(super) fn resolve(api: &Api, params: &Params<'_>) -> Result<Value, Refusal> {
    let mut sequence = params.sequence();
    let did: String = sequence.next().map_err(|error| fault(&error, "[did] or [did, options]"))?;
    let options: Option<JsonOptions> =
        sequence.optional_next().map_err(|error| fault(&error, "[did] or [did, options]"))?;
    let resolved = match options.unwrap_or_default().check() {
        Ok(options) => resolution::resolve(api.store.as_ref(), api.genesis.network(), &did, &options),
        Err(problem) => Ok(Resolution::failed(problem)),
    };
    resolved.map(|resolution| resolution.to_json()).map_err(|error| internal(&error))
}

pub(super) fn history(api: &Api, params: &Params<'_>) -> Result<History, Refusal> {
    let mut sequence = params.sequence();
    let did: Did = sequence.next().map_err(|error| fault(&error, "[did] or [did, version]"))?;
    let from: Option<Version> =
        sequence.optional_next().map_err(|error| fault(&error, "[did] or [did, version]"))?;
    let here = did.network() == api.genesis.network();
    let newest = if here { api.store.record(&did.id()).map_err(|error| internal(&error))? } else { None };
    let newest = newest.ok_or_else(|| refusal(code::NOT_FOUND, format!("{did} is not registered here")))?;
    let from = from.unwrap_or(Version::FIRST);
    let records = api.store.history(&did.id(), from, MAX_VERSIONS).map_err(|error| internal(&error))?;
    let last = records.last().map(|record| record.header.version);
    Ok(History {
        did,
        versions: records.iter().map(HistoryEntry::new).collect(),
        more_versions: last.is_some_and(|last| last < newest.header.version),
    })
}

fn fault(error: &ErrorObjectOwned, expected: &str) -> Refusal {
    let problem: String =
        error.data().map_or_else(String::new, |data| data.get().chars().take(300).collect());
    refusal(code::INVALID_PARAMS, format!("expected {expected}: {problem}"))
}
