//! What registrars do for DIDs of others, and how owners ask them to.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use client::api::ChainStatus;
use client::keyring::NewKeys;
use client::wallet::organisation::{self, Request};
use client::wallet::{self, Terms, Word};
use genesis::Height;
use ledger::Did;
use serde_json::json;

use super::Ready;
use crate::cli::Ending;
use crate::cli::output::Output;

/// The most bytes that a request's file may have: what it holds fits into a transaction.
const MAX_FILE_BYTES: u64 = 1 << 20;

pub(super) async fn endorse(
    ready: &Ready,
    output: &Output,
    did: &Did,
    registrar: &Did,
    word: Word,
) -> anyhow::Result<()> {
    let change = ready.change(registrar, output);
    change.resume(&ready.terms()).await?;
    let entry = ready.keyring.read(registrar)?;
    let current = ready.current(registrar).await?;
    let pending = wallet::endorse(&ready.terms(), &entry, &current, did, word)?;
    ready.keyring.begin(registrar, NewKeys::default(), pending.clone())?;
    let receipt = change.finish(Some(&pending)).await?;
    let said = if word == Word::Endorse { "vouches for" } else { "no longer vouches for" };
    let text = format!("{registrar} {said} {did}, in block {}.", receipt.height);
    ready.report(output, did, &receipt, text)
}

pub(super) fn request(
    ready: &Ready,
    output: &Output,
    registrar: &Did,
    expires_at: Height,
    out: &Path,
) -> anyhow::Result<()> {
    let (height, most) = (ready.status.height, ready.status.parameters.max_transaction_lifetime);
    if expires_at <= height || expires_at.since(height) > most {
        let last = height.plus(most);
        bail!(
            "--expires-at {expires_at}: the chain is at height {height}, so it must be from {} to {last}",
            height.next()
        );
    }
    let (entry, request) = organisation::request(&Terms { expires_at, ..ready.terms() }, registrar);
    let fault = || format!("{} cannot be written", out.display());
    // Looked at before keys are made for nothing; the file is not replaced, as it may be another DID's.
    let mut file = File::create_new(out).with_context(fault)?;
    ready.keyring.insert(&entry)?;
    serde_json::to_writer_pretty(&mut file, &request)?;
    file.write_all(b"\n").and_then(|()| file.sync_all()).with_context(fault)?;
    output.note(&format!(
        "Not registered yet: hand {} to the registrar. The keys are in {}: back that folder up.",
        out.display(),
        ready.keyring.folder().display()
    ));
    let json = json!({
        "did": entry.did, "registrar": registrar, "expiresAt": expires_at, "file": out,
        "keyring": ready.keyring.folder(),
    });
    output.answer(&json, || entry.did.to_string())
}

pub(super) async fn create_many(
    ready: &Ready,
    output: &Output,
    registrar: &Did,
    files: &[PathBuf],
) -> anyhow::Result<()> {
    let most = ready.status.parameters.max_create_many_items;
    if files.len() as u64 > most {
        bail!("{} requests, but one transaction takes at most {most} on this network", files.len());
    }
    let (requests, faults) = sound(ready, registrar, files);
    for fault in &faults {
        output.note(&format!("Left out: {fault}"));
    }
    if requests.is_empty() {
        bail!("none of these requests can be registered:\n{}", faults.join("\n"));
    }
    let change = ready.change(registrar, output);
    change.resume(&ready.terms()).await?;
    let entry = ready.keyring.read(registrar)?;
    let current = ready.current(registrar).await?;
    let pending = organisation::create_many(&ready.terms(), &entry, &current, requests)?;
    ready.keyring.begin(registrar, NewKeys::default(), pending.clone())?;
    let receipt = change.finish(Some(&pending)).await?;
    let refused = receipt.items.iter().filter(|item| item.code != 0).count();
    output.answer(&receipt, || {
        let lines: Vec<String> =
            receipt.items.iter().map(|item| format!("{}: {}", item.did, item.result)).collect();
        lines.join("\n")
    })?;
    let (count, height) = (receipt.items.len(), receipt.height);
    let mut problems = Vec::new();
    if refused > 0 {
        problems
            .push(format!("{refused} of {count} DIDs were not registered in block {height}: see the list"));
    }
    if !faults.is_empty() {
        problems.push(format!("{} requests were left out:\n{}", faults.len(), faults.join("\n")));
    }
    if problems.is_empty() { Ok(()) } else { Err(Ending::NotApplied(problems.join("; ")).into()) }
}

/// The requests that can stand in one transaction, and what is wrong with the others: none keeps the rest from being registered.
fn sound(ready: &Ready, registrar: &Did, files: &[PathBuf]) -> (Vec<Request>, Vec<String>) {
    let (mut requests, mut faults) = (Vec::<Request>::new(), Vec::new());
    for file in files {
        let request = read(file).and_then(|request| {
            let first = requests.first().map(|first| first.expires_at);
            let checked = check(&request, registrar, &ready.terms(), &ready.status, first);
            checked.with_context(|| file.display().to_string()).map(|()| request)
        });
        match request {
            Ok(request) => requests.push(request),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    (requests, faults)
}

/// Whether a request can be registered now, beside others of the expiry `first`.
fn check(
    request: &Request,
    registrar: &Did,
    terms: &Terms,
    status: &ChainStatus,
    first: Option<Height>,
) -> anyhow::Result<()> {
    request.check(terms, registrar, &status.parameters)?;
    let (until, height) = (request.expires_at, status.height);
    if until <= height {
        bail!(
            "it could be registered until height {until}, and the chain is at {height}: ask its owner for a new one"
        );
    }
    if let Some(first) = first.filter(|first| *first != until) {
        bail!("it is for height {until}, but the ones before for {first}: register it by itself");
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Request> {
    let expected = || format!("{} is no request of `realdid did request`", file.display());
    let length = fs::metadata(file).with_context(expected)?.len();
    if length > MAX_FILE_BYTES {
        bail!("{}: it has {length} bytes", expected());
    }
    serde_json::from_slice(&fs::read(file).with_context(expected)?).with_context(expected)
}
