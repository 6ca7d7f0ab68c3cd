//! What nodes say to one another beside consensus itself: who holds which batches, and requests for blocks and
//! batches that somebody missed.
//!
//! Frames on the votes channel are [`Gossip`]; frames on the batches channel are a batch's own bytes; requests and
//! answers are [`Ask`] and [`Answer`]. All in the canonical encoding, all bounded before they are read.

use consensus::{Candidate, Certificate, CheckpointCertificate, Finality, Message};
use genesis::encoding::{DecodeError, byte_list, decode, encode, list};
use genesis::{Digest, Epoch, Height};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::snapshot::Part;

/// The most bytes in a frame of the votes channel.
pub const MAX_GOSSIP_BYTES: usize = consensus::message::MAX_MESSAGE_BYTES + 16;
/// The most bytes in an answer.
pub const MAX_ANSWER_BYTES: usize = 8 << 20;
/// The most digests in one acknowledgement or one request.
pub const MAX_DIGESTS: usize = 1_024;

/// A frame on the votes channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never kept in numbers")]
pub enum Gossip {
    /// A replica's message, and the epoch whose validators it concerns.
    Consensus(Epoch, Message),
    /// "These batches are here, valid and durable." At most [`MAX_DIGESTS`].
    Held(#[serde(deserialize_with = "list::<_, _, 32>")] Vec<Digest>),
}

/// A request to a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// The final blocks of these heights, and the newest checkpoint of the epoch of the block before.
    Blocks(Span),
    /// These batches. At most [`MAX_DIGESTS`].
    Batches(#[serde(deserialize_with = "list::<_, _, 32>")] Vec<Digest>),
    /// Which snapshot there is.
    Snapshot,
    /// What a file of the snapshot of this height has from this byte on.
    Slice {
        /// Which snapshot.
        height: Height,
        /// Which file.
        part: Part,
        /// The first byte.
        offset: u64,
    },
}

/// A snapshot that a peer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The block that it was made after.
    pub height: Height,
}

/// Heights in a row, the first and the last one among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub from: Height,
    /// The last. An answer ends at the last block up to here that has a proof of its own, or at the first one after it.
    pub to: Height,
}

/// An answer to an [`Ask`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never kept in numbers")]
pub enum Answer {
    /// The answer to [`Ask::Blocks`].
    Blocks(Range),
    /// Those of the batches that are here, as many as fit.
    Batches(#[serde(deserialize_with = "batches", serialize_with = "write_batches")] Vec<Vec<u8>>),
    /// The newest snapshot, if there is one.
    Snapshot(Option<Offer>),
    /// Bytes of a file, fewer than [`SLICE_BYTES`](crate::snapshot::SLICE_BYTES) at its end.
    Slice(#[serde(with = "byte_list")] Vec<u8>),
    /// There is no such file.
    NoSlice,
}

/// Final blocks of one epoch, and what proves them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Range {
    /// In order of height; none past the answerer's tip.
    #[serde(deserialize_with = "list::<_, _, 128>")]
    pub candidates: Vec<Candidate>,
    /// That the last of them is final.
    pub finality: Option<Finality>,
    /// The checkpoint that the last of them cites, where it is of their epoch.
    pub cited: Option<CheckpointCertificate>,
    /// The newest checkpoint of the epoch of the block before the first: the one that closed it, where it is over.
    pub checkpoint: Option<CheckpointCertificate>,
    /// The first block that the answerer has: those before it, it has forgotten.
    pub first: Height,
}

/// What the ledger keeps as a block's proof: the agreed candidate, and its own certificate where it has one (else a
/// later block's covers it).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Proof {
    /// What was agreed.
    pub candidate: Candidate,
    /// That it was.
    pub commit: Option<Certificate>,
}

impl Gossip {
    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none, or names too many digests.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let gossip = decode(bytes, MAX_GOSSIP_BYTES)?;
        match &gossip {
            Self::Held(digests) => bounded(digests.len()).map(|()| gossip),
            Self::Consensus(..) => Ok(gossip),
        }
    }
}

impl Ask {
    /// Reads a request.
    ///
    /// # Errors
    /// When it is none, or names too many digests.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let ask = decode(bytes, 64 << 10)?;
        match &ask {
            Self::Batches(digests) => bounded(digests.len()).map(|()| ask),
            Self::Blocks(_) | Self::Snapshot | Self::Slice { .. } => Ok(ask),
        }
    }
}

/// Batches' bytes.
fn batches<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
    #[derive(Deserialize)]
    struct Bytes(#[serde(deserialize_with = "byte_list::deserialize")] Vec<u8>);
    let batches = list::<_, Bytes, 8>(deserializer)?;
    Ok(batches.into_iter().map(|Bytes(bytes)| bytes).collect())
}

fn write_batches<S: Serializer>(batches: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Bytes<'a>(#[serde(serialize_with = "byte_list::serialize")] &'a [u8]);
    serializer.collect_seq(batches.iter().map(|batch| Bytes(batch)))
}

fn bounded(count: usize) -> Result<(), DecodeError> {
    if count <= MAX_DIGESTS {
        return Ok(());
    }
    Err(DecodeError::Malformed {
        reason: format!("{count} digests, but at most {MAX_DIGESTS} go into a message"),
    })
}

/// A checkpoint's certificate in the store's bytes.
pub fn encode_checkpoint(certificate: &CheckpointCertificate) -> Vec<u8> {
    encode(certificate)
}

/// Reads what [`encode_checkpoint`] wrote.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode_checkpoint(bytes: &[u8]) -> Result<CheckpointCertificate, DecodeError> {
    decode(bytes, consensus::message::MAX_MESSAGE_BYTES)
}

impl Proof {
    /// Its bytes for the store.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it from the store.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, 2 * consensus::message::MAX_MESSAGE_BYTES)
    }
}
