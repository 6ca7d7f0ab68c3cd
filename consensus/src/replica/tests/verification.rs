//! What is refused before it reaches a replica.

use super::*;
use crate::certificate::CertificateError;
use crate::message::MessageError;

use VoteKind::{Commit, Prepare, ViewChange};

fn error(certificate: Certificate) -> CertificateError {
    certificate.verify(&context()).map(|_| ()).unwrap_err()
}

#[test]
fn a_certificate_counts_distinct_known_signers_and_needs_a_quorum() {
    let good = certificate(Prepare, 3, item(1));
    assert!(good.clone().verify(&context()).is_ok());

    let mut few = good.clone();
    few.signatures.pop();
    assert!(matches!(error(few), CertificateError::Count { signers: 2, quorum: 3, validators: 4 }));

    let mut repeated = good.clone();
    repeated.signatures[2] = repeated.signatures[1];
    assert_eq!(error(repeated), CertificateError::Order);

    let mut disordered = good.clone();
    disordered.signatures.swap(0, 1);
    assert_eq!(error(disordered), CertificateError::Order);

    let mut unknown = good.clone();
    unknown.signatures[2].0 = ValidatorIndex(4);
    assert_eq!(error(unknown), CertificateError::UnknownSigner(4));

    let mut exchanged = good;
    exchanged.signatures[0].0 = ValidatorIndex(0);
    assert_eq!(error(exchanged), CertificateError::Signature);
}

#[test]
fn signatures_are_good_for_one_kind_view_digest_chain_and_epoch_alone() {
    let good = certificate(Prepare, 3, item(1));
    assert_eq!(error(Certificate { kind: Commit, ..good.clone() }), CertificateError::Signature);
    assert_eq!(error(Certificate { view: View(4), ..good.clone() }), CertificateError::Signature);
    assert_eq!(error(Certificate { digest: item(2), ..good.clone() }), CertificateError::Signature);
    let elsewhere = Context { chain: item(5), ..context() };
    assert!(good.clone().verify(&elsewhere).is_err());
    let later = Context { epoch: Epoch(1), ..context() };
    assert!(good.verify(&later).is_err());

    let own = vote(2, Prepare, 3, item(1));
    assert!(own.clone().verify(&context()).is_ok());
    for other in [elsewhere, later] {
        assert!(matches!(own.clone().verify(&other), Err(MessageError::Signature(2))));
    }
    let Message::Vote(prepare) = own else { unreachable!() };
    let as_commit = Message::Vote(crate::message::Vote { kind: Commit, ..prepare.clone() });
    assert!(matches!(as_commit.verify(&context()), Err(MessageError::Signature(2))));
    let by_another = Message::Vote(crate::message::Vote { voter: ValidatorIndex(1), ..prepare.clone() });
    assert!(matches!(by_another.verify(&context()), Err(MessageError::Signature(1))));
    let by_nobody = Message::Vote(crate::message::Vote { voter: ValidatorIndex(4), ..prepare });
    assert!(matches!(by_nobody.verify(&context()), Err(MessageError::UnknownVoter(4, 4))));
}

#[test]
fn a_view_change_names_no_block_and_no_vote_is_of_the_first_or_the_last_view() {
    assert!(matches!(
        vote(1, ViewChange, 3, item(1)).verify(&context()),
        Err(MessageError::DigestInViewChange(_))
    ));
    assert_eq!(error(certificate(ViewChange, 3, item(1))), CertificateError::Impossible);
    for view in [0, u64::MAX] {
        assert!(matches!(
            vote(1, Prepare, view, item(1)).verify(&context()),
            Err(MessageError::Impossible(_))
        ));
        assert_eq!(error(certificate(Prepare, view, item(1))), CertificateError::Impossible);
    }
}

#[test]
fn a_proposal_is_signed_by_its_views_leader_in_its_epoch_above_its_parent() {
    let good = block(2, 1, genesis_parent(), &[item(1)]);
    assert!(proposal(&good).verify(&context()).is_ok());
    let usurped = Message::PrePrepare(context().propose(&key(1, 3), &good));
    assert!(matches!(usurped.verify(&context()), Err(MessageError::Signature(2))));
    let refused = |change: fn(&mut Candidate)| {
        let mut candidate = good.candidate().clone();
        change(&mut candidate);
        proposal(&Block::new(candidate)).verify(&context()).unwrap_err()
    };
    assert!(matches!(refused(|c| c.epoch = Epoch(1)), MessageError::WrongEpoch(..)));
    assert!(matches!(refused(|c| c.parent.view = View(2)), MessageError::Impossible(_)));
    assert!(matches!(refused(|c| c.view = View(u64::MAX)), MessageError::Impossible(_)));
}

#[test]
fn messages_survive_their_encoding_and_other_bytes_are_refused() {
    let good = block(2, 1, genesis_parent(), &[item(1), item(2)]);
    let messages = [
        proposal(&good),
        vote(1, Prepare, 2, good.digest()),
        failed(7),
        Message::Fetch(crate::message::Fetch::Candidate(item(1))),
    ];
    for message in messages {
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).unwrap(), message);
        for cut in 0..bytes.len() {
            assert!(Message::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // A changed byte is refused at once, or changes something that is signed, or the question.
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 0x10;
            let fetch = matches!(message, Message::Fetch(_));
            let passes = Message::decode(&changed).and_then(|message| message.verify(&context()));
            assert!(fetch || passes.is_err(), "byte {place} of {message:?}");
        }
    }
    // A generator of bytes that needs no crate: each block hashed from the one before.
    let mut noise = Vec::new();
    for round in 0..2_000 {
        noise.extend(item(round).as_bytes());
        let from = noise.len().saturating_sub(round as usize % 500);
        assert!(Message::decode(&noise[from..]).is_err());
    }
    assert!(Message::decode(&vec![0; crate::message::MAX_MESSAGE_BYTES + 1]).is_err());
}
