//! Why a light client does not believe an answer.

use consensus::certificate::CertificateError;
use genesis::encoding::DecodeError;
use genesis::{Digest, Epoch, Height, UnixMillis};
use ledger::proof::{DidProofError, EntryProofError, FateProofError};

/// Why an answer is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// The bytes are no proof.
    #[error("the proof cannot be read: {0}")]
    Encoding(#[from] DecodeError),
    /// A pin of another chain.
    #[error("the pin is of chain {found}, but the genesis document is of chain {expected}")]
    OtherChain {
        /// The pin's.
        found: Digest,
        /// The document's.
        expected: Digest,
    },
    /// A certificate that proves nothing.
    #[error("the certificate of block {height} (epoch {epoch}): {error}")]
    Certificate {
        /// The block.
        height: Height,
        /// Its epoch.
        epoch: Epoch,
        /// What is wrong.
        error: CertificateError,
    },
    /// A change of the validators that the certificate does not name.
    #[error("the certificate of block {height} does not hand over to the configuration that comes with it")]
    NoHandover {
        /// The block.
        height: Height,
    },
    /// A certificate of another epoch than the one that the links lead to.
    #[error(
        "the certificate is of epoch {found}, but the proof leads to epoch {expected} only: ask with the epoch of your pin"
    )]
    OtherEpoch {
        /// The certificate's.
        found: Epoch,
        /// Where the links lead.
        expected: Epoch,
    },
    /// Behind what the client saw.
    #[error(
        "the answer is of block {height}, but block {newest} was seen already: the node is behind. Ask another"
    )]
    Behind {
        /// The answer's block.
        height: Height,
        /// The newest one seen.
        newest: Height,
    },
    /// Two certified results of one block: more than a third of the validators lied.
    #[error(
        "block {height} has two certified results, {seen} and {other}: the network's validators cannot be trusted"
    )]
    Fork {
        /// The block.
        height: Height,
        /// The checkpoint seen before.
        seen: Digest,
        /// The other one.
        other: Digest,
    },
    /// Too old.
    #[error(
        "the answer is of {time}, more than the heartbeat and the allowed skew ({allowed_ms} ms) before {now}: the node is cut off, \
         or holds newer blocks back. Ask another, or check this clock"
    )]
    Stale {
        /// The block's time.
        time: UnixMillis,
        /// The client's.
        now: UnixMillis,
        /// What is allowed between them, in ms.
        allowed_ms: u64,
    },
    /// A time that the answer's block does not lie after.
    #[error(
        "what held at {asked} is not settled as of block {height}: its time is not past that second, so a later block may still \
         change it. Ask again, or for the newest version"
    )]
    NotSettled {
        /// The time that was asked for.
        asked: String,
        /// The answer's block.
        height: Height,
    },
    /// The DID's state does not follow.
    #[error(transparent)]
    Did(#[from] DidProofError),
    /// A transaction's fate does not follow.
    #[error(transparent)]
    Fate(#[from] FateProofError),
    /// An entry of the trust registry does not follow.
    #[error(transparent)]
    Entry(#[from] EntryProofError),
}
