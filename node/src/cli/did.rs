//! `realdid did`: makes, changes and resolves DIDs.
//!
//! The order of a change is the keyring's: key and transaction on the disk first, then the network. Whatever
//! interrupts it, `realdid did resume` finishes it.

mod change;
mod history;
mod registrar;
mod resolve;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::genesis::{Digest, Height};
use clap::{Args, Subcommand, ValueEnum};
use client::api::{ChainStatus, Receipt, ResolveOptions};
use client::keyring::NewKeys;
use client::wallet::organisation::create_endorsed;
use client::wallet::{self, Authority, Current, Present, Terms, Word};
use client::{Client, Keyring};
use ledger::Did as DidText;
use ledger::operation::Reason;
use serde_json::json;

use super::output::{Output, full_text};
use super::prove::Prove;
use super::{KeyringFolder, Rpc, duration, exit_code, genesis};
use change::{Change, forget};
use history::history;
use registrar::{create_many, endorse, request};
use resolve::resolve;

/// Make, change, end and resolve DIDs.
///
/// A DID (did:realdid:NETWORK:ID) is an identifier that belongs to whoever has its keys. The network keeps its public
/// keys and when they changed, but nothing about you. The secret keys stay in your keyring folder, which nobody can
/// restore for you: back it up.
#[derive(Debug, Subcommand)]
pub(super) enum Did {
    /// Make keys and register a DID for them; prints the DID.
    ///
    /// When it returns, the DID is final: every node that is up to date resolves it. Three keys are in the
    /// keyring folder before anything is sent, so an interruption cannot lose them: one to use, one that makes the DID's next
    /// change, and one that recovers it should the others be stolen. Only the first one's public half, hashes of the others
    /// and random bytes are sent, and nothing about you.
    #[command(after_help = "Examples:\n  realdid did create --rpc http://127.0.0.1:26601\n  \
                            realdid did create --registrar did:realdid:test:z…")]
    Create {
        /// The registrar that vouches for the DID from the start, whose keys the keyring holds too. Networks may ask for one.
        #[arg(long, value_name = "DID")]
        registrar: Option<DidText>,
        #[command(flatten)]
        common: Common,
    },
    /// Make keys for a DID that a registrar registers; writes the request for it to a file, and prints the DID.
    ///
    /// The keys stay in the keyring folder: the request holds public keys, hashes, and your word that this registrar may register
    /// the DID until the height that it told you. Hand the file to the registrar, which does it with `realdid did create-many`.
    #[command(
        after_help = "Example:\n  realdid did request --registrar did:realdid:test:z… --expires-at 5000 --out ./request.json"
    )]
    Request {
        /// The registrar's DID.
        #[arg(long, value_name = "DID")]
        registrar: DidText,
        /// Until which height it may register the DID: as the registrar says, the same for all that it registers together.
        #[arg(long, value_name = "HEIGHT")]
        expires_at: u64,
        /// The file to write; it must not be there yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Register the DIDs that their owners requested, in one transaction, as an accredited registrar.
    ///
    /// One that cannot be registered, as it is already or the quota is used up, keeps none of the others from it: the answer
    /// says what became of each. The keyring holds the registrar's keys.
    #[command(
        after_help = "Example:\n  realdid did create-many --registrar did:realdid:test:z… ./requests/*.json"
    )]
    CreateMany {
        /// The registrar's DID.
        #[arg(long, value_name = "DID")]
        registrar: DidText,
        /// What `realdid did request` wrote, a file a DID.
        #[arg(value_name = "FILE", required = true)]
        requests: Vec<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Give a DID a new key in place of the present ones, or beside them with --add-key.
    ///
    /// The DID stays the same. The new key is the one that was made for this with the last change, and that the network knows
    /// only a hash of: whoever stole the present keys cannot make the change. The keyring must hold it. Keys are numbered, #key-1, #key-2 and so on, and no number is used twice.
    #[command(after_help = "Examples:\n  realdid did update did:realdid:test:z…\n  \
                            realdid did update did:realdid:test:z… --add-key")]
    Update {
        /// The DID, as `realdid did create` printed it.
        did: DidText,
        /// Keep the present keys; without this only the new key counts from then on.
        #[arg(long)]
        add_key: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Take a DID back with its recovery key, for when its other keys are lost or stolen.
    ///
    /// The DID stays the same and gets new keys of every kind, a new recovery key too. Whatever a thief did with it or does
    /// meanwhile, this counts, unless the DID was ended.
    #[command(after_help = "Example:\n  realdid did recover did:realdid:test:z…")]
    Recover {
        /// The DID, as `realdid did create` printed it.
        did: DidText,
        #[command(flatten)]
        common: Common,
    },
    /// End a DID, for good: nobody can use or change it again.
    ///
    /// It resolves to no document any more, but its old versions stay: `realdid did resolve DID --version 1`.
    #[command(after_help = "Examples:\n  realdid did deactivate did:realdid:test:z…\n  \
                            realdid did deactivate did:realdid:test:z… --recovery")]
    Deactivate {
        /// The DID, as `realdid did create` printed it.
        did: DidText,
        /// Sign with the recovery key: for when the other keys are lost or stolen.
        #[arg(long)]
        recovery: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Vouch for a DID, as an accredited registrar.
    ///
    /// Whoever resolves the DID sees who vouches for it. The keyring holds the registrar's keys. See also
    /// `realdid gov propose accredit`.
    #[command(
        after_help = "Example:\n  realdid did endorse did:realdid:test:z… --registrar did:realdid:test:z…"
    )]
    Endorse {
        /// The DID that is vouched for.
        did: DidText,
        /// The registrar's DID.
        #[arg(long, value_name = "DID")]
        registrar: DidText,
        #[command(flatten)]
        common: Common,
    },
    /// Vouch for a DID no more, as the registrar that did.
    #[command(
        after_help = "Example:\n  realdid did withdraw-endorsement did:realdid:test:z… --registrar did:realdid:test:z… --reason fraud"
    )]
    WithdrawEndorsement {
        /// The DID that was vouched for.
        did: DidText,
        /// The registrar's DID.
        #[arg(long, value_name = "DID")]
        registrar: DidText,
        /// Why: everybody sees it.
        #[arg(long)]
        reason: ReasonName,
        #[command(flatten)]
        common: Common,
    },
    /// Finish changes that were interrupted before their receipt was seen.
    ///
    /// For after Ctrl-C, a crash, or an end with exit code 3. It can be repeated: a change is never made twice. An endorsement, its
    /// withdrawal, or the registration of several DIDs is not signed again where a node says that it expired: check that it did
    /// (`realdid tx show ID --prove`), then --forget it.
    #[command(after_help = "Examples:\n  realdid did resume\n  realdid did resume did:realdid:test:z…\n  \
                            realdid did resume did:realdid:test:z… --forget 3f0c…9a")]
    Resume {
        /// The DID [default: all in the keyring folder].
        did: Option<DidText>,
        /// Drop this transaction of the DID: once it is proved what became of it.
        #[arg(long, value_name = "ID", requires = "did")]
        forget: Option<Digest>,
        #[command(flatten)]
        common: Common,
    },
    /// Opt in to the chain that goes on from one that lost its quorum for good.
    ///
    /// Takes the new genesis document, as you have it from those who run the network and whom you trust: nothing proves that
    /// they may go on. The DIDs in your keyring that were made on the old chain then belong to the new one, and a change
    /// that was not final is signed anew for it: `realdid did resume` finishes it.
    #[command(after_help = "Example:\n  realdid did follow ./successor.toml")]
    Follow {
        /// The new genesis document.
        file: PathBuf,
        #[command(flatten)]
        keyring: KeyringFolder,
    },
    /// Print a DID's document (its public keys, and what each is for).
    ///
    /// With --json the whole DID Resolution result: the document, its version and times, or why there is none.
    #[command(after_help = "Examples:\n  realdid did resolve did:realdid:test:z…\n  \
                            realdid did resolve did:realdid:test:z… --version 1 --json\n  \
                            realdid did resolve did:realdid:test:z… --prove --genesis genesis.toml --pin my.pin")]
    Resolve {
        /// The DID, as `realdid did create` printed it.
        did: DidText,
        /// Which version, from 1 [default: the newest].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        version: Option<u64>,
        /// As it was then, in UTC without a fraction: 2026-07-23T10:20:30Z.
        #[arg(long, value_name = "TIME", conflicts_with = "version")]
        time: Option<String>,
        #[command(flatten)]
        prove: Prove,
        #[command(flatten)]
        rpc: Rpc,
    },
    /// List the versions of a DID, the oldest first: when each was made, and the digest of its document.
    ///
    /// What the node says: to check a version, resolve it with --version and --prove.
    #[command(after_help = "Example:\n  realdid did history did:realdid:test:z…")]
    History {
        /// The DID, as `realdid did create` printed it.
        did: DidText,
        /// The first version to list.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        #[command(flatten)]
        rpc: Rpc,
    },
}

/// Why a registrar vouches for a DID no more.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ReasonName {
    /// The subject is not who was vouched for.
    Fraud,
    /// The subject has died.
    Death,
    /// A court said so.
    CourtOrder,
    /// Another reason.
    Other,
}

impl From<ReasonName> for Reason {
    fn from(name: ReasonName) -> Self {
        match name {
            ReasonName::Fraud => Self::Fraud,
            ReasonName::Death => Self::Death,
            ReasonName::CourtOrder => Self::CourtOrder,
            ReasonName::Other => Self::Other,
        }
    }
}

/// What all changes take.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    rpc: Rpc,
    #[command(flatten)]
    keyring: KeyringFolder,
    /// How long to wait until the change is final: 30s, 500ms, 2m. After that: `realdid did resume`.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

impl Did {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Create { registrar, common } => {
                create(&common.ready().await?, output, registrar.as_ref()).await
            }
            Self::Request { registrar, expires_at, out, common } => {
                request(&common.ready().await?, output, &registrar, Height(expires_at), &out)
            }
            Self::CreateMany { registrar, requests, common } => {
                create_many(&common.ready().await?, output, &registrar, &requests).await
            }
            Self::Update { did, add_key, common } => {
                let present = if add_key { Present::Keep } else { Present::Drop };
                update(&common.ready().await?, output, &did, present).await
            }
            Self::Recover { did, common } => recover(&common.ready().await?, output, &did).await,
            Self::Deactivate { did, recovery, common } => {
                let authority = if recovery { Authority::Recovery } else { Authority::Next };
                deactivate(&common.ready().await?, output, &did, authority).await
            }
            Self::Endorse { did, registrar, common } => {
                endorse(&common.ready().await?, output, &did, &registrar, Word::Endorse).await
            }
            Self::WithdrawEndorsement { did, registrar, reason, common } => {
                let word = Word::Withdraw(reason.into());
                endorse(&common.ready().await?, output, &did, &registrar, word).await
            }
            Self::Resume { did: Some(did), forget: Some(id), common } => {
                forget(&common.keyring.open()?, output, &did, &id)
            }
            Self::Resume { did, common, .. } => resume(&common.ready().await?, output, did).await,
            Self::Follow { file, keyring } => follow(&keyring.open()?, output, &file),
            Self::Resolve { did, version, time, prove, rpc } => {
                resolve(&rpc.client, output, &did, version, time, &prove).await
            }
            Self::History { did, from, rpc } => history(&rpc.client, output, &did, from).await,
        }
    }

    /// What to say of what Ctrl-C leaves.
    pub(super) const fn left_by_interruption(&self) -> &'static str {
        match self {
            Self::Create { .. }
            | Self::CreateMany { .. }
            | Self::Update { .. }
            | Self::Recover { .. }
            | Self::Deactivate { .. }
            | Self::Endorse { .. }
            | Self::WithdrawEndorsement { .. }
            | Self::Resume { .. } => "; what was begun is in the keyring: `realdid did resume`",
            Self::Follow { .. } | Self::Request { .. } | Self::Resolve { .. } | Self::History { .. } => "",
        }
    }
}

/// What all changes need.
pub(super) struct Ready {
    pub(super) client: Client,
    pub(super) keyring: Keyring,
    pub(super) status: ChainStatus,
    pub(super) timeout: Duration,
}

impl Common {
    pub(super) async fn ready(self) -> anyhow::Result<Ready> {
        let (client, keyring) = (self.rpc.client, self.keyring.open()?);
        // A node that cannot be reached is found before a key is made.
        let status = client.status().await?;
        Ok(Ready { client, keyring, status, timeout: self.timeout })
    }
}

impl Ready {
    pub(super) fn terms(&self) -> Terms {
        Terms::of(&self.status)
    }

    pub(super) fn change<'a>(&'a self, did: &'a DidText, output: &'a Output) -> Change<'a> {
        Change { client: &self.client, keyring: &self.keyring, did, timeout: self.timeout, output }
    }

    pub(super) async fn current(&self, did: &DidText) -> anyhow::Result<Current> {
        let resolution = self.client.resolve(&did.to_string(), &ResolveOptions::default()).await?;
        Ok(Current::from_resolution(did, &resolution)?)
    }

    pub(super) fn report(
        &self,
        output: &Output,
        did: &DidText,
        receipt: &Receipt,
        text: String,
    ) -> anyhow::Result<()> {
        let json = json!({
            "did": did, "version": receipt.version, "id": receipt.id, "height": receipt.height,
            "result": receipt.result, "keyring": self.keyring.folder(),
        });
        output.answer(&json, || text)
    }
}

async fn create(ready: &Ready, output: &Output, registrar: Option<&DidText>) -> anyhow::Result<()> {
    let entry = match registrar {
        None => wallet::create(&ready.terms()),
        Some(registrar) => {
            let (by, current) = (ready.keyring.read(registrar)?, ready.current(registrar).await?);
            create_endorsed(&ready.terms(), &by, &current)?
        }
    };
    ready.keyring.insert(&entry)?;
    let receipt = ready.change(&entry.did, output).finish(entry.pending.as_ref()).await?;
    output.note(&format!(
        "Registered in block {}. Its keys are in {}: back that folder up.",
        receipt.height,
        ready.keyring.folder().display()
    ));
    ready.report(output, &entry.did, &receipt, entry.did.to_string())
}

async fn update(ready: &Ready, output: &Output, did: &DidText, present: Present) -> anyhow::Result<()> {
    let change = ready.change(did, output);
    change.resume(&ready.terms()).await?;
    let entry = ready.keyring.read(did)?;
    let current = ready.current(did).await?;
    let most = ready.status.parameters.max_document_keys;
    let (keys, pending) = wallet::update(&ready.terms(), &entry, &current, present, most)?;
    let number = named(&keys);
    ready.keyring.begin(did, keys, pending.clone())?;
    let receipt = change.finish(Some(&pending)).await?;
    let version = receipt.version.map(|version| version.to_string()).unwrap_or_default();
    let done = match present {
        Present::Drop => "is now the only key of",
        Present::Keep => "was added to",
    };
    let text = format!("{number} {done} {did}: version {version}, in block {}.", receipt.height);
    ready.report(output, did, &receipt, text)
}

/// What the key that a change brings is called.
fn named(keys: &NewKeys) -> String {
    keys.key.as_ref().map_or_else(|| "A key".to_owned(), |key| format!("`{}`", key.number))
}

async fn recover(ready: &Ready, output: &Output, did: &DidText) -> anyhow::Result<()> {
    let change = ready.change(did, output);
    change.resume(&ready.terms()).await?;
    let entry = ready.keyring.read(did)?;
    let current = ready.current(did).await?;
    let (keys, pending) = wallet::recover(&ready.terms(), &entry, &current)?;
    let number = named(&keys);
    ready.keyring.begin(did, keys, pending.clone())?;
    let receipt = change.finish(Some(&pending)).await?;
    let version = receipt.version.map(|version| version.to_string()).unwrap_or_default();
    let text =
        format!("{did} is yours: {number} is its only key, version {version}, in block {}.", receipt.height);
    ready.report(output, did, &receipt, text)
}

async fn deactivate(
    ready: &Ready,
    output: &Output,
    did: &DidText,
    authority: Authority,
) -> anyhow::Result<()> {
    let change = ready.change(did, output);
    change.resume(&ready.terms()).await?;
    let entry = ready.keyring.read(did)?;
    let current = ready.current(did).await?;
    let pending = wallet::deactivate(&ready.terms(), &entry, &current, authority)?;
    ready.keyring.begin(did, NewKeys::default(), pending.clone())?;
    let receipt = change.finish(Some(&pending)).await?;
    let text = format!("{did} is deactivated, for good, in block {}.", receipt.height);
    ready.report(output, did, &receipt, text)
}

async fn resume(ready: &Ready, output: &Output, did: Option<DidText>) -> anyhow::Result<()> {
    let all = did.is_none();
    let dids = match did {
        Some(did) => vec![did],
        None => ready.keyring.dids()?,
    };
    let (mut receipts, mut text, mut errors) = (Vec::new(), String::new(), Vec::new());
    for did in &dids {
        // One that cannot be finished keeps none of the others from it.
        match resume_one(ready, output, did, all).await {
            Ok(None) => {}
            Ok(Some(receipt)) => {
                text += &format!("{did}: {} in block {}\n", receipt.result, receipt.height);
                receipts.push(receipt);
            }
            Err(error) => errors.push(error),
        }
    }
    let folder = ready.keyring.folder();
    let json = json!({ "keyring": folder, "receipts": receipts });
    if !receipts.is_empty() {
        output.answer(&json, || text)?;
    } else if !errors.is_empty() {
        output.answer_json(&json)?;
    } else if folder.exists() {
        output.answer(&json, || format!("Nothing is pending in {}.", folder.display()))?;
    } else {
        output.answer(&json, || format!("Nothing is pending: there is no folder {}.", folder.display()))?;
    }
    together(errors)
}

async fn resume_one(
    ready: &Ready,
    output: &Output,
    did: &DidText,
    all: bool,
) -> anyhow::Result<Option<Receipt>> {
    let entry = ready.keyring.read(did)?;
    if all && entry.chain != ready.status.chain {
        if entry.pending.is_some() {
            output
                .note(&format!("{did} is of another network: resume it with --rpc and a node of that one."));
        }
        return Ok(None);
    }
    ready.change(did, output).resume(&ready.terms()).await
}

fn follow(keyring: &Keyring, output: &Output, file: &Path) -> anyhow::Result<()> {
    let successor = genesis::read(file)?;
    let Some(predecessor) = successor.predecessor() else {
        anyhow::bail!(
            "{} founds a chain that goes on from no other: there is nothing to follow",
            file.display()
        );
    };
    let mut followed = Vec::new();
    for did in keyring.dids()? {
        if keyring.follow(&did, &successor)? {
            followed.push(did);
        }
    }
    let (chain, old, folder) = (successor.chain(), predecessor.chain, keyring.folder());
    let json = json!({ "chain": chain, "predecessor": old, "keyring": folder, "dids": followed });
    output.answer(&json, || {
        let list: String = followed.iter().map(|did| format!("  {did}\n")).collect();
        format!(
            "{} DIDs in {} belong to chain {chain} now, which goes on from chain {old}.\n{list}",
            followed.len(),
            folder.display()
        )
    })
}

/// One error that tells all.
fn together(mut errors: Vec<anyhow::Error>) -> anyhow::Result<()> {
    // Its exit code is the first one's: that to resume again can help counts most.
    errors.sort_by_key(|error| exit_code(error) != 3);
    let text = errors.iter().map(full_text).collect::<Vec<_>>().join("\n");
    match errors.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(first.context(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Ending;

    #[test]
    fn several_errors_are_one_that_tells_all_of_them() {
        assert!(together(Vec::new()).is_ok());
        let errors = || {
            vec![
                anyhow::anyhow!("a.json is damaged"),
                Ending::FateUnknown("no receipt of b".to_owned()).into(),
                Ending::NotApplied("c was not applied".to_owned()).into(),
            ]
        };
        let error = together(errors()).unwrap_err();
        let lines = "no receipt of b\na.json is damaged\nc was not applied";
        assert_eq!((full_text(&error).as_str(), exit_code(&error)), (lines, 3));
        let last = errors().pop().unwrap();
        let error = together(vec![last]).unwrap_err();
        assert_eq!((full_text(&error).as_str(), exit_code(&error)), ("c was not applied", 5));
    }
}
