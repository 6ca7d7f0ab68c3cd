//! `did_…`: resolving.

use std::sync::Arc;

use client::api::{History, HistoryEntry, code};
use jsonrpsee::types::Params;
use ledger::resolution::{JsonOptions, Resolution, resolve_by};
use ledger::{Did, Version};
use serde_json::Value;

use super::prove::{misread, waiting};
use super::{Api, Refusal, internal, refusal};
use crate::prove;

/// The most versions in one answer.
const MAX_VERSIONS: usize = 1_000;

pub(super) async fn resolve(api: Arc<Api>, params: Params<'static>) -> Result<Value, Refusal> {
    let mut sequence = params.sequence();
    let did: String = sequence.next().map_err(|error| misread(&error, "[did] or [did, options]"))?;
    let options: Option<JsonOptions> =
        sequence.optional_next().map_err(|error| misread(&error, "[did] or [did, options]"))?;
    let options = match options.unwrap_or_default().check() {
        Ok(options) => options,
        Err(problem) => return Ok(Resolution::failed(problem).to_json()),
    };
    waiting(move || {
        let find = || prove::find(&api.store, api.genesis.network(), &did, &options);
        Ok(resolve_by(&options, find)?.to_json())
    })
    .await
}

pub(super) fn history(api: &Api, params: &Params<'_>) -> Result<History, Refusal> {
    let mut sequence = params.sequence();
    let did: Did = sequence.next().map_err(|error| misread(&error, "[did] or [did, version]"))?;
    let from: Option<Version> =
        sequence.optional_next().map_err(|error| misread(&error, "[did] or [did, version]"))?;
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
