//! Whether a peer's answer proves what it says: pure, and all that is believed of it.
//!
//! A range is believed because its last block has a certificate of this epoch's validators and each block names the one
//! before it by hash. Whether it continues this node's chain is seen when it is its turn ([`super::window`]).

use consensus::certificate::CertificateError;
use consensus::{Candidate, CheckpointCertificate, Finality, Verified};
use genesis::Height;
use genesis::encoding::{DecodeError, decode};

use super::serve::MAX_UNCERTIFIED;
use super::window::{Piece, STRIDE};
use crate::membership::Members;
use crate::wire::{Answer, MAX_ANSWER_BYTES, Range, Span};

/// Why a peer's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Lie {
    #[error("the answer is malformed: {0}")]
    Encoding(#[from] DecodeError),
    #[error("the answer is about something else than blocks")]
    AnotherKind,
    #[error("the answer has {0} blocks and no proof that they are final")]
    NoProof(usize),
    #[error("the answer has {0} blocks, and a range has far fewer")]
    TooMany(usize),
    #[error("a certificate is not valid: {0}")]
    Certificate(#[from] CertificateError),
    #[error("the blocks begin at height {found}, but were asked for from {asked} on")]
    Start { found: Height, asked: Height },
    #[error("the blocks up to height {0} are not a chain that ends in the certified one")]
    NotAChain(Height),
    #[error("the checkpoint that comes with the blocks is not the one that block {0} cites")]
    AnotherCited(Height),
    #[error("the checkpoint of block {cites}, which block {last} cites, does not come with the blocks")]
    NoCited { cites: Height, last: Height },
}

/// A peer's answer, checked. What is of another epoch is passed over: it can be checked once that has begun here.
#[derive(Debug)]
pub struct Checked {
    pub blocks: Option<Piece<Blocks>>,
    /// Whether there were blocks of another epoch.
    pub beyond: bool,
    pub checkpoint: Option<Verified<CheckpointCertificate>>,
    /// The first block that the peer has, as it says.
    pub first: Height,
}

/// A chain of final blocks, for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    pub candidates: Vec<Candidate>,
    pub finality: Verified<Finality>,
    pub cited: Option<Verified<CheckpointCertificate>>,
}

/// Checks the answer to a request for `span`, by what `members` sign.
pub fn check(answer: &[u8], span: Span, members: &Members) -> Result<Checked, Lie> {
    let Answer::Blocks(range) = decode(answer, MAX_ANSWER_BYTES)? else { return Err(Lie::AnotherKind) };
    check_range(range, answer.len(), span.from, members)
}

/// The same of a range that was read, of so many bytes, whose blocks are to begin at height `from`.
pub(crate) fn check_range(
    range: Range,
    bytes: usize,
    from: Height,
    members: &Members,
) -> Result<Checked, Lie> {
    let context = &members.context;
    let Range { candidates, finality, cited, checkpoint, first } = range;
    let of_epoch = |certificate: &CheckpointCertificate| certificate.checkpoint.epoch == context.epoch;
    let checkpoint = checkpoint.filter(of_epoch).map(|checkpoint| checkpoint.verify(context)).transpose()?;
    let Some(last) = candidates.last().filter(|last| last.epoch == context.epoch) else {
        return Ok(Checked { blocks: None, beyond: !candidates.is_empty(), checkpoint, first });
    };
    let (end, cites, count) = (last.height, last.cites, candidates.len());
    if count > MAX_UNCERTIFIED + STRIDE as usize {
        return Err(Lie::TooMany(count));
    }
    let finality = finality.ok_or(Lie::NoProof(count))?;
    let start = candidates.first().map_or(end, |block| block.height);
    if start != from {
        return Err(Lie::Start { found: start, asked: from });
    }
    let digests: Vec<_> = candidates.iter().map(Candidate::digest).collect();
    let chained = candidates
        .windows(2)
        .zip(&digests)
        .all(|(pair, digest)| pair[1].parent.digest == *digest && pair[1].height == pair[0].height.next());
    if !chained || digests.last() != Some(&finality.block()) {
        return Err(Lie::NotAChain(end));
    }
    // The signatures last: the rest costs less.
    let finality = finality.verify(context)?;
    let cited = cited.filter(of_epoch).map(|cited| cited.verify(context)).transpose()?;
    if cited.as_ref().is_some_and(|cited| cited.checkpoint.cited() != cites) {
        return Err(Lie::AnotherCited(end));
    }
    // Without it the driver could not say whether the last block closes its epoch, and would take none of them: an honest
    // answer of no use, as often as it is asked for. What opened the epoch is here already.
    if cited.is_none() && cites.height > members.began {
        return Err(Lie::NoCited { cites: cites.height, last: end });
    }
    let parent = candidates.first().map_or(genesis::Digest::ZERO, |block| block.parent.digest);
    let content = Blocks { candidates, finality, cited };
    let piece = Piece { first: start, parent, digests, bytes, content };
    Ok(Checked { blocks: Some(piece), beyond: false, checkpoint, first })
}

#[cfg(test)]
mod tests;
