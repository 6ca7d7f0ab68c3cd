//! `realdid status`: where a node stands, on one screen.

use clap::Args;
use client::api::{ChainStatus, Peer};
use serde_json::json;

use super::Rpc;
use super::output::Output;

/// Show where a node stands: chain, consensus, peers.
///
/// The height is the number of the newest block. The view counts the attempts to make the next ones, each led by
/// another validator. The node is ready when it has caught up and reaches enough validators to decide.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid status --rpc http://127.0.0.1:26601")]
pub(super) struct Status {
    #[command(flatten)]
    rpc: Rpc,
}

impl Status {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let client = self.rpc.client;
        let (status, mut peers) = (client.status().await?, client.peers().await?);
        // Validators first; node2 before node10.
        peers.sort_by_key(|peer| (!peer.validator, peer.name.len(), peer.name.clone()));
        output.answer(&json!({ "status": status, "peers": peers }), || screen(output, &status, &peers))
    }
}

fn screen(output: &Output, status: &ChainStatus, peers: &[Peer]) -> String {
    let state = match &status.not_ready_because {
        None if status.ready => "ready".to_owned(),
        None => "not ready".to_owned(),
        Some(why) => format!("not ready: {why}"),
    };
    let age = match status.seconds_since_block {
        Some(seconds) => format!("{seconds} s ago"),
        None => "none seen since the start".to_owned(),
    };
    let rows = [
        ("state", output.good(status.ready, &state)),
        ("software", status.software.clone()),
        ("chain", status.chain.to_string()),
        ("height", format!("{} (newest block: {age})", output.bold(&status.height.to_string()))),
        ("view", format!("{}, led by {}", status.view, status.leader)),
        (
            "validators",
            format!("{}, of which {} decide (epoch {})", status.validators, status.quorum, status.epoch),
        ),
        (
            "waiting",
            format!("{} transactions, {} batches", status.pending_transactions, status.waiting_batches),
        ),
    ];
    let title = format!("{} on network `{}`", status.node, status.network);
    let mut text = format!("{}\n", output.bold(&title));
    for (name, value) in rows {
        text += &format!("  {name:<11}{value}\n");
    }
    text += &format!(
        "{}\n",
        output.bold(&format!("Peers: {} of {} connected", status.peers_connected, peers.len()))
    );
    for peer in peers {
        let link = match (peer.connected, peer.round_trip_ms) {
            (false, _) => "away".to_owned(),
            (true, None) => "connected".to_owned(),
            (true, Some(millis)) => format!("{millis} ms"),
        };
        let kind = if peer.validator { "" } else { "  observer" };
        let queue = if peer.queued_frames + peer.dropped_frames > 0 {
            format!("  {} queued, {} dropped", peer.queued_frames, peer.dropped_frames)
        } else {
            String::new()
        };
        // Padded before it is painted: colour codes have no width.
        let link = output.good(peer.connected, &format!("{link:<10}"));
        text += &format!("  {:<11}{link} {}{kind}{queue}\n", peer.name, peer.address);
    }
    text
}
