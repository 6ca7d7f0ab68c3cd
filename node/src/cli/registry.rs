//! `realdid registry`: what the trust registry holds, and what issuers publish in it.

use clap::{Args, Subcommand, ValueEnum};
use std::time::{Duration, Instant};

use anyhow::bail;
use client::api::{Accreditation, RegistryQuestion};
use client::keyring::NewKeys;
use client::light::RegistryProof;
use client::wallet::organisation::{Publication, publish};
use genesis::{Digest, Epoch};
use ledger::operation::{PublishSchema, PublishStatusList};
use ledger::registry::{Role, StatusPurpose};
use ledger::uri::Uri;
use ledger::{Did, RegistryEntry, Version};
use serde_json::{Value, json};

use super::did::{Common, Ready};
use super::output::Output;
use super::prove::{Prove, now, unproved};
use super::{Ending, Rpc};

/// Between two looks at whether a block is certified.
const PAUSE: Duration = Duration::from_millis(100);

/// See who is accredited, and publish schemas and status lists.
///
/// The validators accredit registrars and issuers by vote (`realdid gov propose accredit`). An issuer publishes the digests and
/// addresses of what verifiers look up; never a credential.
#[derive(Debug, Subcommand)]
pub(super) enum Registry {
    /// Show what a DID is accredited as.
    #[command(after_help = "Examples:\n  realdid registry show did:realdid:test:z…\n  \
                            realdid registry show did:realdid:test:z… --prove --genesis genesis.toml")]
    Show {
        /// The DID.
        did: Did,
        #[command(flatten)]
        prove: Prove,
        #[command(flatten)]
        rpc: Rpc,
    },
    /// Publish a version of a schema: what credentials of one kind look like.
    #[command(
        after_help = "Example:\n  realdid registry publish-schema --issuer did:realdid:test:z… --number 1 \
                            --digest 3f0c…9a --uri https://issuer.example/schemas/1"
    )]
    PublishSchema {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        common: Common,
    },
    /// Publish a version of a status list: which credentials are void.
    #[command(
        after_help = "Example:\n  realdid registry publish-status-list --issuer did:realdid:test:z… --number 1 \
                            --purpose revocation --digest 3f0c…9a --uri https://issuer.example/status/1"
    )]
    PublishStatusList {
        #[command(flatten)]
        what: What,
        /// What its states are; the same at each version.
        #[arg(long)]
        purpose: PurposeName,
        #[command(flatten)]
        common: Common,
    },
}

/// What is published.
#[derive(Debug, Args)]
pub(super) struct What {
    /// The issuer's DID, whose keys the keyring holds.
    #[arg(long, value_name = "DID")]
    issuer: Did,
    /// Which of the issuer's schemas or lists.
    #[arg(long, value_name = "N")]
    number: u16,
    /// The digest of what is served: 64 hex digits.
    #[arg(long, value_name = "HEX")]
    digest: Digest,
    /// Where it is served.
    #[arg(long, value_name = "URL", value_parser = address)]
    uri: Uri,
}

/// What a status list's states are.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum PurposeName {
    /// Void for good.
    Revocation,
    /// Void for the time being.
    Suspension,
    /// There is a newer one.
    Refresh,
    /// The issuer's own codes.
    Message,
}

impl From<PurposeName> for StatusPurpose {
    fn from(name: PurposeName) -> Self {
        match name {
            PurposeName::Revocation => Self::Revocation,
            PurposeName::Suspension => Self::Suspension,
            PurposeName::Refresh => Self::Refresh,
            PurposeName::Message => Self::Message,
        }
    }
}

fn address(text: &str) -> Result<Uri, String> {
    Uri::try_from(text.to_owned()).map_err(|error| error.to_string())
}

impl Registry {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Show { did, prove, rpc } => show(&rpc, output, &did, &prove).await,
            Self::PublishSchema { what, common } => {
                let (ready, What { issuer, number, digest, uri }) = (common.ready().await?, what);
                let version =
                    next(&ready, RegistryQuestion::Schema { issuer: issuer.clone(), number }).await?;
                let publish = PublishSchema { issuer: issuer.id(), number, version, digest, uri };
                published(&ready, output, &issuer, Publication::Schema(publish), version).await
            }
            Self::PublishStatusList { what, purpose, common } => {
                let (ready, What { issuer, number, digest, uri }) = (common.ready().await?, what);
                let question = RegistryQuestion::StatusList { issuer: issuer.clone(), number };
                let version = next(&ready, question).await?;
                let purpose = purpose.into();
                let publish =
                    PublishStatusList { issuer: issuer.id(), number, version, purpose, digest, uri };
                published(&ready, output, &issuer, Publication::StatusList(publish), version).await
            }
        }
    }

    /// What to say of what Ctrl-C leaves.
    pub(super) const fn left_by_interruption(&self) -> &'static str {
        match self {
            Self::Show { .. } => "",
            Self::PublishSchema { .. } | Self::PublishStatusList { .. } => {
                "; what was begun is in the keyring: `realdid did resume`"
            }
        }
    }
}

/// The version after the last one, by the node's word: a false one makes the publication fail.
async fn next(ready: &Ready, question: RegistryQuestion) -> anyhow::Result<Version> {
    let start = Instant::now();
    loop {
        let proof = RegistryProof::decode(&ready.client.prove_entry(&question, Epoch::ZERO).await?)?;
        // What was published just now is in a block that the validators may not have certified yet.
        let (certified, newest) = (proof.certificate.checkpoint.height, ready.status.height);
        if certified >= newest {
            return Ok(match proof.entry.entry {
                Some(RegistryEntry::Schema(schema)) => schema.version.next(),
                Some(RegistryEntry::StatusList(list)) => list.version.next(),
                Some(RegistryEntry::Accreditation(_)) | None => Version::FIRST,
            });
        }
        if start.elapsed() > ready.timeout {
            bail!(
                "the node has block {newest}, but none certified after {certified}: try again, or another node"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn published(
    ready: &Ready,
    output: &Output,
    issuer: &Did,
    publication: Publication,
    version: Version,
) -> anyhow::Result<()> {
    let change = ready.change(issuer, output);
    change.resume(&ready.terms()).await?;
    let entry = ready.keyring.read(issuer)?;
    let current = ready.current(issuer).await?;
    let pending = publish(&ready.terms(), &entry, &current, publication)?;
    ready.keyring.begin(issuer, NewKeys::default(), pending.clone())?;
    let receipt = change.finish(Some(&pending)).await?;
    let json = json!({
        "issuer": issuer, "version": version, "id": receipt.id, "height": receipt.height, "result": receipt.result,
    });
    output.answer(&json, || format!("Version {version} is published, in block {}.", receipt.height))
}

/// An accreditation, and the block as of which it was proved.
fn with_proof(accreditation: Accreditation, proved: Value) -> anyhow::Result<Value> {
    let mut json = serde_json::to_value(accreditation)?;
    json["proved"] = proved;
    Ok(json)
}

async fn show(rpc: &Rpc, output: &Output, did: &Did, prove: &Prove) -> anyhow::Result<()> {
    let (mut accreditations, mut others): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    if let Some(mut checker) = prove.checker(&rpc.client).await? {
        checker.of_its_network(did)?;
        for role in [Role::Registrar, Role::Issuer] {
            let question = RegistryQuestion::Accreditation { did: did.clone(), role };
            let answer = rpc.client.entry_proved(&mut checker.light, &question, now()?).await;
            let answer = answer.map_err(unproved)?;
            // A block may have come in between: each holds as of its own.
            let proved = checker.shown(&answer.checkpoint);
            match answer.entry {
                Some(RegistryEntry::Accreditation(accreditation)) => {
                    accreditations.push(with_proof(Accreditation::new(accreditation), proved)?);
                }
                _ => others.push(json!({ "role": role, "proved": proved })),
            }
            checker.done(output, &answer.checkpoint)?;
        }
    } else {
        let told = rpc.client.issuer(did).await?.accreditations;
        accreditations = told.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    }
    let mut json = json!({ "did": did, "accreditations": accreditations });
    if !others.is_empty() {
        json["notAccredited"] = others.into();
    }
    if accreditations.is_empty() {
        output.answer_json(&json)?;
        return Err(Ending::NotFound(format!("{did} is accredited as nothing, and never was")).into());
    }
    let pretty = serde_json::to_string_pretty(&accreditations)?;
    output.answer(&json, || pretty)
}
