//! `realdid testnet`: the folders of a network on one machine.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use client::{KeyFile, Role};
use genesis::validators::MAX_VALIDATORS;
use genesis::{Genesis, Parameters, PublicKey, UnixMillis, Validator};
use serde_json::json;

use super::Ending;
use super::output::Output;
use crate::config::Config;
use crate::home::{Home, NODE_ROLES};

/// Where the ports of a node stand from one another.
const PORTS_PER_NODE: u32 = 10;
/// Each of them connects to every validator.
const MAX_OBSERVERS: i64 = 64;

/// What the folders are called, with a number.
const VALIDATOR: &str = "node";
const OBSERVER: &str = "observer";

/// Make the folders of a network that runs on this machine.
///
/// Each node gets a folder with settings (config.toml), the genesis document (genesis.toml: what all nodes agree on)
/// and fresh keys. Nothing is started: that is `realdid start`, once for each folder.
///
/// All listen on 127.0.0.1. Node 0 has three ports from --base-port on: 26600 for the other nodes, 26601 for JSON-RPC
/// (--rpc of other commands), 26602 for metrics and health. Each next node has them 10 higher, the observers after the
/// validators.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid testnet --validators 4 --dir ./localnet\n  \
                        realdid start --home ./localnet/node0        (and node1, node2, node3, each in a terminal)")]
pub(super) struct Testnet {
    /// How many validators: nodes that decide. Four are the fewest that withstand a faulty one.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=MAX_VALIDATORS as i64))]
    validators: u32,
    /// How many observers: nodes that follow the chain, check all of it and serve reads, and have no vote.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=MAX_OBSERVERS))]
    observers: u32,
    /// The folder to make. It must be empty or absent, unless --force is given.
    #[arg(long, value_name = "DIR", default_value = "./localnet")]
    dir: PathBuf,
    /// The first port of node 0.
    #[arg(long, value_name = "PORT", default_value_t = 26_600, value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// The network's name: the third part of its DIDs. 2 to 32 of a-z and 0-9, starting with a letter.
    #[arg(long, value_name = "NAME", default_value = "test")]
    network: String,
    /// Replace the testnet in DIR, with its keys and its chain. Other files stay.
    #[arg(long)]
    force: bool,
}

impl Testnet {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let last = u32::from(self.base_port) + PORTS_PER_NODE * (self.nodes() - 1) + 2;
        if last > u32::from(u16::MAX) {
            let text = format!(
                "{} nodes from --base-port {} need ports up to {last}, but the last one is {}: choose a lower \
                 --base-port",
                self.nodes(),
                self.base_port,
                u16::MAX,
            );
            return Err(Ending::CommandLine(text).into());
        }
        let keys: Vec<[KeyFile; 3]> = (0..self.nodes()).map(|_| NODE_ROLES.map(KeyFile::generate)).collect();
        let (validators, observers) = keys.split_at(self.validators as usize);
        let validators =
            validators.iter().enumerate().map(|(index, keys)| self.validator(index as u32, keys));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970: set it")?;
        let time = UnixMillis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        // All but the name is made here.
        let genesis = Genesis::new(self.network.clone(), time, Parameters::default(), validators.collect())
            .map_err(|error| Ending::CommandLine(error.to_string()))?;
        let document = genesis.to_toml();
        let observers: Vec<PublicKey> = observers.iter().filter_map(network_key).collect();
        self.clear()?;

        let bar = output.progress(u64::from(self.nodes()), "writing the nodes' folders");
        for (index, keys) in keys.iter().enumerate() {
            self.write(index as u32, keys, &document, &observers)
                .with_context(|| format!("cannot make {}", self.home(index as u32).path().display()))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.report(output, &genesis)
    }

    fn report(&self, output: &Output, genesis: &Genesis) -> anyhow::Result<()> {
        let nodes: Vec<_> = (0..self.nodes())
            .map(|index| {
                let [p2p, rpc, metrics] = self.addresses(index);
                json!({
                    "name": self.name(index),
                    "role": if self.is_validator(index) { "validator" } else { "observer" },
                    "home": self.home(index).path(),
                    "p2p": p2p,
                    "rpc": format!("http://{rpc}"),
                    "metrics": format!("http://{metrics}"),
                })
            })
            .collect();
        let json = json!({ "network": self.network, "chain": genesis.chain(), "nodes": nodes });
        output.answer(&json, || {
            let [_, rpc, _] = self.addresses(0);
            let (dir, count) = (self.dir.display(), self.nodes());
            let mut text = format!(
                "{} is ready in {dir}: {} validators, {} of them decide{}.\nchain {}\n",
                output.bold(&format!("Network `{}`", self.network)),
                self.validators,
                genesis.validators().quorum(),
                match self.observers {
                    0 => String::new(),
                    1 => "; 1 observer".to_owned(),
                    observers => format!("; {observers} observers"),
                },
                genesis.chain(),
            );
            if self.validators < 4 {
                text += "\nFor development only: with fewer than 4 validators one fault stops the network.\n";
            }
            text += "\nStart each node in a terminal of its own:\n";
            for index in 0..count.min(8) {
                text += &format!("  realdid start --home {}\n", self.home(index).path().display());
            }
            if count > 8 {
                text += &format!("  … up to {}\n", self.name(count - 1));
            }
            text += &format!(
                "Then look at the network and register a DID:\n  realdid status --rpc http://{rpc}\n  \
                 realdid did create --rpc http://{rpc}\n"
            );
            text
        })
    }

    /// Makes room, if that is allowed.
    fn clear(&self) -> anyhow::Result<()> {
        let dir = &self.dir;
        if !dir.exists() {
            return Ok(());
        }
        let failed = || format!("cannot read {}", dir.display());
        let entries: Vec<PathBuf> = fs::read_dir(dir)
            .with_context(failed)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(failed)?;
        if entries.is_empty() {
            return Ok(());
        }
        if !self.force {
            bail!(
                "{} is not empty: choose another --dir, or replace the testnet in it with --force",
                dir.display()
            );
        }
        let nodes: Vec<&PathBuf> = entries.iter().filter(|path| is_node(path)).collect();
        // All are claimed before the first is removed.
        let mut locks = Vec::new();
        for path in &nodes {
            if let Ok(home) = Home::open(path.as_path()) {
                locks.push(home.lock()?);
            }
        }
        for path in nodes {
            fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    fn write(
        &self,
        index: u32,
        keys: &[KeyFile; 3],
        genesis: &str,
        observers: &[PublicKey],
    ) -> anyhow::Result<()> {
        let [p2p, rpc, metrics] = self.addresses(index);
        let mut config = Config::at(p2p, rpc, metrics);
        if self.is_validator(index) {
            config.observers = observers.to_vec();
        }
        // In the clear: it is a network for tests.
        Home::found(self.home(index).path(), keys, None, Some(genesis), &config)?;
        Ok(())
    }

    fn validator(&self, index: u32, keys: &[KeyFile; 3]) -> Validator {
        let [consensus_key, network_key, governance_key]: [PublicKey; 3] =
            keys.each_ref().map(|key| key.secret.public());
        let [p2p, ..] = self.addresses(index);
        Validator {
            name: self.name(index),
            consensus_key,
            network_key,
            governance_key,
            address: p2p.to_string(),
        }
    }

    /// How many nodes there are: the validators come first.
    const fn nodes(&self) -> u32 {
        self.validators + self.observers
    }

    const fn is_validator(&self, index: u32) -> bool {
        index < self.validators
    }

    fn name(&self, index: u32) -> String {
        match index.checked_sub(self.validators) {
            None => format!("{VALIDATOR}{index}"),
            Some(observer) => format!("{OBSERVER}{observer}"),
        }
    }

    fn home(&self, index: u32) -> Home {
        Home::new(self.dir.join(self.name(index)))
    }

    /// Where node `index` serves peers, JSON-RPC and metrics. `run` checked that the ports exist.
    fn addresses(&self, index: u32) -> [SocketAddr; 3] {
        let first = u32::from(self.base_port) + PORTS_PER_NODE * index;
        [0, 1, 2].map(|offset| {
            let port = u16::try_from(first + offset).unwrap_or(u16::MAX);
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
        })
    }
}

fn network_key(keys: &[KeyFile; 3]) -> Option<PublicKey> {
    keys.iter().find(|key| key.role == Role::Network).map(|key| key.secret.public())
}

/// Whether `path` is a folder that `testnet` made.
fn is_node(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix(VALIDATOR).or_else(|| name.strip_prefix(OBSERVER)));
    number.is_some_and(|number| number.parse::<u32>().is_ok()) && path.is_dir()
}

#[cfg(test)]
mod tests;
