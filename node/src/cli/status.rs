//! `realdid status`: where a node stands, on one screen.

use clap::Args;
use client::api::Peer;

use super::output::Output;
use super::watched::{Node, Seen, ahead, bytes, millis, missing, skew_ms};

/// Show where a node stands: chain, consensus, peers, and what needs attention.
///
/// The height is the number of the newest block. The view counts the attempts to make the next ones, each led by
/// another validator. The node is ready when it has caught up and reaches enough validators to decide. A clock's error
/// shows in what the others propose: there is none to tell on an idle network. With --home the disk is shown too.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  realdid status --rpc http://127.0.0.1:26601\n  realdid status --home ./localnet/node0"
)]
pub(super) struct Status {
    #[command(flatten)]
    node: Node,
}

impl Status {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let seen = self.node.watch()?.look().await?;
        output.answer(&seen, || screen(output, &seen))
    }
}

fn screen(output: &Output, seen: &Seen) -> String {
    let Seen { status, peers, disk, alarms } = seen;
    let state = match &status.not_ready_because {
        None if status.ready => "ready".to_owned(),
        None => "not ready".to_owned(),
        Some(why) => format!("not ready: {why}"),
    };
    let age = match status.seconds_since_block {
        Some(seconds) => format!("{seconds} s ago"),
        None => "none seen since the start".to_owned(),
    };
    let away = missing(peers);
    let mut rows = vec![
        ("state", output.good(status.ready, &state)),
        ("software", status.software.clone()),
        ("chain", status.chain.to_string()),
        ("height", format!("{} (newest block: {age})", output.bold(&status.height.to_string()))),
        ("view", format!("{}, led by {}", status.view, status.leader)),
        (
            "validators",
            format!("{}, of which {} decide (epoch {})", status.validators, status.quorum, status.epoch),
        ),
        ("missing", if away.is_empty() { "nobody".to_owned() } else { output.good(false, &away.join(", ")) }),
        (
            "lag",
            format!(
                "{} blocks to execute, {} without a signed result",
                status.lag,
                status.height.since(status.certified_height)
            ),
        ),
        (
            "waiting",
            format!("{} transactions, {} batches", status.pending_transactions, status.waiting_batches),
        ),
        (
            "clock",
            skew_ms(peers).map_or_else(
                || "no proposal of another validator has shown it yet".to_owned(),
                |skew| format!("{} {} the others' (their median)", millis(skew), ahead(skew)),
            ),
        ),
    ];
    if let Some(room) = disk {
        let text = format!("{} free; the node needs {}", bytes(room.free_bytes), bytes(room.floor_bytes));
        rows.push(("disk", output.good(!room.is_low(), &text)));
    }
    let title = format!("{} on network `{}`", status.node, status.network);
    let mut text = format!("{}\n", output.bold(&title));
    for (name, value) in rows {
        text += &format!("  {name:<11}{value}\n");
    }
    text += &format!(
        "{}\n",
        output.bold(&format!("Peers: {} of {} connected", status.peers_connected, peers.len()))
    );
    text.extend(peers.iter().map(|peer| line(output, peer)));
    if !alarms.is_empty() {
        text += &format!("{}\n", output.bold("Alarms"));
        text.extend(alarms.iter().map(|alarm| format!("  {}\n", output.good(false, alarm))));
    }
    text
}

/// What is known of a peer.
fn line(output: &Output, peer: &Peer) -> String {
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
    format!("  {:<11}{link} {}{kind}{queue}\n", peer.name, peer.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watched::tests::seen;

    #[test]
    fn one_screen_shows_who_is_missing_the_clock_the_disk_and_the_alarms() {
        let mut seen = seen();
        seen.peers[1].connected = false;
        seen.alarms = vec!["not connected: node2".into()];
        let text = screen(&Output::new(true), &seen);
        for part in [
            "missing    node2",
            "clock      3 ms ahead of the others'",
            "disk       8.0 GiB free; the node needs 1.0 GiB",
            "lag        0 blocks to execute, 1 without a signed result",
            "Alarms\n  not connected: node2",
            "node2      away       127.0.0.1:26620",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(text.lines().count() <= 24, "{text}");
        seen.disk = None;
        seen.alarms.clear();
        let text = screen(&Output::new(true), &seen);
        assert!(!text.contains("disk") && !text.contains("Alarms"), "{text}");
    }
}
