//! Answers that are checked here, against the genesis document alone: the options of all commands that do so, and where the
//! light client is kept between them.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use client::Client;
use client::light::{LightClient, MAX_PROOF_BYTES, Pin};
use client::rpc::proved::ProvedError;
use consensus::Checkpoint;
use genesis::encoding::{decode, encode};
use genesis::{Digest, Genesis, UnixMillis};
use ledger::Did;
use serde_json::{Value, json};

use super::output::Output;

/// How an answer is checked.
#[derive(Debug, Args)]
pub(super) struct Prove {
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

/// A light client, and where it is kept.
pub(super) struct Checker {
    pub(super) light: LightClient,
    genesis: Genesis,
    pin: Option<PathBuf>,
}

impl Prove {
    /// What checks the answers; none where that is not asked for.
    pub(super) async fn checker(&self, client: &Client) -> anyhow::Result<Option<Checker>> {
        let Some(genesis) = self.genesis.as_ref().filter(|_| self.prove) else { return Ok(None) };
        let genesis = trusted(client, genesis).await?;
        let light = match self.pin.as_deref().map(read_pin).transpose()?.flatten() {
            Some(pin) => LightClient::resume(&genesis, pin)?,
            None => LightClient::new(&genesis),
        };
        Ok(Some(Checker { light, genesis, pin: self.pin.clone() }))
    }
}

impl Checker {
    /// Refuses a DID of another network.
    pub(super) fn of_its_network(&self, did: &Did) -> anyhow::Result<()> {
        if did.network() != self.genesis.network() {
            bail!("{did} is not of the network `{}` that the genesis document is of", self.genesis.network());
        }
        Ok(())
    }

    /// The chain's id.
    pub(super) fn chain(&self) -> Digest {
        self.genesis.chain()
    }

    /// The network's name.
    pub(super) fn network(&self) -> &str {
        self.genesis.network()
    }

    /// An answer at this checkpoint was checked: keeps how far the client is now, and says so.
    pub(super) fn done(&self, output: &Output, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        if let Some(path) = &self.pin {
            write_pin(path, self.light.pin())?;
        }
        output.note(&format!(
            "Proved as of block {}, from genesis {}.",
            checkpoint.height,
            self.genesis.chain()
        ));
        Ok(())
    }

    /// What an answer was checked against.
    pub(super) fn shown(&self, checkpoint: &Checkpoint) -> Value {
        json!({ "chain": self.genesis.chain(), "height": checkpoint.height, "timeMs": checkpoint.time })
    }
}

/// Its exit code is that of the node's "no", where it is one.
pub(super) fn unproved(error: ProvedError) -> anyhow::Error {
    match error {
        ProvedError::Rpc(error) => error.into(),
        ProvedError::Light(error) => anyhow::Error::new(error).context("the node's answer is not proved"),
    }
}

/// By this machine's clock.
pub(super) fn now() -> anyhow::Result<UnixMillis> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("this machine's clock is before 1970")?;
    Ok(UnixMillis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)))
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
