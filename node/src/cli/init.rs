//! `realdid init`: the folder of one new node, in its operator's own hands.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use client::KeyFile;
use genesis::{Genesis, PublicKey};
use serde_json::json;

use super::Ending;
use super::output::Output;
use super::passphrase::Sealing;
use crate::config::{Config, KeysConfig};
use crate::home::{Home, NODE_ROLES};

/// Make the folder of a new node: fresh keys, settings and, if there is one yet, the network's genesis document.
///
/// For an operator who founds a network with others (`realdid genesis contribute` is next) or joins one that runs
/// (`realdid gov ready`, or `realdid start` as an observer). The keys are encrypted, and never leave the folder. The
/// settings have their defaults and explain themselves.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  realdid init --home ./node --p2p-listen 0.0.0.0:26600 --passphrase-file ./passphrase\n  \
                        realdid init --home ./node --genesis ./genesis.toml"
)]
pub(super) struct Init {
    /// The folder to make; it must be empty or absent.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: PathBuf,
    /// The network's genesis document, to be copied into the folder; where the network is yet to be founded, it comes later.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Where the other nodes reach this one: an address of this host.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:26600")]
    p2p_listen: SocketAddr,
    /// Where JSON-RPC and DID Resolution are served. Anyone who reaches it may submit and resolve.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:26601")]
    rpc_listen: SocketAddr,
    /// Where metrics and health are served.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:26602")]
    metrics_listen: SocketAddr,
    #[command(flatten)]
    sealing: Sealing,
}

impl Init {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let mut config = Config::at(self.p2p_listen, self.rpc_listen, self.metrics_listen);
        config.check().map_err(|error| Ending::CommandLine(error.to_string()))?;
        if let Some(file) = &self.sealing.passphrase_file {
            let file =
                std::path::absolute(file).with_context(|| format!("cannot look for {}", file.display()))?;
            if file.to_str().is_none() {
                let text = format!("--passphrase-file {} is not a name in UTF-8", file.display());
                return Err(Ending::CommandLine(text).into());
            }
            config.keys = KeysConfig { passphrase_file: Some(file) };
        }
        let genesis = self.genesis.as_deref().map(super::genesis::read).transpose()?;
        let passphrase = self.sealing.passphrase()?;
        let keys = NODE_ROLES.map(KeyFile::generate);
        let document = genesis.as_ref().map(Genesis::to_toml);
        let home = Home::found(&self.home, &keys, passphrase.as_ref(), document.as_deref(), &config)?;
        let public: Vec<(&str, PublicKey)> =
            keys.iter().map(|key| (key.role.name(), key.secret.public())).collect();
        let listed: serde_json::Map<_, _> =
            public.iter().map(|(role, key)| ((*role).to_owned(), json!(key))).collect();
        let json = json!({
            "home": home.path(), "chain": genesis.as_ref().map(Genesis::chain), "keys": listed,
            "encrypted": passphrase.is_some(),
        });
        output.answer(&json, || {
            let folder = home.path().display();
            let mut text = format!("{} is made.\n", output.bold(&format!("The folder {folder}")));
            for (role, key) in public {
                text += &format!("{role:<11} {key}\n");
            }
            text += "\nKeep a copy of its keys in a safe place";
            text += if passphrase.is_some() { ", and the passphrase elsewhere.\n" } else { ": they are in the clear.\n" };
            text += &match &genesis {
                None => format!(
                    "Next, to found a network with others:\n  realdid genesis contribute --home {folder} --draft FILE \
                     --name NAME --address HOST:PORT --out FILE\nor bring the genesis document of one that runs to \
                     {folder}/genesis.toml\n"
                ),
                Some(genesis) => format!(
                    "It is for chain {}. To join as a validator:\n  realdid gov ready --home {folder} --name NAME \
                     --address HOST:PORT --out FILE\nTo observe, give the network key to validators, then:\n  \
                     realdid start --home {folder}\n",
                    genesis.chain()
                ),
            };
            text
        })
    }
}
