//! `realdid tx`: transactions that were made elsewhere, and what became of any.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use client::api::{Fate, Receipt, from_base64};
use genesis::{Digest, Height};
use ledger::Transaction;
use ledger::proof::Window;
use serde_json::{Value, json};

use super::output::Output;
use super::prove::{Checker, Prove, now, unproved};
use super::{Ending, Rpc, duration, no_receipt};

/// The most bytes that a transaction's file may have. Networks allow far less.
const MAX_FILE_BYTES: usize = 4 << 20;
/// What `show` takes.
const SHOWN: &str = "an id (64 hex digits), the file of a transaction, or - for stdin";

/// Submit transactions, and learn what became of them.
///
/// `realdid did` submits what it makes by itself: this is for transactions that other programs signed, and for looking
/// up any by its id.
#[derive(Debug, Subcommand)]
pub(super) enum Tx {
    /// Hand in a signed transaction; prints its id at once.
    ///
    /// The node has checked and taken it then, but it is not final: wait for that with `realdid tx wait ID`. To hand
    /// the same one in again is safe.
    #[command(after_help = "Examples:\n  realdid tx submit ./registration.tx\n  \
                            cat registration.tx | realdid tx submit -")]
    Submit {
        /// The signed transaction, in the network's encoding (docs/formats.md) or as base64 of it. `-` reads stdin.
        #[arg(value_name = "FILE")]
        file: String,
        #[command(flatten)]
        rpc: Rpc,
    },
    /// Wait until a transaction is final; prints its receipt.
    ///
    /// The receipt says in which block it is and whether it was applied (exit code 5 if it was not). Exit code 3 when
    /// the time is up: the message then says until which height (block number) it can still be applied.
    #[command(after_help = "Example:\n  realdid tx wait 3f0c…9a --timeout 30s")]
    Wait {
        /// The transaction's id, 64 hex digits, as `realdid tx submit` printed it.
        id: Digest,
        /// How long to wait: 30s, 500ms, 2m.
        #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
        timeout: Duration,
        #[command(flatten)]
        rpc: Rpc,
    },
    /// Show what became of a transaction (by its id), or what a transaction says (from its file).
    ///
    /// An id is looked up at the node; a file is only read and printed, and --rpc has no meaning. With --prove what became of
    /// either is checked here, and the node not trusted. That a transaction expired without a receipt can be checked where it is
    /// known when it could be applied: its file, or --expires-at, says until when, and --after since when. Take for --after only
    /// what was proved before, not what a node says: where the chain had not come so far, an earlier block may have applied it.
    #[command(after_help = "Examples:\n  realdid tx show 3f0c…9a\n  realdid tx show ./registration.tx\n  \
                            realdid tx show 3f0c…9a --prove --genesis genesis.toml\n  \
                            realdid tx show ./registration.tx --prove --genesis genesis.toml --after 1200")]
    Show {
        /// An id (64 hex digits), the file of a transaction, or `-` for stdin.
        #[arg(value_name = "ID|FILE")]
        what: String,
        #[command(flatten)]
        prove: Prove,
        /// A height of the chain before the transaction was signed, that an answer checked with --prove has shown (`proved.height`
        /// of --json).
        #[arg(long, value_name = "HEIGHT", requires = "prove")]
        after: Option<u64>,
        /// The last height at which the transaction can be applied, where only its id is given.
        #[arg(long, value_name = "HEIGHT", requires = "after")]
        expires_at: Option<u64>,
        #[command(flatten)]
        rpc: Rpc,
    },
}

impl Tx {
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Submit { file, rpc } => {
                let (_, bytes) = read_transaction(&file, "the file of a signed transaction, or - for stdin")?;
                let submitted = rpc.client.submit(&bytes).await?;
                output.note(&format!(
                    "Accepted, not final yet: it can be applied until height {}. Next: realdid tx wait {}",
                    submitted.expires_at, submitted.id
                ));
                output.answer(&submitted, || submitted.id.to_string())
            }
            Self::Wait { id, timeout, rpc } => {
                let receipt = wait(output, &rpc, &id, timeout).await?;
                output.answer(&receipt, || receipt_text(&receipt))?;
                applied(&receipt)
            }
            Self::Show { what, prove, after, expires_at, rpc } => {
                let id = what.parse::<Digest>().ok();
                if let Some(checker) = prove.checker(&rpc.client).await? {
                    let (id, expires_at) = match id {
                        Some(id) => (id, expires_at.map(Height)),
                        None => {
                            let (transaction, _) = read_transaction(&what, SHOWN)?;
                            of_chain(&transaction, checker.chain(), &what)?;
                            (transaction.id(), Some(transaction.expires_at))
                        }
                    };
                    let after = after.map(Height);
                    let window =
                        after.zip(expires_at).map(|(after, expires_at)| Window { after, expires_at });
                    return proved(&rpc, output, &id, window, checker).await;
                }
                match id {
                    Some(id) => fate(&rpc, output, &id).await,
                    None => show(output, &what),
                }
            }
        }
    }
}

/// Waits for a receipt, whatever it says.
pub(super) async fn wait(
    output: &Output,
    rpc: &Rpc,
    id: &Digest,
    timeout: Duration,
) -> anyhow::Result<Receipt> {
    let spinner = output.spinner(format!("waiting for the receipt of {id}"));
    let receipt = rpc.client.wait(id, timeout).await;
    spinner.finish_and_clear();
    match receipt {
        Ok(receipt) => Ok(receipt),
        Err(error) => match no_receipt(&rpc.client, timeout, &error).await {
            Some(why) => Err(Ending::FateUnknown(format!("{why} Go on with: realdid tx wait {id}")).into()),
            None => Err(error.into()),
        },
    }
}

async fn fate(rpc: &Rpc, output: &Output, id: &Digest) -> anyhow::Result<()> {
    let fate = rpc.client.fate(id).await?;
    output.answer(&fate, || match &fate {
        Fate::Final { receipt } => receipt_text(receipt),
        Fate::Pending { expires_at } => {
            format!("{id} is pending: the node holds it; it can be applied until height {expires_at}.")
        }
        Fate::Expired { expires_at, height } => format!(
            "{id} is expired: it could be applied until height {expires_at}, and the chain is at {height}. It never will be."
        ),
        Fate::Unknown { height, can_land_until } => format!(
            "{id} is unknown to this node: up to height {height} it holds no receipt of it. It may lie in a block that this \
             node has forgotten: ask one that keeps all. If it was never ordered, and a node holds it, it can be applied until \
             height {can_land_until} at most."
        ),
    })?;
    match fate {
        Fate::Final { receipt } => applied(&receipt),
        Fate::Pending { .. } => Ok(()),
        Fate::Expired { .. } => Err(Ending::NotApplied(format!("transaction {id} is expired")).into()),
        Fate::Unknown { .. } => Err(Ending::NotFound(format!("transaction {id} is not known here")).into()),
    }
}

/// What became of a transaction, checked here.
async fn proved(
    rpc: &Rpc,
    output: &Output,
    id: &Digest,
    window: Option<Window>,
    mut checker: Checker,
) -> anyhow::Result<()> {
    let answer = rpc.client.fate_proved(&mut checker.light, id, window, now()?).await.map_err(unproved)?;
    checker.done(output, &answer.checkpoint)?;
    let shown = checker.shown(&answer.checkpoint);
    match (answer.fate, window) {
        (ledger::proof::Fate::Final(receipt), _) => {
            let receipt = Receipt::new(&receipt, checker.network());
            let json = json!({ "state": "final", "receipt": receipt, "proved": shown });
            output.answer(&json, || receipt_text(&receipt))?;
            applied(&receipt)
        }
        (ledger::proof::Fate::Expired, window) => {
            let json = json!({
                "state": "expired",
                "expiresAt": window.map(|window| window.expires_at),
                "after": window.map(|window| window.after),
                "height": answer.checkpoint.height,
                "proved": shown,
            });
            output.answer(&json, || {
                format!("{id} expired without a receipt: it took no effect and never will.")
            })?;
            Err(Ending::NotApplied(format!("transaction {id} is expired")).into())
        }
    }
}

/// Refuses a transaction of another chain: on this one it has no fate.
fn of_chain(transaction: &Transaction, chain: Digest, file: &str) -> anyhow::Result<()> {
    let found = transaction.chain;
    if found != chain {
        bail!(
            "the transaction in {file} is for chain {found}, but the genesis document is of chain {chain}: give the genesis \
             document of the transaction's chain"
        );
    }
    Ok(())
}

fn applied(receipt: &Receipt) -> anyhow::Result<()> {
    if receipt.is_applied() {
        return Ok(());
    }
    let Receipt { id, height, result, .. } = receipt;
    Err(Ending::NotApplied(format!(
        "transaction {id} is final in block {height}, but changed nothing: {result}"
    ))
    .into())
}

fn receipt_text(receipt: &Receipt) -> String {
    let Receipt { id, height, index, result, did, version, .. } = receipt;
    let mut text = format!("{id} is final: {result}, in block {height} at place {index}.");
    if let Some(did) = did {
        text += &format!("\n{did}");
    }
    if let Some(version) = version {
        text += &format!(" is at version {version}.");
    }
    text
}

fn show(output: &Output, file: &str) -> anyhow::Result<()> {
    let (transaction, bytes) = read_transaction(file, SHOWN)?;
    let json = described(&transaction, bytes.len())?;
    let pretty = serde_json::to_string_pretty(&json)?;
    output.answer(&json, || pretty)
}

fn described(transaction: &Transaction, length: usize) -> anyhow::Result<Value> {
    let Transaction { chain, operation, expires_at, signers, signatures } = transaction;
    Ok(json!({
        "id": transaction.id(),
        "chain": chain,
        "bytes": length,
        "did": operation.did(),
        "operation": serde_json::to_value(operation)?,
        "expiresAt": expires_at,
        "signers": signers,
        "signatures": signatures,
    }))
}

/// The transaction in a file (or stdin, `-`), and its canonical bytes. Bytes and base64 are told apart by trying. Where
/// there is no such file, the error says what the command takes.
fn read_transaction(file: &str, expected: &str) -> anyhow::Result<(Transaction, Vec<u8>)> {
    let mut content = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    if file == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut content).context("cannot read stdin")?;
    } else {
        let opened = File::open(file).with_context(|| format!("cannot read {file}: expected {expected}"))?;
        opened.take(limit).read_to_end(&mut content).with_context(|| format!("cannot read {file}"))?;
    }
    if content.len() > MAX_FILE_BYTES {
        bail!("{file} has more than {MAX_FILE_BYTES} bytes: it is not a transaction");
    }
    let from_text = std::str::from_utf8(&content).ok().and_then(|text| from_base64(text.trim()).ok());
    let bytes = from_text.unwrap_or(content);
    let transaction = genesis::encoding::decode(&bytes, MAX_FILE_BYTES).with_context(|| {
        format!("{file} is not a transaction: expected its canonical bytes, or their base64")
    })?;
    Ok((transaction, bytes))
}

#[cfg(test)]
mod tests {
    use client::api::to_base64;
    use client::wallet::{Terms, registration};
    use genesis::SecretKey;

    use super::*;

    #[test]
    fn a_transaction_is_read_from_bytes_and_from_base64() {
        let terms = Terms { network: "test".into(), chain: Digest::ZERO, expires_at: Height(9) };
        let (did, transaction) = registration(&terms, &SecretKey::from_seed([1; 32]));
        let bytes = genesis::encoding::encode(&transaction);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tx");
        for content in [bytes.clone(), format!("{}\n", to_base64(&bytes)).into_bytes()] {
            std::fs::write(&path, content).unwrap();
            let (read, canonical) = read_transaction(path.to_str().unwrap(), "").unwrap();
            assert_eq!((&read, &canonical), (&transaction, &bytes));
        }
        let json = described(&transaction, bytes.len()).unwrap();
        assert_eq!(json["did"], did.id().to_string());
        assert_eq!(json["expiresAt"], 9);
        assert_eq!(json["operation"]["create"]["document"]["keys"][0]["number"], 1);
    }

    #[test]
    fn a_transaction_of_another_chain_is_not_asked_about() {
        let terms = Terms { network: "test".into(), chain: Digest::ZERO, expires_at: Height(9) };
        let (_, transaction) = registration(&terms, &SecretKey::from_seed([1; 32]));
        of_chain(&transaction, Digest::ZERO, "a.tx").unwrap();
        let other = Digest::from_bytes([7; 32]);
        let error = of_chain(&transaction, other, "a.tx").unwrap_err().to_string();
        for part in ["a.tx", &Digest::ZERO.to_string(), &other.to_string()] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_no_transaction_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tx");
        for content in ["", "AAAA", "not base64", &"A".repeat(MAX_FILE_BYTES + 4)] {
            std::fs::write(&path, content).unwrap();
            let error = read_transaction(path.to_str().unwrap(), "").unwrap_err().to_string();
            assert!(error.contains("a.tx") && error.contains("not a transaction"), "{error}");
        }
        let error = read_transaction("/nowhere/b.tx", "a file").unwrap_err().to_string();
        assert_eq!(error, "cannot read /nowhere/b.tx: expected a file");
    }
}
