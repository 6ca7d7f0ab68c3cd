//! `realdid did history`: the versions of a DID.

use client::Client;
use client::api::HistoryEntry;
use ledger::resolution::time;
use ledger::{Did, Version};

use crate::cli::output::Output;

/// Prints the versions, the oldest first: all of them, from `from` on.
pub(super) async fn history(client: &Client, output: &Output, did: &Did, from: u64) -> anyhow::Result<()> {
    let mut versions: Vec<HistoryEntry> = Vec::new();
    let mut next = Version(from);
    loop {
        let part = client.history(did, next).await?;
        versions.extend(part.versions);
        let Some(last) = versions.last().filter(|_| part.more_versions) else { break };
        next = last.version.next();
    }
    output.answer(&versions, || {
        let line = |entry: &HistoryEntry| {
            let HistoryEntry { version, height, time, document, .. } = entry;
            let what =
                document.map_or_else(|| "deactivated".to_owned(), |digest| format!("document {digest}"));
            format!("version {version}: block {height}, {}, {what}\n", time::rfc3339(*time))
        };
        versions.iter().map(line).collect()
    })
}
