//! Ports, peers, and what nodes at work say: this one, if it runs, and those given by `--rpc`.
//!
//! The nodes given are believed: the operator chose them. Nothing is sent to peers that a stranger could not send.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::Client;
use client::api::{ChainStatus, Governance, Peer};
use ledger::Change;
use ledger::governance::RULES;

use super::local::Folder;
use super::reach::{self, Reached};
use super::report::Report;

/// A block's time and the seconds since are whole ones, and a block takes a moment to become final.
const CLOCK_BLUR_MS: i64 = 2_000;
/// How long a port of this machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The names of peers that a text lists.
const NAMED: usize = 8;

/// What a node at work says.
struct Witness {
    url: String,
    status: ChainStatus,
    peers: Vec<Peer>,
    governance: Governance,
    /// When it said so, by this machine's clock, in milliseconds since 1970.
    asked_at: i64,
}

pub(super) async fn look(folder: &Folder, others: &[Client], report: &mut Report) -> anyhow::Result<()> {
    let own = own(folder, report).await;
    ports(folder, report);
    let mut witnesses = Vec::new();
    for other in others {
        match ask(other).await {
            Ok(witness) => witnesses.push(witness),
            Err(error) => report.unchecked(
                "other node",
                error,
                "give --rpc the JSON-RPC address of a node that runs and is reached from here",
            ),
        }
    }
    chain(folder, &own, &witnesses, report);
    peers(folder, &own, &witnesses, report).await;
    clock(own.iter().chain(&witnesses), report);
    key(folder, &witnesses, report);
    versions(&own, &witnesses, report);
    Ok(())
}

async fn ask(client: &Client) -> Result<Witness, String> {
    let status = client.status().await.map_err(|error| error.to_string())?;
    let asked_at = now_ms();
    let peers = client.peers().await.map_err(|error| error.to_string())?;
    let governance = client.governance().await.map_err(|error| error.to_string())?;
    Ok(Witness { url: client.url().to_owned(), status, peers, governance, asked_at })
}

/// Milliseconds since 1970; 0 where the clock is before.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// This node, if it runs, and whether it answers.
async fn own(folder: &Folder, report: &mut Report) -> Option<Witness> {
    let config = folder.config.as_ref().filter(|_| folder.runs)?;
    if config.rpc_listen.port() == 0 {
        let way_out = "give rpc_listen a port, or this node by --rpc";
        report.unchecked("answers", "the port of its JSON-RPC is chosen anew at each start", way_out);
        return None;
    }
    let url = format!("http://{}", locally(config.rpc_listen));
    let asked = match Client::new(&url) {
        Ok(client) => ask(&client).await,
        Err(error) => Err(error.to_string()),
    };
    match asked {
        Ok(witness) => {
            let (height, node) = (witness.status.height, &witness.status.node);
            match &witness.status.not_ready_because {
                None => report.ok("answers", format!("{node} is ready, at height {height}")),
                Some(why) => report.warn(
                    "answers",
                    format!("{node} is not ready, at height {height}: {why}"),
                    "wait if it catches up; else see to what it says",
                ),
            }
            Some(witness)
        }
        Err(error) => {
            let way_out = "if it has just been started, wait; else its log says why";
            report.fail("answers", format!("the node runs, but does not answer: {error}"), way_out);
            None
        }
    }
}

/// Where a service that listens at `address` is reached from this machine.
fn locally(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Whether something listens at the ports of a node that runs, and nothing at those of one that does not.
fn ports(folder: &Folder, report: &mut Report) {
    let Some(config) = &folder.config else {
        return report.unchecked("ports", "they stand in config.toml", "mend it first");
    };
    let listens = [
        ("p2p_listen", config.p2p_listen),
        ("rpc_listen", config.rpc_listen),
        ("metrics_listen", config.metrics_listen),
    ];
    let problems: Vec<String> = listens
        .iter()
        .filter_map(|(field, address)| {
            let problem = if folder.runs { not_served(*address) } else { not_free(*address) };
            problem.map(|problem| format!("{field} {address} {problem}"))
        })
        .collect();
    let all = listens.map(|(_, address)| address.to_string()).join(", ");
    match (problems.is_empty(), folder.runs) {
        (true, true) => report.ok("ports", all + " are served"),
        (true, false) => report.ok("ports", all + " are free"),
        (false, true) => report.fail(
            "ports",
            problems.join("; "),
            "if the node has just been started, wait; if config.toml was changed since, restart the node",
        ),
        (false, false) => report.fail(
            "ports",
            problems.join("; "),
            "stop what uses it (`ss -ltnp` tells), or change it in config.toml",
        ),
    }
}

fn not_free(address: SocketAddr) -> Option<String> {
    match TcpListener::bind(address) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Some("is used by another program".to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Some("is no address of this machine".to_owned())
        }
        Err(error) => Some(format!("cannot be used: {error}")),
    }
}

fn not_served(address: SocketAddr) -> Option<String> {
    // Port 0 is another one at each start.
    if address.port() == 0 {
        return None;
    }
    let connected = TcpStream::connect_timeout(&locally(address), PATIENCE);
    connected.err().map(|error| format!("is not served, though the node runs: {error}"))
}

/// Whether all speak of the chain that this node's genesis document begins.
fn chain(folder: &Folder, own: &Option<Witness>, witnesses: &[Witness], report: &mut Report) {
    let Some(genesis) = &folder.genesis else { return };
    if own.is_none() && witnesses.is_empty() {
        return;
    }
    let mine = genesis.chain();
    let others = own.iter().chain(witnesses).filter(|witness| witness.status.chain != mine);
    let others: Vec<String> =
        others.map(|witness| format!("{} is on chain {}", witness.url, witness.status.chain)).collect();
    if others.is_empty() {
        report.ok("chain", "all nodes that were asked are on the chain of this genesis.toml");
    } else {
        report.fail(
            "chain",
            format!("genesis.toml begins chain {mine}, but {}", others.join(", ")),
            "the document or the address is another network's: compare `realdid genesis hash` with the other members",
        );
    }
}

/// Whether enough validators are reached: a running node knows, else each address is tried.
async fn peers(folder: &Folder, own: &Option<Witness>, witnesses: &[Witness], report: &mut Report) {
    let way_out = "let TCP through to their addresses (firewall, routes, names), or ask their operators whether they run";
    if let Some(Witness { status, peers, .. }) = own {
        let validators = || peers.iter().filter(|peer| peer.validator);
        let away: Vec<&str> =
            validators().filter(|peer| !peer.connected).map(|peer| peer.name.as_str()).collect();
        let connected = validators().count() - away.len();
        let needed = needed(status.standing != "observing", status.validators, status.quorum);
        return told(connected, away, needed, way_out, report);
    }
    // Where it is known who decides now, that is better than who did at first.
    let validators: Vec<(genesis::PublicKey, String, String)> = match (witnesses.first(), &folder.genesis) {
        (Some(witness), _) => {
            let validators = witness.governance.current.validators.iter();
            validators.map(|it| (it.network_key, it.name.clone(), it.address.clone())).collect()
        }
        (None, Some(genesis)) => {
            let validators = genesis.validators().iter();
            validators.map(|(_, it)| (it.network_key, it.name.clone(), it.address.clone())).collect()
        }
        (None, None) => {
            return report.unchecked("peers", "their addresses stand in genesis.toml", "mend it first");
        }
    };
    let known = witnesses.first().map(|witness| witness.governance.quorum);
    let founded = folder.genesis.as_ref().map(|genesis| genesis.validators().quorum());
    let quorum = known.or(founded).unwrap_or(validators.len());
    let is_validator = validators.iter().any(|(key, ..)| Some(*key) == folder.network_key);
    let needed = needed(is_validator, validators.len(), quorum);
    let others = validators.into_iter().filter(|(key, ..)| Some(*key) != folder.network_key);
    let addresses = others.map(|(_, name, address)| (name, address)).collect();
    let Ok(tried) = tokio::task::spawn_blocking(move || reach::all(addresses)).await else {
        return report.unchecked("peers", "the attempt was cut off", "run doctor again");
    };
    let (reached, away): (Vec<_>, Vec<_>) =
        tried.into_iter().partition(|(_, reached)| matches!(reached, Reached::Node));
    let away: Vec<String> = away.into_iter().map(|(name, why)| format!("{name} ({why})")).collect();
    let away: Vec<&str> = away.iter().map(String::as_str).collect();
    told(reached.len(), away, needed, way_out, report);
}

/// How many validators a node needs beside itself: a validator a quorum with it, an observer one that is honest.
fn needed(is_validator: bool, validators: usize, quorum: usize) -> usize {
    if is_validator { quorum.saturating_sub(1) } else { validators.saturating_sub(quorum) + 1 }
}

fn told(reached: usize, away: Vec<&str>, needed: usize, way_out: &str, report: &mut Report) {
    if away.is_empty() {
        return report.ok("peers", format!("all {reached} other validators are reached"));
    }
    let named = away.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = if away.len() > NAMED { format!(" and {} more", away.len() - NAMED) } else { String::new() };
    let found =
        format!("{reached} other validators are reached, {needed} are needed; not reached: {named}{more}");
    if reached < needed {
        report.fail("peers", found, way_out);
    } else {
        report.warn("peers", found, way_out);
    }
}

/// How far this machine's clock is from the chain's time, which is the validators' together.
fn clock<'a>(witnesses: impl Iterator<Item = &'a Witness>, report: &mut Report) {
    let skews = witnesses.filter_map(|Witness { status, asked_at, .. }| {
        let since_ms = i64::try_from(status.seconds_since_block?.saturating_mul(1_000)).ok()?;
        let chain_ms = i64::try_from(status.time.0).ok()?.saturating_add(since_ms);
        let bound_ms = i64::try_from(status.parameters.clock_bound_ms).unwrap_or(i64::MAX);
        Some((asked_at.saturating_sub(chain_ms), bound_ms))
    });
    // The nearest: a node that has just come back knows its newest block's age least.
    match skews.min_by_key(|(skew_ms, _)| skew_ms.saturating_abs()) {
        Some((skew_ms, bound_ms)) => judge_clock(skew_ms, bound_ms, report),
        None => report.unchecked(
            "clock",
            "no node was asked that has seen a block become final",
            "give another member's node by --rpc; `timedatectl` tells whether the clock is kept right",
        ),
    }
}

fn judge_clock(skew_ms: i64, bound_ms: i64, report: &mut Report) {
    let seconds = format!(
        "{:.1} s {}",
        skew_ms.saturating_abs() as f64 / 1e3,
        if skew_ms < 0 { "behind" } else { "ahead of" }
    );
    let way_out = "keep the clock by NTP (`timedatectl set-ntp true`, or chrony)";
    let off_ms = skew_ms.saturating_abs().saturating_sub(CLOCK_BLUR_MS);
    if off_ms >= bound_ms {
        let found =
            format!("about {seconds} the chain's time; blocks that are off by {bound_ms} ms are refused");
        report.fail("clock", found, way_out);
    } else if off_ms > 0 {
        report.warn("clock", format!("about {seconds} the chain's time"), way_out);
    } else {
        report.ok("clock", format!("within {} s of the chain's time", CLOCK_BLUR_MS / 1_000));
    }
}

/// Whether others see this node's key connected while this node does not run: then another host uses it.
fn key(folder: &Folder, witnesses: &[Witness], report: &mut Report) {
    let Some(key) = folder.network_key else {
        return report.unchecked("key use", "the network key cannot be read", "see to the keys first");
    };
    let mut seen = Vec::new();
    let mut asked = 0_usize;
    for Witness { url, peers, .. } in witnesses {
        // Who does not know the key, or is this node itself, has nothing to say.
        let Some(peer) = peers.iter().find(|peer| peer.key == key) else { continue };
        asked += 1;
        if peer.connected {
            seen.push(format!("{url} is connected with it, at {}", peer.address));
        }
    }
    let by_rpc = "give another member's node by --rpc: it knows who is connected";
    match (folder.runs, seen.is_empty()) {
        _ if asked == 0 => report.unchecked("key use", "no other node that knows this one was asked", by_rpc),
        (false, true) => report.ok("key use", "not in use elsewhere, say the nodes that were asked"),
        (false, false) => report.fail(
            "key use",
            format!("this node does not run, but {}: another host runs with its key", seen.join("; ")),
            "do not start this one: find the other host and stop it first. Two that sign with one key break the rules for all",
        ),
        (true, true) => report.warn(
            "key use",
            "this node runs, but none of the nodes that were asked is connected with it",
            "see to `peers`",
        ),
        (true, false) => report.ok(
            "key use",
            "in use by a running node, as it should be; were there two, the log of those they connect to would say so",
        ),
    }
}

/// Whether builds differ, and whether this one has the rules that are voted on.
fn versions(own: &Option<Witness>, witnesses: &[Witness], report: &mut Report) {
    let mine = concat!("realdid ", env!("CARGO_PKG_VERSION"));
    let asked = own.iter().chain(witnesses);
    let proposed =
        asked.clone().flat_map(|witness| &witness.governance.proposals).filter_map(|proposal| match proposal
            .change
        {
            Change::ActivateRules { version, height } if version > RULES => Some((version, height)),
            _ => None,
        });
    if let Some((version, height)) = proposed.max() {
        report.warn(
            "rules",
            format!("rules {version} are voted on, from block {height} on, and this build has rules {RULES}"),
            "install a build that has them before that block: this one stops there",
        );
    } else {
        report.ok("rules", format!("this build has rules {RULES}"));
    }
    if let Some(running) = own.as_ref().map(|own| &own.status.software).filter(|running| *running != mine) {
        let way_out = "restart the node, to run what is installed";
        return report.warn("version", format!("{mine} is installed, {running} runs"), way_out);
    }
    let others: Vec<String> = asked
        .filter(|witness| witness.status.software != mine)
        .map(|witness| format!("{} runs {}", witness.url, witness.status.software))
        .collect();
    if others.is_empty() {
        report.ok("version", mine);
    } else {
        let way_out = "run the same build everywhere, but for the days of an upgrade";
        report.warn("version", format!("this is {mine}, but {}", others.join(", ")), way_out);
    }
}

#[cfg(test)]
mod tests;
