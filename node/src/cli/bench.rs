//! `realdid bench`: registrations at a fixed rate, and how long each takes to be final.
//!
//! The load is open: what is due is sent when it is due, whether or not earlier ones are final. Latency counts from
//! the moment that a transaction was due, so a client or node that falls behind shows up as latency and is not left
//! out. Every figure comes from receipts that were seen.

mod load;
mod report;
mod sign;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use client::Client;
use client::wallet::Terms;

use super::output::Output;
use super::{Ending, duration, node_at};
use load::Load;

/// The most transactions in one run: they are signed beforehand and kept in memory, about a kilobyte each.
const MAX_TRANSACTIONS: u64 = 4_000_000;

/// Register DIDs at a fixed rate; print throughput and latency.
///
/// Signs everything first, then sends what is due every 10 ms, spread over the nodes, and waits for every receipt.
/// The keys are thrown away. Ctrl-C prints what there is. Exit code 3 where a transaction is left without one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid bench --rpc http://127.0.0.1:26601,http://127.0.0.1:26611 \
                        --rate 1000 --seconds 10")]
pub(super) struct Bench {
    /// The nodes' JSON-RPC, with commas between them.
    #[arg(
        long,
        value_name = "URL,URL",
        env = "REALDID_RPC",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:26601",
        value_parser = node_at
    )]
    rpc: Vec<Client>,
    /// Transactions a second, over all nodes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// How long to send.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// The most HTTP connections to each node; one half sends, the other waits for receipts.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    connections: u16,
    /// How long to wait for the last receipts.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain: Duration,
}

impl Bench {
    pub(super) fn run(self, output: &Output) -> anyhow::Result<()> {
        let count = self.rate.saturating_mul(self.seconds);
        if count > MAX_TRANSACTIONS {
            return Err(Ending::CommandLine(format!(
                "--rate {} for --seconds {} is {count} transactions, but a run has at most {MAX_TRANSACTIONS}",
                self.rate, self.seconds,
            ))
            .into());
        }
        let clients = self.rpc;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let interrupted = Arc::clone(&stopped);
        runtime.spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupted.store(true, Ordering::Relaxed);
            }
        });

        let terms = runtime.block_on(terms(&clients))?;
        let bar = output.progress(count, "signing");
        let transactions = sign::registrations(&terms, count as usize, &bar, &stopped);
        bar.finish_and_clear();
        if stopped.load(Ordering::Relaxed) {
            return Err(Ending::Interrupted("; nothing was sent").into());
        }
        let load = Load::new(transactions, self.rate, clients, self.connections, self.drain, stopped);
        let bar = output.progress(count, "final");
        let report = runtime.block_on(load.run(&bar));
        bar.finish_and_clear();
        output.answer(&report.to_json(), || report.to_text(output))?;
        if report.interrupted {
            return Err(Ending::Interrupted("; the figures are of what was sent until then").into());
        }
        if report.unresolved > 0 {
            return Err(Ending::FateUnknown(format!(
                "{} transactions had no receipt when the run ended: what became of them is not known. A longer \
                 --drain waits for more",
                report.unresolved
            ))
            .into());
        }
        if report.committed == 0 {
            bail!("no transaction became final: see the errors above, and `realdid status`");
        }
        Ok(())
    }
}

/// All nodes must serve one chain; the longest lifetime, as the load is signed before it is sent.
async fn terms(clients: &[Client]) -> anyhow::Result<Terms> {
    let mut terms: Option<Terms> = None;
    for client in clients {
        let status = client.status().await?;
        let lifetime = status.parameters.max_transaction_lifetime.saturating_sub(10).max(1);
        let expires_at = status.height.plus(lifetime);
        match &mut terms {
            None => terms = Some(Terms { network: status.network, chain: status.chain, expires_at }),
            Some(terms) if terms.chain != status.chain => {
                bail!(
                    "{} serves chain {}, but the node before it {}",
                    client.url(),
                    status.chain,
                    terms.chain
                )
            }
            // A node that is behind refuses what expires too late for it.
            Some(terms) => terms.expires_at = terms.expires_at.min(expires_at),
        }
    }
    match terms {
        Some(terms) => Ok(terms),
        None => bail!("no node is named: give --rpc at least one URL"),
    }
}
