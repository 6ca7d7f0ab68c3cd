//! `realdid report`: what each validator did in a range of blocks.

use anyhow::bail;
use clap::Args;
use client::api::{Participation, Share};
use genesis::Height;

use super::output::Output;
use super::{Ending, Rpc};

/// How many blocks are looked at where the command line does not say.
const LAST: u64 = 1_000;

/// Show what each validator did in a range of blocks: proposals, votes, batches.
///
/// LED counts the blocks that it proposed, MISSED the views that it led and that brought no block. VOTES counts the commit
/// certificates with its vote, RESULTS those of what executing a block led to. A certificate holds the votes that came first, a quorum
/// of them: of four validators each is in about 75 of 100, and one that is in far fewer is slow, or was away. BATCHES and TRANSACTIONS
/// are those of its clients. All is read from the chain, so every node gives the same answer but for certificates, of which
/// each keeps those that it got.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  realdid report --from 1 --to 5000\n  realdid report --json")]
pub(super) struct Report {
    #[command(flatten)]
    rpc: Rpc,
    /// The first block [default: a thousand before the last].
    #[arg(long, value_name = "HEIGHT")]
    from: Option<u64>,
    /// The last block [default: the newest].
    #[arg(long, value_name = "HEIGHT")]
    to: Option<u64>,
}

impl Report {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let client = self.rpc.client;
        let newest = client.status().await?.height;
        if newest == Height::ZERO {
            bail!(Ending::NotFound(
                "there is no block yet: the first comes with the first transaction".to_owned()
            ));
        }
        let to = self.to.map_or(newest, Height);
        if to > newest {
            bail!(Ending::NotFound(format!("there is no block {to} yet: the newest is {newest}")));
        }
        let from = Height(self.from.unwrap_or_else(|| (to.0 + 1).saturating_sub(LAST).max(1)));
        if from > to {
            bail!(Ending::CommandLine(format!(
                "--from {from} is after --to {to}: name the lower height first"
            )));
        }
        let bar = output.progress(to.since(from) + 1, "Reading blocks");
        let mut part = client.participation(from, to).await?;
        while let Some(next) = part.next {
            bar.set_position(next.since(from));
            part = part.and(client.participation(next, to).await?);
        }
        bar.finish_and_clear();
        output.answer(&part, || table(output, &part))
    }
}

fn table(output: &Output, part: &Participation) -> String {
    let Participation { from, to, blocks, certificates, checkpoints, validators, .. } = part;
    let mut text = format!(
        "{}\n{blocks} blocks; {certificates} commit certificates and {checkpoints} of results are kept here\n",
        output.bold(&format!("Blocks {from} to {to}"))
    );
    let heads =
        ["VALIDATOR", "LED", "MISSED", "VOTES", "RESULTS", "BATCHES", "TRANSACTIONS"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(heads).chain(validators.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 7] = std::array::from_fn(width);
    for row in &rows {
        let name = format!("  {:<width$}", row[0], width = widths[0]);
        let figures = row.iter().zip(widths).skip(1).map(|(cell, width)| format!("  {cell:>width$}"));
        text += &format!("{name}{}\n", figures.collect::<String>());
    }
    text
}

fn row(share: &Share) -> [String; 7] {
    let of = |count: u64, all: u64| match (count * 100).checked_div(all) {
        Some(percent) => format!("{count} of {all} ({percent} %)"),
        None => "none kept".to_owned(),
    };
    [
        share.name.clone(),
        share.led.to_string(),
        share.missed_views.to_string(),
        of(share.voted, share.certificates),
        of(share.checked, share.checkpoints),
        share.batches.to_string(),
        share.transactions.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validator_that_signed_nothing_stands_out_and_one_without_certificates_divides_nothing_by_nothing() {
        let share = |name: &str, voted, certificates| Share {
            name: name.into(),
            led: 5,
            missed_views: 2,
            voted,
            certificates,
            ..Share::default()
        };
        let validators = vec![share("node0", 3, 4), share("node1", 0, 4), share("late", 0, 0)];
        let part = Participation {
            from: Height(1),
            to: Height(9),
            blocks: 9,
            validators,
            ..Participation::default()
        };
        let text = table(&Output::new(true), &part);
        assert!(text.contains("3 of 4 (75 %)") && text.contains("0 of 4 (0 %)"), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.contains("late") && line.contains("none kept")));
        let widths: Vec<_> = text.lines().skip(2).map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
    }
}
