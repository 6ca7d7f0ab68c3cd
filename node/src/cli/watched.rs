//! What `realdid status` and `realdid top` look at, and what of it needs somebody's attention.

use std::path::PathBuf;

use clap::Args;
use client::Client;
use client::api::{ChainStatus, Peer};
use serde::Serialize;

use super::node_at;
use crate::admin;
use crate::disk::Space;
use crate::home::Home;

/// Something that waits for so long waits for too long.
const WAITS_SECONDS: u64 = 5;
/// A node that is so many blocks behind is told to be.
const LAG_BLOCKS: u64 = 32;
/// So many results without a quorum's signature are too many.
const CHECKPOINT_BLOCKS: u64 = 64;
/// A clock that is further off is wrong.
const SKEW_MS: u64 = 1_000;

/// Which node to look at.
#[derive(Debug, Args)]
pub(super) struct Node {
    /// The address of its JSON-RPC [default: what config.toml in --home says, or http://127.0.0.1:26601].
    #[arg(long = "rpc", value_name = "URL", env = "REALDID_RPC", value_parser = node_at)]
    client: Option<Client>,
    /// Its folder, where it runs on this machine: its disk is shown too, which is no other's business.
    #[arg(long, value_name = "DIR", env = "REALDID_HOME")]
    home: Option<PathBuf>,
}

/// The node to look at, reached.
pub(super) struct Watch {
    client: Client,
    home: Option<Home>,
}

/// What was seen.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Seen {
    pub(super) status: ChainStatus,
    /// Validators first; node2 before node10.
    pub(super) peers: Vec<Peer>,
    /// Only where the node's folder was given, and it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disk: Option<Space>,
    pub(super) alarms: Vec<String>,
}

impl Node {
    pub(super) fn watch(self) -> anyhow::Result<Watch> {
        let home = self.home.map(Home::open).transpose()?;
        let client = match (self.client, &home) {
            (Some(client), _) => client,
            (None, Some(home)) => {
                let mut address = home.config()?.rpc_listen;
                if address.ip().is_unspecified() {
                    address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
                }
                node_at(&format!("http://{address}"))?
            }
            (None, None) => node_at("http://127.0.0.1:26601")?,
        };
        Ok(Watch { client, home })
    }
}

impl Watch {
    /// Looks now.
    pub(super) async fn look(&self) -> anyhow::Result<Seen> {
        let (status, mut peers) = (self.client.status().await?, self.client.peers().await?);
        peers.sort_by_key(|peer| (!peer.validator, peer.name.len(), peer.name.clone()));
        // Not on the thread that watches the keyboard and signals.
        let room = |home: &Home| {
            let home = home.clone();
            tokio::task::spawn_blocking(move || admin::room(&home))
        };
        let (disk, untold) = match self.home.as_ref().map(room) {
            Some(room) => match room.await? {
                Ok(disk) => (disk, None),
                Err(error) => (None, Some(format!("how much of the disk is free is not told: {error:#}"))),
            },
            None => (None, None),
        };
        let mut alarms = alarms(&status, &peers, disk);
        alarms.extend(untold);
        Ok(Seen { status, peers, disk, alarms })
    }
}

/// What needs somebody's attention, the worst first.
fn alarms(status: &ChainStatus, peers: &[Peer], disk: Option<Space>) -> Vec<String> {
    let mut alarms = Vec::new();
    if status.contradictions > 0 {
        alarms.push("a validator contradicted itself: chain_evidence names it".to_owned());
    }
    if status.double_keys > 0 {
        alarms.push("a key runs on two hosts: the node's log names them".to_owned());
    }
    if let Some(why) = status.not_ready_because.as_ref().filter(|_| !status.ready) {
        alarms.push(format!("not ready: {why}"));
    }
    if let Some(seconds) = status.waiting_seconds.filter(|seconds| *seconds > WAITS_SECONDS) {
        alarms.push(format!("something has waited for {seconds} s, and no block became final"));
    }
    let missing = missing(peers);
    if !missing.is_empty() {
        alarms.push(format!("not connected: {}", missing.join(", ")));
    }
    if status.lag > LAG_BLOCKS {
        alarms.push(format!("{} blocks behind", status.lag));
    }
    let unsigned = status.height.since(status.certified_height);
    if unsigned > CHECKPOINT_BLOCKS {
        alarms.push(format!("no quorum has signed the results of the last {unsigned} blocks"));
    }
    if let Some(skew) = skew_ms(peers).filter(|skew| skew.unsigned_abs() > SKEW_MS) {
        alarms.push(format!("this node's clock is {} {} the others'", millis(skew), ahead(skew)));
    }
    if let Some(room) = disk.filter(Space::is_low) {
        alarms.push(format!(
            "{} free on the disk; the node needs {}",
            bytes(room.free_bytes),
            bytes(room.floor_bytes)
        ));
    }
    alarms
}

/// The validators that there is no connection to.
pub(super) fn missing(peers: &[Peer]) -> Vec<&str> {
    let away = peers.iter().filter(|peer| peer.validator && !peer.connected);
    away.map(|peer| peer.name.as_str()).collect()
}

/// By how many milliseconds this node's clock is ahead of the others': the median, which a few wrong clocks do not move.
pub(super) fn skew_ms(peers: &[Peer]) -> Option<i64> {
    let mut skews: Vec<i64> = peers.iter().filter_map(|peer| peer.clock_skew_ms).collect();
    skews.sort_unstable();
    skews.get(skews.len().checked_sub(1)? / 2).copied()
}

pub(super) const fn ahead(skew_ms: i64) -> &'static str {
    if skew_ms < 0 { "behind" } else { "ahead of" }
}

/// A time, without its sign.
pub(super) fn millis(millis: i64) -> String {
    match millis.unsigned_abs() {
        millis @ 0..10_000 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1_000),
    }
}

/// An amount of bytes for people.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes >= 1 << shift);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(shift, unit)| format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use genesis::{Digest, Epoch, Height, Parameters, PublicKey, UnixMillis, View};

    use super::*;

    /// A node of four that is well.
    pub(in crate::cli) fn seen() -> Seen {
        let status = ChainStatus {
            network: "test".into(),
            chain: Digest::ZERO,
            predecessor: None,
            node: "node0".into(),
            standing: "voting".into(),
            software: "realdid 0.1.0".into(),
            height: Height(300),
            digest: Digest::ZERO,
            time: UnixMillis(1_000),
            view: View(301),
            leader: "node1".into(),
            epoch: Epoch(2),
            certified_height: Height(299),
            validators: 4,
            quorum: 3,
            peers_connected: 3,
            ready: true,
            not_ready_because: None,
            delta_ms: 400,
            pending_transactions: 0,
            waiting_batches: 0,
            seconds_since_block: Some(1),
            lag: 0,
            waiting_seconds: None,
            contradictions: 0,
            double_keys: 0,
            transactions: 1_000,
            parameters: Parameters::default(),
        };
        let peer = |number: u8, skew| Peer {
            name: format!("node{number}"),
            key: PublicKey::Ed25519([number; 32]),
            address: format!("127.0.0.1:266{number}0"),
            connected: true,
            validator: true,
            round_trip_ms: Some(u64::from(number)),
            clock_skew_ms: Some(skew),
            queued_frames: 0,
            dropped_frames: 0,
        };
        let peers = vec![peer(1, 3), peer(2, -2), peer(3, 3_600_000)];
        Seen {
            status,
            peers,
            disk: Some(Space { free_bytes: 8 << 30, floor_bytes: 1 << 30 }),
            alarms: Vec::new(),
        }
    }

    #[test]
    fn a_node_that_is_well_has_no_alarm_though_one_validators_clock_is_wrong() {
        let Seen { status, peers, disk, .. } = seen();
        assert_eq!(alarms(&status, &peers, disk), Vec::<String>::new());
        assert_eq!(skew_ms(&peers), Some(3));
        assert_eq!(skew_ms(&[]), None);
    }

    #[test]
    fn each_trouble_has_an_alarm_that_names_it() {
        let Seen { status, peers, .. } = seen();
        let with = |change: fn(&mut ChainStatus, &mut Vec<Peer>, &mut Option<Space>)| {
            let (mut status, mut peers, mut disk) = (status.clone(), peers.clone(), None);
            change(&mut status, &mut peers, &mut disk);
            let [alarm] = <[String; 1]>::try_from(alarms(&status, &peers, disk)).unwrap();
            alarm
        };
        assert!(with(|status, _, _| status.contradictions = 1).contains("chain_evidence"));
        assert!(with(|status, _, _| status.double_keys = 1).contains("two hosts"));
        let why = with(|status, _, _| {
            status.ready = false;
            status.not_ready_because = Some("catching up".into());
        });
        assert_eq!(why, "not ready: catching up");
        assert!(with(|status, _, _| status.waiting_seconds = Some(6)).contains("6 s"));
        assert_eq!(with(|_, peers, _| peers[1].connected = false), "not connected: node2");
        assert!(with(|status, _, _| status.lag = 33).contains("33 blocks"));
        assert!(with(|status, _, _| status.certified_height = Height(1)).contains("299 blocks"));
        let skew = with(|_, peers, _| peers.iter_mut().for_each(|peer| peer.clock_skew_ms = Some(-61_000)));
        assert_eq!(skew, "this node's clock is 61 s behind the others'");
        let low = with(|_, _, disk| *disk = Some(Space { free_bytes: 3 << 20, floor_bytes: 2 << 20 }));
        assert_eq!(low, "3.0 MiB free on the disk; the node needs 2.0 MiB");
    }
}
