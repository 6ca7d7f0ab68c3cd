//! `realdid gov`: how validators change their own set and parameters.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use client::api::{Configuration, Governance, Proposal};
use client::governance::{self, MAX_READINESS_BYTES, Readiness};
use client::wallet::Terms;
use client::{Role, StoredKey};
use genesis::{Digest, Height, SecretKey, UnixMillis, Validator, ValidatorSet};
use ledger::registry::{self, Grant};
use ledger::{Change, Did, Transaction};
use serde_json::json;

use super::output::Output;
use super::passphrase::Opening;
use super::{Ending, Rpc, duration, tx};
use crate::home::Home;

/// Change who validates and by which parameters, by vote.
///
/// A validator proposes, and a quorum of the validators approves; each signs with its governance key, which no node
/// needs to hold. What was decided takes effect when the epoch ends, shortly after; accreditations act at once. See
/// `realdid gov list`.
#[derive(Debug, Subcommand)]
pub(super) enum Gov {
    /// Show the validators, what was decided, and what is voted on.
    #[command(after_help = "Example:\n  realdid gov list")]
    List {
        #[command(flatten)]
        rpc: Rpc,
    },
    /// Sign, with a node's own keys, that it is ready to join; hand the file to a validator, who proposes it.
    ///
    /// Also for a validator that is to get another address or other keys. The file holds no secret.
    #[command(
        after_help = "Example:\n  realdid gov ready --home ./node4 --name node4 --address 10.0.0.5:26600 --out ./node4.ready"
    )]
    Ready {
        /// The node's folder.
        #[arg(long, value_name = "DIR")]
        home: PathBuf,
        /// What the validator is to be called: 1 to 64 of a-z, 0-9, `-` and `.`.
        #[arg(long)]
        name: String,
        /// Where the other validators reach it: host:port.
        #[arg(long, value_name = "HOST:PORT")]
        address: String,
        /// The file to make; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        opening: Opening,
    },
    /// Propose a change; prints the proposal's id. It is the proposer's approval at once.
    #[command(subcommand)]
    Propose(Propose),
    /// Approve or reject a proposal. A later vote replaces the earlier one.
    #[command(
        after_help = "Example:\n  realdid gov vote 3f0c…9a --approve --key ./node1/keys/governance.json"
    )]
    Vote {
        /// The proposal's id, 64 hex digits, as `realdid gov list` shows it.
        id: Digest,
        /// The change is to be made.
        #[arg(long, conflicts_with = "reject", required_unless_present = "reject")]
        approve: bool,
        /// The change is not to be made.
        #[arg(long)]
        reject: bool,
        #[command(flatten)]
        common: Common,
    },
}

/// The changes.
#[derive(Debug, Subcommand)]
pub(super) enum Propose {
    /// A validator joins.
    #[command(
        after_help = "Example:\n  realdid gov propose add-validator ./node4.ready --key ./node0/keys/governance.json"
    )]
    AddValidator {
        /// What `realdid gov ready` made on its node.
        #[arg(value_name = "FILE")]
        ready: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// A validator leaves.
    #[command(
        after_help = "Example:\n  realdid gov propose remove-validator node3 --key ./node0/keys/governance.json"
    )]
    RemoveValidator {
        /// Its name.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// A validator gets other keys, another address or another name.
    #[command(
        after_help = "Example:\n  realdid gov propose replace-validator node3 ./node3.ready --key ./node0/keys/governance.json"
    )]
    ReplaceValidator {
        /// Its name so far.
        name: String,
        /// What `realdid gov ready` made on its node.
        #[arg(value_name = "FILE")]
        ready: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Parameters change. Those not named stay as they are aimed at now.
    #[command(
        after_help = "Example:\n  realdid gov propose set-parameter heartbeat_ms=30000 --key ./governance.json"
    )]
    SetParameter {
        /// NAME=VALUE, as in the genesis document.
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Somebody may register DIDs for others or issue credentials; on new terms, where it may already.
    ///
    /// Acts at once when a quorum approves. The DID need not be registered yet.
    #[command(
        after_help = "Example:\n  realdid gov propose accredit did:realdid:test:z… --role registrar --quota 1000000 --key ./governance.json"
    )]
    Accredit {
        /// Whom.
        did: Did,
        /// As what.
        #[arg(long)]
        role: RoleName,
        /// For what: a word of a-z, 0-9, `.`, `:`, `/` and `-`; may be given again [default: no limit].
        #[arg(long, value_name = "WORD")]
        scope: Vec<String>,
        /// For how many days from the newest block's time on.
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: u64,
        /// How many DIDs a registrar may register altogether.
        #[arg(long, value_name = "N", default_value_t = 0)]
        quota: u64,
        #[command(flatten)]
        common: Common,
    },
    /// An accreditation does not hold for the time being.
    #[command(
        after_help = "Example:\n  realdid gov propose suspend did:realdid:test:z… --role issuer --key ./governance.json"
    )]
    Suspend {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        common: Common,
    },
    /// A suspended accreditation holds again.
    #[command(
        after_help = "Example:\n  realdid gov propose reinstate did:realdid:test:z… --role issuer --key ./governance.json"
    )]
    Reinstate {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        common: Common,
    },
    /// An accreditation holds no more.
    #[command(
        after_help = "Example:\n  realdid gov propose withdraw-accreditation did:realdid:test:z… --role issuer --key ./governance.json"
    )]
    WithdrawAccreditation {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        common: Common,
    },
    /// Other rules of execution hold from a block on: nodes whose build lacks them stop before it.
    #[command(
        after_help = "Example:\n  realdid gov propose activate-rules 2 --from 250000 --key ./governance.json"
    )]
    ActivateRules {
        /// The rules' version.
        version: u32,
        /// The first block that they hold for.
        #[arg(long, value_name = "HEIGHT")]
        from: u64,
        #[command(flatten)]
        common: Common,
    },
}

/// Which accreditation.
#[derive(Debug, Args)]
pub(super) struct Whose {
    /// Whose.
    did: Did,
    /// As what.
    #[arg(long)]
    role: RoleName,
}

/// What somebody is accredited as.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    /// Registers DIDs for others, and endorses them.
    Registrar,
    /// Issues credentials.
    Issuer,
}

impl From<RoleName> for registry::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Registrar => Self::Registrar,
            RoleName::Issuer => Self::Issuer,
        }
    }
}

/// What proposals and votes take.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    rpc: Rpc,
    /// The validator's governance key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    opening: Opening,
    /// How long to wait until it is final: 30s, 500ms, 2m.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

impl Gov {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::List { rpc } => {
                let governance = rpc.client.governance().await?;
                output.answer(&governance, || text(&governance))
            }
            Self::Ready { home, name, address, out, opening } => {
                let home = Home::open(&home)?.with_passphrase_file(opening.passphrase_file);
                ready(output, &home, name, address, &out)
            }
            Self::Propose(propose) => propose.run(output).await,
            Self::Vote { id, approve, reject: _, common } => {
                let key = common.key()?;
                let transaction = governance::vote(&common.terms().await?, id, approve, &key);
                let word = if approve { "approved" } else { "rejected" };
                common
                    .hand_in(output, &transaction, |height| format!("{id} is {word} in block {height}."))
                    .await
            }
        }
    }
}

impl Propose {
    async fn run(self, output: &Output) -> anyhow::Result<()> {
        let (change, common) = match self {
            Self::AddValidator { ready, common } => {
                let Readiness { validator, ready, .. } = common.read_ready(&ready).await?;
                (Change::AddValidator { validator, ready }, common)
            }
            Self::RemoveValidator { name, common } => (Change::RemoveValidator { name }, common),
            Self::ReplaceValidator { name, ready, common } => {
                let Readiness { validator, ready, .. } = common.read_ready(&ready).await?;
                (Change::ReplaceValidator { name, validator, ready }, common)
            }
            Self::SetParameter { settings, common } => {
                let aim = common.rpc.client.governance().await?.aim().parameters.clone();
                let parameters = governance::with_settings(&aim, &settings)
                    .map_err(|error| Ending::CommandLine(error.to_string()))?;
                (Change::SetParameters(parameters), common)
            }
            Self::Accredit { did, role, scope, days, quota, common } => {
                let valid_from = common.rpc.client.status().await?.time;
                let valid_until = UnixMillis(valid_from.0.saturating_add(days * 86_400_000));
                let role = role.into();
                let grant = Grant { did: did.id(), role, scope, valid_from, valid_until, quota };
                grant.check().map_err(|error| Ending::CommandLine(error.to_string()))?;
                (Change::Accredit(Box::new(grant)), common)
            }
            Self::Suspend { whose: Whose { did, role }, common } => {
                (Change::Suspend { did: did.id(), role: role.into() }, common)
            }
            Self::Reinstate { whose: Whose { did, role }, common } => {
                (Change::Reinstate { did: did.id(), role: role.into() }, common)
            }
            Self::WithdrawAccreditation { whose: Whose { did, role }, common } => {
                (Change::WithdrawAccreditation { did: did.id(), role: role.into() }, common)
            }
            Self::ActivateRules { version, from, common } => {
                (Change::ActivateRules { version, height: Height(from) }, common)
            }
        };
        let key = common.key()?;
        let transaction = governance::proposal(&common.terms().await?, change, &key);
        let id = transaction.id();
        output.note(&format!("The others approve it with: realdid gov vote {id} --approve --key FILE"));
        common.hand_in(output, &transaction, |_| id.to_string()).await
    }
}

impl Common {
    fn key(&self) -> anyhow::Result<SecretKey> {
        let stored = StoredKey::read(&self.key)?.expect(Role::Governance)?;
        let opened = self.opening.open(std::slice::from_ref(&stored))?;
        opened.into_iter().next().map(|key| key.secret).context("one file gives one key")
    }

    async fn terms(&self) -> anyhow::Result<Terms> {
        Ok(Terms::of(&self.rpc.client.status().await?))
    }

    async fn read_ready(&self, path: &Path) -> anyhow::Result<Readiness> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        if text.len() > MAX_READINESS_BYTES {
            bail!(
                "{} has more than {MAX_READINESS_BYTES} bytes: it is not what `realdid gov ready` makes",
                path.display()
            );
        }
        let readiness: Readiness = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what `realdid gov ready` makes", path.display()))?;
        let chain = self.terms().await?.chain;
        if readiness.chain != chain {
            bail!(
                "{} is for chain {}, but the node serves chain {chain}: make it again for this network",
                path.display(),
                readiness.chain
            );
        }
        Ok(readiness)
    }

    /// Submits, and waits until it is final.
    async fn hand_in(
        &self,
        output: &Output,
        transaction: &Transaction,
        done: impl FnOnce(genesis::Height) -> String,
    ) -> anyhow::Result<()> {
        let id = self.rpc.client.submit(&genesis::encoding::encode(transaction)).await?.id;
        let receipt = tx::wait(output, &self.rpc, &id, self.timeout).await?;
        if receipt.is_applied() {
            return output.answer(&receipt, || done(receipt.height));
        }
        output.answer_json(&receipt)?;
        let advice = match receipt.result.as_ref() {
            "not_a_validator" => "the key is not the governance key of a current validator",
            "no_such_proposal" => "it is not open: decided, expired, or never made (`realdid gov list`)",
            "too_many_proposals" => "vote on what is open first (`realdid gov list`)",
            "invalid_change" => {
                "it does not fit what the validators aim at, or changes nothing (`realdid gov list`)"
            }
            "change_no_longer_fits" => {
                "another change came first: the proposal is closed; propose it anew if it still matters"
            }
            _ => "nothing was changed",
        };
        let (height, result) = (receipt.height, receipt.result);
        Err(Ending::NotApplied(format!(
            "{id} is final in block {height}, but was not applied ({result}): {advice}"
        ))
        .into())
    }
}

fn ready(output: &Output, home: &Home, name: String, address: String, out: &Path) -> anyhow::Result<()> {
    let consensus = home.key(Role::Consensus)?;
    let validator = Validator {
        name,
        consensus_key: consensus.public(),
        network_key: home.public_key(Role::Network)?,
        governance_key: home.public_key(Role::Governance)?,
        address,
    };
    if let Err(error) = ValidatorSet::new(vec![validator.clone()]) {
        return Err(Ending::CommandLine(format!("--{}: {error}", error.field.unwrap_or("name"))).into());
    }
    let readiness = Readiness::sign(home.genesis()?.chain(), validator, &consensus);
    let text = serde_json::to_string_pretty(&readiness)? + "\n";
    let file = std::fs::File::create_new(out);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .with_context(|| format!("cannot write {}: it must not exist yet", out.display()))?;
    output.answer(&json!({ "file": out, "readiness": readiness }), || {
        format!(
            "{} says that {} is ready. Any validator proposes it with: realdid gov propose add-validator {} --key FILE",
            out.display(),
            readiness.validator.name,
            out.display()
        )
    })
}

fn text(governance: &Governance) -> String {
    let Governance { epoch, began, quorum, current, pending, proposals } = governance;
    let mut text = format!("Epoch {epoch}, since block {began}: {}; {quorum} decide.\n", names(current));
    if let Some(pending) = pending {
        text += &format!("Decided, and in charge from the next epoch on: {}.\n", names(pending));
        if pending.parameters != current.parameters {
            text += "Its parameters are others: see --json.\n";
        }
    }
    if proposals.is_empty() {
        text += "Nothing is voted on.\n";
    }
    for Proposal { id, proposer, change, approvals, rejections, expires_at } in proposals {
        let what = described(change, governance.aim());
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "\n{id}\n  {what}\n  proposed by {proposer}, open until block {expires_at}\n  for: {}\n  against: {}",
            list(approvals),
            list(rejections)
        );
    }
    text
}

fn names(configuration: &Configuration) -> String {
    configuration.validators.iter().map(|validator| validator.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

const fn role(role: registry::Role) -> &'static str {
    match role {
        registry::Role::Registrar => "a registrar",
        registry::Role::Issuer => "an issuer",
    }
}

/// What a change asks for, for people.
fn described(change: &Change, aim: &Configuration) -> String {
    match change {
        Change::AddValidator { validator, .. } => format!("add {} at {}", validator.name, validator.address),
        Change::RemoveValidator { name } => format!("remove {name}"),
        Change::ReplaceValidator { name, validator, .. } => {
            format!(
                "replace {name} by {} at {}, with the keys that --json shows",
                validator.name, validator.address
            )
        }
        Change::Accredit(grant) => format!(
            "accredit {} as {}, from {} until {} (milliseconds since 1970), for {}",
            grant.did,
            role(grant.role),
            grant.valid_from,
            grant.valid_until,
            if grant.scope.is_empty() { "everything".to_owned() } else { grant.scope.join(", ") }
        ),
        Change::Suspend { did, role: of } => format!("suspend {did} as {}", role(*of)),
        Change::Reinstate { did, role: of } => format!("reinstate {did} as {}", role(*of)),
        Change::WithdrawAccreditation { did, role: of } => {
            format!("withdraw the accreditation of {did} as {}", role(*of))
        }
        Change::ActivateRules { version, height } => {
            format!("execute by version {version} of the rules from block {height} on")
        }
        Change::SetParameters(parameters) => {
            let changed = governance::differences(&aim.parameters, parameters);
            let one = |(name, from, to): &(&str, String, String)| format!("{name} from {from} to {to}");
            format!("set {}", list(&changed.iter().map(one).collect::<Vec<_>>()))
        }
    }
}

#[cfg(test)]
mod tests;
