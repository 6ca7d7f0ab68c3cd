//! `realdid genesis new`, `contribute`, `collect`, `verify` and `hash`: how members found a network together.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ::genesis::ceremony::{self, CollectError, Contribution, Draft, Keys, MAX_CONTRIBUTION_BYTES};
use ::genesis::document::MAX_FILE_BYTES;
use ::genesis::{Parameters, Validator};
use anyhow::{Context, bail};
use clap::Subcommand;
use client::governance::with_settings;
use serde_json::json;

use super::super::Ending;
use super::super::output::Output;
use super::super::passphrase::Opening;
use super::super::prove::now;
use super::read;
use crate::home::{Home, NODE_ROLES};

// No doc comment: it would stand in the place of the whole command's help.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Ceremony {
    /// Write the draft of a network's genesis document: all but its validators. One member does, for all.
    ///
    /// Look it over together. Each member signs exactly this text's meaning: what is changed afterwards makes another draft.
    #[command(
        after_help = "Example:\n  realdid genesis new --network acme --out ./draft.toml --set heartbeat_ms=30000"
    )]
    New {
        /// The network's name: the third part of its DIDs. 2 to 32 of a-z and 0-9, starting with a letter.
        #[arg(long, value_name = "NAME")]
        network: String,
        /// A parameter that is not to have its default. Can be given several times.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        settings: Vec<String>,
        /// The file to make; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign, with a node's own keys, that it takes part; hand the file to whoever collects. It holds no secret.
    ///
    /// All three keys of the folder sign: the governance key must be there for this.
    #[command(
        after_help = "Example:\n  realdid genesis contribute --home ./node --draft ./draft.toml --name berlin \
                            --address berlin.example:26600 --out ./berlin.json"
    )]
    Contribute {
        /// The node's folder, as `realdid init` made it.
        #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
        home: PathBuf,
        /// The draft, as `realdid genesis new` made it: read it before you sign.
        #[arg(long, value_name = "FILE")]
        draft: PathBuf,
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
    /// Make the genesis document of a draft and of all members' contributions.
    ///
    /// Every signature is checked. The order of the files does not matter: whoever has the same files gets the same bytes, so any
    /// member can do it, and better several do.
    #[command(
        after_help = "Example:\n  realdid genesis collect ./draft.toml ./berlin.json ./oslo.json ./paris.json ./rome.json \
                            --out ./genesis.toml"
    )]
    Collect {
        /// The draft.
        draft: PathBuf,
        /// All members' contributions.
        #[arg(required = true, value_name = "FILE")]
        contributions: Vec<PathBuf>,
        /// The genesis document to make; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check that a genesis document holds what you signed, unaltered; and print its hash, to be compared with the others'.
    #[command(after_help = "Example:\n  realdid genesis verify ./genesis.toml --contribution ./berlin.json")]
    Verify {
        /// The genesis document.
        document: PathBuf,
        /// What you contributed: your own copy of the file, not one that came back. Those of others too, as many as you have
        #[arg(long = "contribution", value_name = "FILE", required = true)]
        contributions: Vec<PathBuf>,
    },
    /// Print the hash of a genesis document: the chain's id, which is the same on all nodes of a network.
    #[command(after_help = "Example:\n  realdid genesis hash ./node/genesis.toml")]
    Hash {
        /// The genesis document.
        document: PathBuf,
    },
}

impl Ceremony {
    pub(in crate::cli) fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::New { network, settings, out } => new(output, network, &settings, &out),
            Self::Contribute { home, draft, name, address, out, opening } => {
                let home = Home::open(home)?.with_passphrase_file(opening.passphrase_file);
                contribute(output, &home, &draft, name, address, &out)
            }
            Self::Collect { draft, contributions, out } => collect(output, &draft, &contributions, &out),
            Self::Verify { document, contributions } => verify(output, &document, &contributions),
            Self::Hash { document } => {
                let chain = read(&document)?.chain();
                output.answer(&json!({ "file": document, "chain": chain }), || chain.to_string())
            }
        }
    }
}

fn new(output: &Output, network: String, settings: &[String], out: &Path) -> anyhow::Result<()> {
    let wrong = |error: String| Ending::CommandLine(error);
    let parameters =
        with_settings(&Parameters::default(), settings).map_err(|error| wrong(error.to_string()))?;
    let draft = Draft::new(network, now()?, parameters).map_err(|error| wrong(error.to_string()))?;
    write_new(out, &draft.to_toml())?;
    output.answer(&json!({ "file": out, "network": draft.network(), "draft": draft.digest() }), || {
        format!(
            "{} is the draft of network `{}`.\ndraft {}\nGive it to all members. Each signs it: realdid genesis contribute --home \
             DIR --draft {} --name NAME --address HOST:PORT --out FILE",
            out.display(),
            draft.network(),
            draft.digest(),
            out.display()
        )
    })
}

fn contribute(
    output: &Output,
    home: &Home,
    draft: &Path,
    name: String,
    address: String,
    out: &Path,
) -> anyhow::Result<()> {
    let draft = read_draft(draft)?;
    let [consensus, network, governance] = home.secrets(NODE_ROLES)?;
    let contribution = Contribution::sign(&draft, name, address, &Keys { consensus, network, governance })
        .map_err(|error| Ending::CommandLine(error.to_string()))?;
    write_new(out, &contribution.to_json())?;
    output.answer(&json!({ "file": out, "contribution": contribution }), || {
        let entry = &contribution.validator;
        format!(
            "{} says that {} takes part in network `{}`, at {}.\ndraft {}\nGive it to whoever collects, and keep it: `realdid \
             genesis verify` compares the document with it.",
            out.display(),
            entry.name,
            draft.network(),
            entry.address,
            contribution.draft
        )
    })
}

fn collect(output: &Output, draft: &Path, files: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let draft = read_draft(draft)?;
    let contributions =
        files.iter().map(|file| read_contribution(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let genesis = ceremony::collect(&draft, &contributions).map_err(|error| match error {
        CollectError::Contribution { place, other, problem } => {
            let named = |place: usize| files.get(place).map(|file| file.display().to_string());
            let with = other.and_then(named).map_or_else(String::new, |other| format!(" and {other}"));
            anyhow::anyhow!("{}{with}: {problem}", named(place).unwrap_or_default())
        }
        error => error.into(),
    })?;
    write_new(out, &genesis.to_toml())?;
    let names: Vec<&str> = genesis.validators().iter().map(|(_, member)| member.name.as_str()).collect();
    let json = json!({
        "file": out, "network": genesis.network(), "chain": genesis.chain(), "validators": names,
    });
    output.answer(&json, || {
        let file = out.display();
        let mut text = format!(
            "{file} is the genesis document of network `{}`.\nchain       {}\nvalidators  {} ({} decide)\n",
            genesis.network(),
            genesis.chain(),
            names.join(", "),
            genesis.validators().quorum()
        );
        if names.len() < 4 {
            text += "\nWith fewer than 4 validators one fault stops the network.\n";
        }
        text + &format!(
            "\nGive it to all members. Each checks it and compares the chain's id with the others', copies it, and starts:\n  \
             realdid genesis verify {file} --contribution FILE\n  cp {file} DIR/genesis.toml\n  realdid start --home DIR"
        )
    })
}

fn verify(output: &Output, document: &Path, contributions: &[PathBuf]) -> anyhow::Result<()> {
    let genesis = read(document)?;
    let mut signed = BTreeSet::new();
    for file in contributions {
        let contribution = read_contribution(file)?;
        ceremony::confirm(&genesis, &contribution)
            .with_context(|| format!("{} is not what {} says", document.display(), file.display()))?;
        signed.insert(contribution.validator.name);
    }
    let chain = genesis.chain();
    let validators = || genesis.validators().iter().map(|(_, validator)| validator);
    let entry = |validator: &Validator| {
        let Validator { name, address, consensus_key, network_key, governance_key } = validator;
        json!({
            "name": name, "address": address, "consensusKey": consensus_key, "networkKey": network_key,
            "governanceKey": governance_key, "signed": signed.contains(name),
        })
    };
    let json = json!({
        "file": document, "chain": chain, "quorum": genesis.validators().quorum(),
        "validators": validators().map(entry).collect::<Vec<_>>(),
    });
    output.answer(&json, || {
        let row = |validator: &Validator| {
            let shown = if signed.contains(&validator.name) { "as it signed" } else { "its contribution was not given" };
            // What others wrote: no control character of it reaches the terminal.
            format!("  {:<16}{:<24}{shown}\n", validator.name, validator.address.escape_default().to_string())
        };
        format!(
            "{} stands on the draft that was signed. Its validators, of which {} decide:\n{}chain {chain}\nLook at the names, and \
             compare the chain's id with the other members, before you start the node. Each --contribution that is given \
             is checked.",
            document.display(),
            genesis.validators().quorum(),
            validators().map(row).collect::<String>()
        )
    })
}

fn read_draft(file: &Path) -> anyhow::Result<Draft> {
    let text = read_text(file, MAX_FILE_BYTES)?;
    Draft::parse(&text).with_context(|| format!("{} is not a draft", file.display()))
}

fn read_contribution(file: &Path) -> anyhow::Result<Contribution> {
    let text = read_text(file, MAX_CONTRIBUTION_BYTES)?;
    Contribution::parse(&text).with_context(|| file.display().to_string())
}

/// A text of at most `most` bytes.
fn read_text(file: &Path, most: usize) -> anyhow::Result<String> {
    let cannot = || format!("cannot read {}", file.display());
    let mut text = String::new();
    let opened = File::open(file).with_context(cannot)?;
    opened.take(most as u64 + 1).read_to_string(&mut text).with_context(cannot)?;
    if text.len() > most {
        bail!("{} has more than {most} bytes: is this the right file?", file.display());
    }
    Ok(text)
}

fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut made = File::create_new(file)
        .with_context(|| format!("cannot make {}: it must not exist yet", file.display()))?;
    made.write_all(text.as_bytes())
        .and_then(|()| made.sync_all())
        .with_context(|| format!("cannot write {}", file.display()))
}
