//! `realdid did resolve`; with `--prove` its answer is checked here, against the genesis document alone.

use client::Client;
use client::api::ResolveOptions;
use ledger::Did;
use serde_json::Value;

use crate::cli::Ending;
use crate::cli::output::Output;
use crate::cli::prove::{Prove, now, unproved};

/// The result of the resolution, proved; none where that is not asked for.
async fn proved(
    client: &Client,
    output: &Output,
    did: &Did,
    options: &ResolveOptions,
    prove: &Prove,
) -> anyhow::Result<Option<Value>> {
    let Some(mut checker) = prove.checker(client).await? else { return Ok(None) };
    checker.of_its_network(did)?;
    let answer = client.resolve_proved(&mut checker.light, did, options, now()?).await.map_err(unproved)?;
    checker.done(output, &answer.checkpoint)?;
    let mut result = answer.resolution.to_json();
    result["didResolutionMetadata"]["proved"] = checker.shown(&answer.checkpoint);
    Ok(Some(result))
}

pub(super) async fn resolve(
    client: &Client,
    output: &Output,
    did: &Did,
    version: Option<u64>,
    time: Option<String>,
    prove: &Prove,
) -> anyhow::Result<()> {
    let version_id = version.map(|version| version.to_string());
    let options = ResolveOptions { version_id, version_time: time, ..ResolveOptions::default() };
    let result = match proved(client, output, did, &options, prove).await? {
        Some(result) => result,
        None => client.resolve(&did.to_string(), &options).await?,
    };
    let document = &result["didDocument"];
    if !document.is_null() {
        if result["didDocumentMetadata"]["deactivated"].as_bool() == Some(true) {
            output.note("Beware: this is an old version; the DID is deactivated.");
        }
        let pretty = serde_json::to_string_pretty(document)?;
        return output.answer(&result, || pretty);
    }
    let error = &result["didResolutionMetadata"]["error"];
    let ending = match (error["status"].as_u64(), error["detail"].as_str()) {
        (Some(404), Some(detail)) => Ending::NotFound(detail.to_owned()).into(),
        (_, Some(detail)) => anyhow::Error::msg(detail.to_owned()),
        (_, None) => Ending::NotFound(format!("{did} is deactivated: it has no document any more")).into(),
    };
    // For people the error says it all.
    output.answer_json(&result)?;
    Err(ending)
}
