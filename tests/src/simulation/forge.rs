//! Messages that an honest replica would not send, signed by the letter of the protocol:
//! `domain ‖ chain id ‖ epoch ‖ kind ‖ view ‖ digest`. Written from the text, not from the code, so that it also
//! holds the signed bytes in place.

use consensus::checkpoint::CheckpointVote;
use consensus::message::{Attestation, PrePrepare, Vote, VoteKind};
use consensus::{Candidate, Certificate, Checkpoint, Context};
use genesis::{Digest, SecretKey, Signature, ValidatorIndex, View};

const PRE_PREPARE: u8 = 0;
const CHECKPOINT: u8 = 4;
const ATTESTATION: u8 = 5;

fn sign(secret: &SecretKey, context: &Context, kind: u8, view: View, digest: Digest) -> Signature {
    let mut bytes = b"realdid consensus v1".to_vec();
    bytes.extend(context.chain.as_bytes());
    bytes.extend(context.epoch.0.to_le_bytes());
    bytes.push(kind);
    bytes.extend(view.0.to_le_bytes());
    bytes.extend(digest.as_bytes());
    secret.sign(&bytes)
}

/// A vote by `voter`, whatever it voted before.
pub fn vote(
    context: &Context,
    (voter, secret): (ValidatorIndex, &SecretKey),
    kind: VoteKind,
    view: View,
    digest: Digest,
) -> Vote {
    let number = match kind {
        VoteKind::Prepare => 1,
        VoteKind::Commit => 2,
        VoteKind::ViewChange => 3,
    };
    let signature = sign(secret, context, number, view, digest);
    Vote { kind, view, digest, voter, signature }
}

/// A checkpoint by `voter`, whatever its ledger has.
pub fn checkpoint(
    context: &Context,
    (voter, secret): (ValidatorIndex, &SecretKey),
    checkpoint: Checkpoint,
) -> CheckpointVote {
    let height = View(checkpoint.height.0);
    let signature = sign(secret, context, CHECKPOINT, height, checkpoint.digest());
    CheckpointVote { checkpoint, voter, signature }
}

/// An answer by `voter` to who lost its records, whatever view it is in.
pub fn attestation(
    context: &Context,
    (voter, secret): (ValidatorIndex, &SecretKey),
    nonce: Digest,
    view: View,
    entry: Option<Certificate>,
) -> Attestation {
    let signature = sign(secret, context, ATTESTATION, view, nonce);
    Attestation { nonce, view, voter, signature, entry }
}

/// A proposal signed by `secret`.
pub fn proposal(context: &Context, secret: &SecretKey, candidate: Candidate) -> PrePrepare {
    let signature = sign(secret, context, PRE_PREPARE, candidate.view, candidate.digest());
    PrePrepare { candidate, signature }
}

/// The certificate that `votes` make; in the order of the voters.
pub fn certificate(votes: &[Vote]) -> Option<Certificate> {
    let first = votes.first()?;
    let mut signatures: Vec<_> = votes.iter().map(|vote| (vote.voter, vote.signature)).collect();
    signatures.sort_by_key(|(voter, _)| *voter);
    Some(Certificate { kind: first.kind, view: first.view, digest: first.digest, signatures })
}
