use consensus::message::{Kind, VoteKind};
use consensus::{Certificate, Checkpoint, Context, Parent};
use genesis::encoding::encode;
use genesis::{
    Digest, Domain, Epoch, Genesis, Parameters, SecretKey, Signature, UnixMillis, Validator, ValidatorIndex,
    View,
};

use super::*;

fn key(role: u8, index: u16) -> SecretKey {
    let mut seed = [role; 32];
    seed[..2].copy_from_slice(&index.to_le_bytes());
    SecretKey::from_seed(seed)
}

fn members() -> Members {
    let list = (0..4).map(|index| Validator {
        name: format!("node{index}"),
        consensus_key: key(1, index).public(),
        network_key: key(2, index).public(),
        governance_key: key(3, index).public(),
        address: format!("127.0.0.1:{}", 1_000 + index),
    });
    let time = UnixMillis(1_000_000);
    let genesis = Genesis::new("test".into(), time, Parameters::default(), list.collect()).unwrap();
    let context =
        Context { chain: genesis.chain(), epoch: Epoch(2), validators: genesis.validators().clone() };
    Members { context, began: Height(50), me: None }
}

/// Three validators' signatures over a statement of this kind, as it is laid out in docs/formats.md.
fn signed(kind: Kind, number: u64, digest: Digest) -> Vec<(ValidatorIndex, Signature)> {
    let context = members().context;
    let mut bytes = b"realdid consensus v1".to_vec();
    bytes.extend(context.chain.as_bytes());
    bytes.extend(context.epoch.0.to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend(number.to_le_bytes());
    bytes.extend(digest.as_bytes());
    (0..3).map(|index| (ValidatorIndex(index), key(1, index).sign(&bytes))).collect()
}

fn commit(block: &Candidate) -> Option<Finality> {
    let (kind, digest) = (VoteKind::Commit, block.digest());
    let signatures = signed(Kind::Commit, block.view.0, digest);
    Some(Finality::Commit(Certificate { kind, view: block.view, digest, signatures }))
}

fn checkpoint(height: u64) -> CheckpointCertificate {
    let checkpoint = Checkpoint {
        epoch: Epoch(2),
        height: Height(height),
        block: Digest::ZERO,
        time: UnixMillis(1),
        state_root: Digest::ZERO,
        receipts_root: Digest::ZERO,
        configuration: Digest::ZERO,
        pending: None,
    };
    let signatures = signed(Kind::Checkpoint, height, checkpoint.digest());
    CheckpointCertificate { checkpoint, signatures }
}

fn chain(first: u64, last: u64) -> Vec<Candidate> {
    let mut parent = Parent { view: View(first), digest: Digest::of(Domain::Batch, b"before") };
    let cites = checkpoint(first - 1).checkpoint.cited();
    let mut blocks = Vec::new();
    for height in first..=last {
        let block = Candidate {
            epoch: Epoch(2),
            view: View(height + 1),
            height: Height(height),
            parent,
            time: UnixMillis(height),
            cites,
            nonces: Vec::new(),
            payload: Vec::new(),
        };
        parent = Parent { view: block.view, digest: block.digest() };
        blocks.push(block);
    }
    blocks
}

/// What an honest peer answers to a request for [`SPAN`].
fn honest() -> Range {
    let candidates = chain(101, 110);
    let finality = candidates.last().and_then(commit);
    Range {
        candidates,
        finality,
        cited: Some(checkpoint(100)),
        checkpoint: Some(checkpoint(140)),
        first: Height(1),
    }
}

const SPAN: Span = Span { from: Height(101), to: Height(110) };

fn checked(range: Range) -> Result<Checked, Lie> {
    check(&encode(&Answer::Blocks(range)), SPAN, &members())
}

fn refused(range: Range) -> String {
    checked(range).err().map(|lie| lie.to_string()).unwrap_or_default()
}

#[test]
fn an_honest_answer_is_taken_whole() {
    let Checked { blocks, beyond, checkpoint, .. } = checked(honest()).unwrap();
    let piece = blocks.unwrap();
    assert_eq!((piece.first, piece.last().height, piece.digests.len()), (Height(101), Height(110), 10));
    assert_eq!(piece.parent, honest().candidates[0].parent.digest);
    assert_eq!(checkpoint.map(|certified| certified.checkpoint.height), Some(Height(140)));
    assert!(!beyond && piece.content.cited.is_some());
}

#[test]
fn an_answer_without_blocks_is_no_lie() {
    let Checked { blocks, beyond, checkpoint, .. } = checked(Range::default()).unwrap();
    assert!(blocks.is_none() && !beyond && checkpoint.is_none());
}

#[test]
fn bytes_that_are_no_answer_or_another_one_are_refused() {
    assert!(matches!(check(&[7; 100], SPAN, &members()), Err(Lie::Encoding(_))));
    assert!(
        matches!(check(&vec![0; MAX_ANSWER_BYTES + 1], SPAN, &members()), Err(Lie::Encoding(_))),
        "too long"
    );
    let batches = encode(&Answer::Batches(Vec::new()));
    assert!(matches!(check(&batches, SPAN, &members()), Err(Lie::AnotherKind)));
    let mut longer = encode(&Answer::Blocks(honest()));
    longer.push(0);
    assert!(matches!(check(&longer, SPAN, &members()), Err(Lie::Encoding(_))), "something is left");
}

#[test]
fn blocks_without_a_proof_or_with_that_of_another_block_are_refused() {
    assert!(refused(Range { finality: None, ..honest() }).contains("10 blocks and no proof"));
    let other = commit(&chain(101, 105)[4]);
    assert!(
        refused(Range { finality: other, ..honest() }).contains("not a chain that ends in the certified")
    );
    let prepared = match honest().finality {
        Some(Finality::Commit(certificate)) => Certificate { kind: VoteKind::Prepare, ..certificate },
        other => panic!("{other:?}"),
    };
    let prepared = Some(Finality::Commit(prepared));
    assert!(refused(Range { finality: prepared, ..honest() }).contains("no such certificate can exist"));
}

#[test]
fn a_certificate_with_too_few_or_forged_signatures_is_refused() {
    let with = |change: &dyn Fn(&mut Certificate)| {
        let mut range = honest();
        match &mut range.finality {
            Some(Finality::Commit(certificate)) => change(certificate),
            other => panic!("{other:?}"),
        }
        refused(range)
    };
    assert!(with(&|certificate| certificate.signatures.truncate(2)).contains("2 signers"));
    assert!(with(&|certificate| certificate.signatures[1] = certificate.signatures[0]).contains("ascending"));
    let forged = key(1, 2).sign(b"something else");
    assert!(with(&|certificate| certificate.signatures[2].1 = forged).contains("signature is not valid"));
}

#[test]
fn gaps_other_heights_and_changed_blocks_are_refused() {
    let without = |place: usize| {
        let mut range = honest();
        range.candidates.remove(place);
        refused(range)
    };
    assert!(without(5).contains("not a chain"));
    assert!(without(0).contains("begin at height 102, but were asked for from 101"));
    let mut changed = honest();
    changed.candidates[3].payload.push(Digest::ZERO);
    assert!(refused(changed).contains("not a chain"));
    let mut swapped = honest();
    swapped.candidates.swap(2, 3);
    assert!(refused(swapped).contains("not a chain"));
}

#[test]
fn a_certified_chain_whose_heights_do_not_follow_one_another_is_refused() {
    // As the fillers after an epoch's last block.
    let mut candidates = chain(101, 110);
    let filler = Candidate {
        view: View(200),
        parent: Parent { view: candidates[9].view, digest: candidates[9].digest() },
        ..candidates[9].clone()
    };
    let finality = commit(&filler);
    candidates.push(filler);
    assert!(refused(Range { candidates, finality, ..honest() }).contains("not a chain"));
}

#[test]
fn more_blocks_than_any_honest_answer_has_are_refused_before_a_signature_is_checked() {
    let candidates = chain(101, 100 + MAX_UNCERTIFIED as u64 + STRIDE + 1);
    let range = Range { candidates, cited: None, checkpoint: None, ..honest() };
    assert!(refused(range).contains("a range has far fewer"));
}

#[test]
fn checkpoints_that_are_forged_or_not_the_cited_one_are_refused() {
    let mut forged = checkpoint(140);
    forged.checkpoint.state_root = Digest::of(Domain::Batch, b"another state");
    assert!(
        refused(Range { checkpoint: Some(forged.clone()), ..honest() }).contains("signature is not valid")
    );
    assert!(refused(Range { cited: Some(forged), ..honest() }).contains("signature is not valid"));
    let other = Range { cited: Some(checkpoint(99)), ..honest() };
    assert!(refused(other).contains("not the one that block 110 cites"));
}

#[test]
fn blocks_that_come_without_the_checkpoint_that_the_last_one_cites_are_refused() {
    let without = Range { cited: None, ..honest() };
    assert!(refused(without.clone()).contains("block 100, which block 110 cites, does not come"));
    let mut of_another_epoch = checkpoint(100);
    of_another_epoch.checkpoint.epoch = Epoch(1);
    assert!(refused(Range { cited: Some(of_another_epoch), ..honest() }).contains("does not come"));
    // What opened the epoch has been here since.
    let opened = Members { began: Height(100), ..members() };
    assert!(check(&encode(&Answer::Blocks(without)), SPAN, &opened).is_ok());
}

#[test]
fn what_is_of_another_epoch_is_neither_believed_nor_held_against_its_sender() {
    let mut later = honest();
    for block in &mut later.candidates {
        block.epoch = Epoch(3);
    }
    let mut of_later = checkpoint(200);
    of_later.checkpoint.epoch = Epoch(3);
    later.checkpoint = Some(of_later);
    let Checked { blocks, beyond, checkpoint, .. } = checked(later).unwrap();
    assert!(blocks.is_none() && beyond && checkpoint.is_none());
}

#[test]
fn a_block_proven_by_a_checkpoint_of_the_same_block_is_taken() {
    let mut range = honest();
    let mut closing = checkpoint(110).checkpoint;
    closing.block = range.candidates[9].digest();
    let signatures = signed(Kind::Checkpoint, 110, closing.digest());
    range.finality = Some(Finality::Checkpoint(CheckpointCertificate { checkpoint: closing, signatures }));
    assert!(checked(range).unwrap().blocks.is_some());
}
