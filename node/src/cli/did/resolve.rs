//! `realdid did resolve`; with `--prove` its answer is checked here, against the genesis document alone.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use client::Client;
use client::api::ResolveOptions;
use client::light::{LightClient, MAX_PROOF_BYTES, Pin, ResolutionProof};
use genesis::encoding::{decode, encode};
use genesis::{Digest, Genesis, UnixMillis};
use ledger::Did;
use serde_json::{Value, json};

use crate::cli::Ending;
use crate::cli::output::Output;

/// How an answer is checked.
#[derive(Debug, Args)]
pub(in crate::cli) struct Proof {
    /// Check the answer here, against the genesis document alone: the node is not trusted.
    #[arg(long, requires = "genesis")]
    prove: bool,
    /// The network's genesis document, or its hash (64 hex digits), from somebody whom you trust.
    #[arg(long, value_name = "FILE|HASH", requires = "prove")]
    genesis: Option<String>,
    /// Where to keep how far this client is. With it, an answer older than one that was seen is refused.
    #[arg(long, value_name = "FILE", requires = "prove")]
    pin: Option<PathBuf>,
}

impl Proof {
    /// The result of the resolution, proved; none where that is not asked for.
    async fn resolve(
        &self,
        client: &Client,
        output: &Output,
        did: &Did,
        options: ResolveOptions,
    ) -> anyhow::Result<Option<Value>> {
        let Some(genesis) = self.genesis.as_ref().filter(|_| self.prove) else { return Ok(None) };
        let genesis = trusted(client, genesis).await?;
        if did.network() != genesis.network() {
            bail!("{did} is not of the network `{}` that the genesis document is of", genesis.network());
        }
        let mut light = match self.pin.as_deref().map(read_pin).transpose()?.flatten() {
            Some(pin) => LightClient::resume(&genesis, pin)?,
            None => LightClient::new(&genesis),
        };
        let bytes = client.prove(&did.to_string(), &options, light.pin().epoch()).await?;
        let proof = ResolutionProof::decode(&bytes).context("the node's proof")?;
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?;
        let now = UnixMillis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let answer =
            light.resolve(did, &options.into(), proof, now).context("the node's answer is not proved")?;
        if let Some(path) = &self.pin {
            write_pin(path, light.pin())?;
        }
        let height = answer.checkpoint.height;
        output.note(&format!(
            "Proved as of block {height}, from genesis {}, with {} bytes.",
            genesis.chain(),
            bytes.len()
        ));
        let mut result = answer.resolution.to_json();
        result["didResolutionMetadata"]["proved"] =
            json!({ "chain": genesis.chain(), "height": height, "timeMs": answer.checkpoint.time });
        Ok(Some(result))
    }
}

pub(super) async fn resolve(
    client: &Client,
    output: &Output,
    did: &Did,
    version: Option<u64>,
    time: Option<String>,
    proof: &Proof,
) -> anyhow::Result<()> {
    let version_id = version.map(|version| version.to_string());
    let options = ResolveOptions { version_id, version_time: time, ..ResolveOptions::default() };
    let result = match proof.resolve(client, output, did, options.clone()).await? {
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

/// The genesis document, from a file, or from the node where its hash is known.
async fn trusted(client: &Client, source: &str) -> anyhow::Result<Genesis> {
    let Ok(hash) = source.parse::<Digest>() else {
        let text = fs::read_to_string(source).with_context(|| {
            format!("{source} cannot be read: give the genesis document's file, or its hash")
        })?;
        return Genesis::parse(&text).with_context(|| source.to_owned());
    };
    let genesis = Genesis::parse(&client.genesis().await?).context("the node's genesis document")?;
    if genesis.chain() != hash {
        bail!("the node is of chain {}, not {hash}: give --rpc a node of that network", genesis.chain());
    }
    Ok(genesis)
}

fn read_pin(path: &Path) -> anyhow::Result<Option<Pin>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let way_out =
        || format!("{} is no pin: delete it to start from the genesis document again", path.display());
    decode(&bytes, MAX_PROOF_BYTES).map(Some).with_context(way_out)
}

/// Whole or not at all: a lost pin would let an old answer pass.
fn write_pin(path: &Path, pin: &Pin) -> anyhow::Result<()> {
    let fault = || format!("{} cannot be written", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().with_context(fault)?;
    let new = folder.join(format!(".{}.new", name.display()));
    let mut file = fs::File::create(&new).with_context(fault)?;
    file.write_all(&encode(pin)).and_then(|()| file.sync_all()).with_context(fault)?;
    fs::rename(&new, path).with_context(fault)
}
