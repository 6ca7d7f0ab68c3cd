//! What the node's folder and its disk say: settings, genesis document, keys, room and speed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use client::private_file;
use genesis::{Genesis, PublicKey};

use super::disk::{Speed, measure};
use super::report::Report;
use crate::config::{Config, DiskConfig};
use crate::disk::{Disk, Room};
use crate::home::{Home, HomeError, KeyRole};

/// Above it, blocks take noticeably longer: three records stand between a proposal and its finality.
const SLOW: Duration = Duration::from_millis(20);

/// The folder as far as it can be read.
pub(super) struct Folder {
    pub config: Option<Config>,
    pub genesis: Option<Genesis>,
    pub network_key: Option<PublicKey>,
    /// A process has it.
    pub runs: bool,
}

pub(super) fn look(home: &Home, report: &mut Report) -> Folder {
    let config = config(home, report);
    let genesis = genesis(home, report);
    let [consensus_key, network_key] = keys(home, report);
    if let (Some(genesis), Some(consensus), Some(network)) = (&genesis, consensus_key, network_key) {
        member(genesis, consensus, network, report);
    }
    let runs = runs(home, report);
    room(home, config.as_ref(), runs, report);
    speed(home, report);
    Folder { config, genesis, network_key, runs }
}

fn config(home: &Home, report: &mut Report) -> Option<Config> {
    match home.config() {
        Ok(config) => {
            report.ok("config", home.config_path().display().to_string());
            Some(config)
        }
        Err(error) => {
            let way_out =
                "mend the line that it names; `realdid testnet --dir DIR` makes a file with all settings";
            report.fail("config", error.to_string(), way_out);
            None
        }
    }
}

fn genesis(home: &Home, report: &mut Report) -> Option<Genesis> {
    match home.genesis() {
        Ok(genesis) => {
            let (network, chain) = (genesis.network(), genesis.chain());
            report.ok("genesis", format!("network `{network}`, chain {chain}"));
            Some(genesis)
        }
        Err(error) => {
            let way_out = "copy genesis.toml from another member, and compare `realdid genesis hash` with it";
            report.fail("genesis", error.to_string(), way_out);
            None
        }
    }
}

/// The public keys that the node itself needs; and whether others may read the files, or the node may not. Encrypted ones are not
/// opened.
fn keys(home: &Home, report: &mut Report) -> [Option<PublicKey>; 2] {
    let mut problems = Vec::new();
    if let Err(error) = private_file::check_folder(&home.keys()) {
        problems.push(error.to_string());
    }
    let mut read = |role| match home.public_key(role) {
        Ok(key) => Some(key),
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    };
    let keys = [KeyRole::Consensus, KeyRole::Network].map(&mut read);
    // The governance key may be elsewhere, and had better be.
    match home.public_key(KeyRole::Governance) {
        Ok(_) | Err(HomeError::Missing { .. }) => {}
        Err(error) => problems.push(error.to_string()),
    }
    let owner = |path: &std::path::Path| fs::metadata(path).map(|file| file.uid()).ok();
    if let Some(of_home) = owner(home.path()) {
        for path in [KeyRole::Consensus, KeyRole::Network].map(|role| home.key_path(role)) {
            if let Some(other) = owner(&path).filter(|other| *other != of_home) {
                problems.push(format!(
                    "{} belongs to user {other} and the node's folder to {of_home}: run chown {of_home} '{}'",
                    path.display(),
                    path.display()
                ));
            }
        }
    }
    if problems.is_empty() {
        report.ok("keys", format!("in {}, for its owner alone", home.keys().display()));
    } else {
        let way_out = "as it says; a key that others may have read is to be replaced: docs/validators.md";
        report.fail("keys", problems.join("; "), way_out);
    }
    keys
}

/// Whether the keys fit each other. Who has joined since the beginning is not in the genesis document.
fn member(genesis: &Genesis, consensus: PublicKey, network: PublicKey, report: &mut Report) {
    let validators = genesis.validators();
    let name = |index| validators.get(index).map_or("", |member| member.name.as_str());
    match (validators.by_consensus_key(&consensus), validators.by_network_key(&network)) {
        (Some(one), Some(other)) if one == other => {
            report.ok("member", format!("the founding validator {}", name(one)));
        }
        (None, None) => report.ok("member", "no founding validator: one that joined since, or an observer"),
        (one, other) => {
            let (one, other) = (one.map_or("nobody's", name), other.map_or("nobody's", name));
            report.warn(
                "member",
                format!("as founded, the consensus key is {one} and the network key {other}"),
                "right only if a vote has replaced one of them; else bring back the files that belong together",
            );
        }
    }
}

fn room(home: &Home, config: Option<&Config>, runs: bool, report: &mut Report) {
    let floor = config.map_or_else(DiskConfig::default, |config| config.disk);
    let disk = match Disk::look_at(home, floor) {
        Ok(disk) => disk,
        Err(error) => return report.unchecked("disk room", error.to_string(), "look at it with `df`"),
    };
    match (disk.room(), if runs { disk.full() } else { disk.full_for_a_start() }) {
        (_, Some(full)) => report.fail("disk room", full.to_string(), "as it says"),
        (Room::Scarce, _) => report.warn(
            "disk room",
            format!("{} are free: less than twice the floor, below which the node stops", disk.free()),
            "free some, give it a larger disk, or keep fewer blocks (keep_blocks under [history])",
        ),
        _ => report.ok("disk room", format!("{} are free", disk.free())),
    }
}

fn speed(home: &Home, report: &mut Report) {
    let data = home.data();
    let folder = if data.is_dir() { data } else { home.path().to_owned() };
    match measure(&folder) {
        Ok(Speed { p50, p99 }) => {
            let found = format!(
                "4 KiB are durable after {:.2} ms (median), {:.2} ms (99 of 100)",
                p50.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3
            );
            if p50 > SLOW {
                let way_out = "give data/ a disk of its own, local and solid-state: each vote waits for it";
                report.warn("disk speed", found, way_out);
            } else {
                report.ok("disk speed", found);
            }
        }
        Err(error) => report.fail(
            "disk speed",
            format!("cannot write to {}: {error}", folder.display()),
            "let the node's user write there (chown), or mount it read-write; run doctor as that user",
        ),
    }
}

/// Whether a process has the folder. Nothing is made here: a lock that belonged to another user would keep the node out.
fn runs(home: &Home, report: &mut Report) -> bool {
    if !home.path().join("lock").exists() {
        report.ok("process", "not running, and never was");
        return false;
    }
    match home.lock() {
        Ok(_) => {
            report.ok("process", "not running");
            false
        }
        Err(HomeError::Running { .. }) => {
            report.ok("process", "running");
            true
        }
        Err(error) => {
            let way_out = "run doctor as the node's user";
            report.unchecked("process", error.to_string(), way_out);
            false
        }
    }
}

#[cfg(test)]
mod tests;
