//! What a view decides about: a candidate for the next block.
//!
//! Consensus orders opaque payloads, named by digest. What a digest stands for is the node's matter; whether a
//! candidate may be prepared depends on the node's verdict on it.

use std::sync::Arc;

use genesis::{Digest, Domain, Epoch, Height, UnixMillis, View, encoding};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{CheckpointCertificate, Cited};

/// A block before it is final. Of fixed size but for the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The epoch it was proposed in.
    pub epoch: Epoch,
    /// The view it was proposed in.
    pub view: View,
    /// Its parent's height and one.
    pub height: Height,
    /// The block it extends.
    pub parent: Parent,
    /// Its leader's time; above its parent's (P11).
    pub time: UnixMillis,
    /// The newest checkpoint whose certificate its leader knew; never an older one than its parent's (P6).
    pub cites: Cited,
    /// The nonces of replicas that lost their journals: whoever prepares this block tells them its view (P7). At most one
    /// a validator.
    #[serde(deserialize_with = "encoding::list::<_, _, 32>")]
    pub nonces: Vec<Digest>,
    /// The digests it puts in order.
    #[serde(deserialize_with = "encoding::list::<_, _, 32>")]
    pub payload: Vec<Digest>,
}

/// The block that a candidate extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The view it was proposed in; 0 for genesis.
    pub view: View,
    /// Its digest; the chain's id for genesis.
    pub digest: Digest,
}

impl Candidate {
    /// The digest that votes are about: over all fields.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Candidate, &encoding::encode(self))
    }
}

/// A candidate with its digest, hashed once. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Block {
    candidate: Arc<Candidate>,
    digest: Digest,
}

impl Block {
    /// Hashes `candidate`.
    pub fn new(candidate: Candidate) -> Self {
        let digest = candidate.digest();
        Self { candidate: Arc::new(candidate), digest }
    }

    /// The digest of the candidate.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The candidate itself.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }
}

impl std::ops::Deref for Block {
    type Target = Candidate;

    fn deref(&self) -> &Candidate {
        &self.candidate
    }
}

/// The newest final block, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// Its height; for genesis 0, or where the chain that this one goes on from ended.
    pub height: Height,
    /// The view it was proposed in; 0 for genesis, and for the block that closed the epoch before.
    pub view: View,
    /// Its digest; the chain's id for genesis.
    pub digest: Digest,
    /// Its time.
    pub time: UnixMillis,
    /// The checkpoint that it cites; at the beginning of an epoch, that which closed the one before.
    pub cites: Cited,
}

impl Tip {
    /// Genesis: final before the first view.
    pub fn genesis(genesis: &genesis::Genesis) -> Self {
        Self {
            height: genesis.height(),
            view: View::ZERO,
            digest: genesis.chain(),
            time: genesis.time(),
            cites: Cited::genesis(genesis),
        }
    }

    /// `block`, once it is final.
    pub fn of(block: &Block) -> Self {
        Self {
            height: block.height,
            view: block.view,
            digest: block.digest(),
            time: block.time,
            cites: block.cites,
        }
    }

    /// The beginning of an epoch (P12): the block that closed the one before, whose checkpoint's certificate is the parent
    /// certificate of the first view.
    pub fn opening(closing: &CheckpointCertificate) -> Self {
        let checkpoint = &closing.checkpoint;
        Self {
            height: checkpoint.height,
            view: View::ZERO,
            digest: checkpoint.block,
            time: checkpoint.time,
            cites: checkpoint.cited(),
        }
    }
}
