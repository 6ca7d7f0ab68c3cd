//! What a replica's records hold above its newest executed block, when its network will never go on: what is final, and
//! what may be, because somebody who is lost may have held the commit certificate.
//!
//! Invariant: the chain of the highest prepare certificate holds every block that can be final among those that the
//! record's owner heard of. (A view with a commit certificate has no view-change certificate, so whatever was prepared
//! later descends from it; and of q that committed, one at least is among any n−q+1 that survive.)
//!
//! Left to the caller: that the records are the owner's and whole, and whether to take what is only prepared.

use std::collections::BTreeMap;

use genesis::{Digest, Epoch, Height, View};

use crate::candidate::{Block, Tip};
use crate::certificate::Certificate;
use crate::checkpoint::CheckpointCertificate;
use crate::message::VoteKind;
use crate::output::Record;

/// The blocks above the newest executed one.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// Final, oldest first, each with its commit certificate where it has one of its own.
    pub finished: Vec<(Block, Option<Certificate>)>,
    /// Prepared by a quorum, oldest first, after those.
    pub prepared: Vec<Block>,
    /// The certificate of the last prepared block, or of a filler behind it.
    pub certificate: Option<Certificate>,
    /// The highest certified block that does not stand in the records as a chain from the tip.
    pub missing: Option<Missing>,
    /// The checkpoint certificates of this epoch in the records, by height.
    pub checkpoints: BTreeMap<Height, CheckpointCertificate>,
}

/// A block of which a quorum's certificate is here, but not the block, or not all its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The view of the certified block, or its height where only its checkpoint is here.
    pub certified: Place,
    /// The certified block.
    pub digest: Digest,
    /// Whether it is final.
    pub is_final: bool,
}

/// Where a missing block belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// By its view.
    View(View),
    /// By its height.
    Height(Height),
}

/// What of the records belongs to one epoch.
#[derive(Default)]
struct Sorted {
    blocks: BTreeMap<Digest, Block>,
    prepared: BTreeMap<View, Certificate>,
    committed: BTreeMap<View, Certificate>,
    /// The last certificate of a block in a later epoch.
    later: Option<Certificate>,
    checkpoints: BTreeMap<Height, CheckpointCertificate>,
}

impl Remains {
    /// Looks through `records` for what lies above `tip`, the newest executed block, in its `epoch`.
    pub fn of(records: impl IntoIterator<Item = Record>, epoch: Epoch, tip: &Tip) -> Self {
        let Sorted { blocks, prepared, committed, later, checkpoints } = Sorted::of(records, epoch, tip);
        let chain = |digest: Digest| chain(&blocks, digest, tip);
        let mut remains = Self::default();
        // What is final: the newest of either kind whose chain is here; what is not here is missing.
        let by_commit = committed.last_key_value().map(|(view, newest)| (Place::View(*view), newest.digest));
        let by_checkpoint = checkpoints.last_key_value().filter(|(height, _)| **height > tip.height);
        let by_checkpoint =
            by_checkpoint.map(|(height, newest)| (Place::Height(*height), newest.checkpoint.block));
        for (certified, digest) in [by_commit, by_checkpoint].into_iter().flatten() {
            match chain(digest) {
                Some(blocks) if blocks.len() > remains.finished.len() => {
                    let own = |block: Block| {
                        let own = committed.get(&block.view).filter(|own| own.digest == block.digest());
                        (block, own.cloned())
                    };
                    remains.finished = blocks.into_iter().map(own).collect();
                }
                Some(_) => {}
                None => remains.missing = Some(Missing { certified, digest, is_final: true }),
            }
        }
        if let Some((view, highest)) = prepared.last_key_value() {
            match chain(highest.digest) {
                Some(blocks) if blocks.len() > remains.finished.len() => {
                    remains.prepared = blocks.into_iter().skip(remains.finished.len()).collect();
                    remains.certificate = Some(highest.clone());
                }
                Some(_) => {}
                None => {
                    let certified = Place::View(*view);
                    let missing = Missing { certified, digest: highest.digest, is_final: false };
                    remains.missing = remains.missing.or(Some(missing));
                }
            }
        }
        if let Some(later) = later {
            // The ledger has not even begun that epoch: what was decided in it cannot be taken in from here.
            let (certified, is_final) = (Place::View(later.view), later.kind == VoteKind::Commit);
            remains.missing = Some(Missing { certified, digest: later.digest, is_final });
        }
        // Fillers are never executed; where nothing else is prepared, nothing is.
        let mut height = tip.height;
        let mut is_next = |block: &Block| {
            let next = block.height > height;
            height = height.max(block.height);
            next
        };
        remains.finished.retain(|(block, _)| is_next(block));
        remains.prepared.retain(is_next);
        remains.certificate = remains.certificate.filter(|_| !remains.prepared.is_empty());
        remains.checkpoints = checkpoints;
        remains
    }
}

impl Sorted {
    fn of(records: impl IntoIterator<Item = Record>, epoch: Epoch, tip: &Tip) -> Self {
        let mut sorted = Self::default();
        let mut of = Epoch::ZERO;
        for record in records {
            match record {
                Record::Epoch(began, opening) => {
                    of = began;
                    // It closed the epoch before, to which it belongs.
                    sorted.checkpoint(opening, epoch);
                }
                Record::Checkpoint(checkpoint) => sorted.checkpoint(Some(checkpoint), epoch),
                Record::PrePrepare(proposal) if proposal.candidate.epoch == epoch => {
                    let block = Block::new(proposal.candidate);
                    sorted.blocks.insert(block.digest(), block);
                }
                Record::Certificate(certificate) if of == epoch && certificate.view > tip.view => {
                    let kind = match certificate.kind {
                        VoteKind::Prepare => &mut sorted.prepared,
                        VoteKind::Commit => &mut sorted.committed,
                        VoteKind::ViewChange => continue,
                    };
                    kind.insert(certificate.view, certificate);
                }
                Record::Certificate(certificate)
                    if of > epoch && certificate.kind != VoteKind::ViewChange =>
                {
                    let is_final = |found: &Certificate| found.kind == VoteKind::Commit;
                    if is_final(&certificate) || !sorted.later.as_ref().is_some_and(is_final) {
                        sorted.later = Some(certificate);
                    }
                }
                _ => {}
            }
        }
        sorted
    }

    fn checkpoint(&mut self, certificate: Option<CheckpointCertificate>, epoch: Epoch) {
        let certificate = certificate.filter(|certificate| certificate.checkpoint.epoch == epoch);
        self.checkpoints.extend(certificate.map(|found| (found.checkpoint.height, found)));
    }
}

/// The blocks from the one after `tip` to `last`, if all are here. None of them twice: each has a lower view than the next.
fn chain(blocks: &BTreeMap<Digest, Block>, last: Digest, tip: &Tip) -> Option<Vec<Block>> {
    let mut chain: Vec<Block> = Vec::new();
    let mut digest = last;
    while digest != tip.digest {
        let block = blocks.get(&digest)?;
        if block.view <= tip.view || chain.last().is_some_and(|child| child.view <= block.view) {
            return None;
        }
        digest = block.parent.digest;
        chain.push(block.clone());
    }
    chain.reverse();
    Some(chain)
}

#[cfg(test)]
mod tests {
    use genesis::{Signature, UnixMillis};

    use super::*;
    use crate::candidate::{Candidate, Parent};
    use crate::checkpoint::{Checkpoint, Cited};
    use crate::message::PrePrepare;

    const TIP: Tip = Tip {
        height: Height(7),
        view: View(10),
        digest: Digest::ZERO,
        time: UnixMillis(7),
        cites: Cited { height: Height(6), digest: Digest::ZERO },
    };

    fn signature() -> Signature {
        genesis::SecretKey::from_seed([1; 32]).sign(b"nobody looks at it")
    }

    fn child(view: u64, parent: Parent, height: u64) -> Block {
        let (time, nonces, payload) = (UnixMillis(height), Vec::new(), Vec::new());
        let (epoch, view, height, cites) = (Epoch(3), View(view), Height(height), TIP.cites);
        Block::new(Candidate { epoch, view, height, parent, time, cites, nonces, payload })
    }

    fn as_parent(block: &Block) -> Parent {
        Parent { view: block.view, digest: block.digest() }
    }

    /// Blocks of heights 8, 9 and 10 in views 11, 13 and 14.
    fn three() -> [Block; 3] {
        let first = child(11, Parent { view: TIP.view, digest: TIP.digest }, 8);
        let second = child(13, as_parent(&first), 9);
        let third = child(14, as_parent(&second), 10);
        [first, second, third]
    }

    fn known(block: &Block) -> Record {
        Record::PrePrepare(PrePrepare { candidate: block.candidate().clone(), signature: signature() })
    }

    fn certificate(kind: VoteKind, block: &Block) -> Record {
        let (view, digest) = (block.view, block.digest());
        Record::Certificate(Certificate { kind, view, digest, signatures: Vec::new() })
    }

    fn checkpoint(block: &Block) -> Record {
        let checkpoint = Checkpoint {
            epoch: block.epoch,
            height: block.height,
            block: block.digest(),
            time: block.time,
            state_root: Digest::ZERO,
            receipts_root: Digest::ZERO,
            configuration: Digest::ZERO,
            pending: None,
        };
        Record::Checkpoint(CheckpointCertificate { checkpoint, signatures: Vec::new() })
    }

    fn remains(records: impl IntoIterator<Item = Record>) -> Remains {
        Remains::of(std::iter::once(Record::Epoch(Epoch(3), None)).chain(records), Epoch(3), &TIP)
    }

    fn heights(remains: &Remains) -> (Vec<u64>, Vec<u64>) {
        let finished = remains.finished.iter().map(|(block, _)| block.height.0);
        (finished.collect(), remains.prepared.iter().map(|block| block.height.0).collect())
    }

    #[test]
    fn nothing_remains_of_records_that_end_at_the_tip() {
        let remains = remains([]);
        assert_eq!(heights(&remains), (vec![], vec![]));
        assert!(remains.missing.is_none() && remains.certificate.is_none());
    }

    #[test]
    fn what_a_commit_or_a_checkpoint_covers_is_final_and_the_rest_of_the_highest_prepared_chain_is_not() {
        let [first, second, third] = three();
        let blocks = [known(&first), known(&second), known(&third)];
        let prepared = certificate(VoteKind::Prepare, &third);
        for last in [certificate(VoteKind::Commit, &second), checkpoint(&second)] {
            let remains = remains(blocks.clone().into_iter().chain([prepared.clone(), last.clone()]));
            assert_eq!(heights(&remains), (vec![8, 9], vec![10]));
            assert_eq!(remains.finished[0].1, None);
            let own = matches!(last, Record::Certificate(_));
            assert_eq!(remains.finished[1].1.is_some(), own);
            assert_eq!(remains.certificate.unwrap().digest, third.digest());
        }
    }

    #[test]
    fn the_prepare_certificate_of_the_highest_view_counts() {
        let [first, second, _] = three();
        // Prepared in view 12, and given up: view 13 builds on view 11.
        let aside = child(12, as_parent(&first), 9);
        let prepared = [&first, &aside, &second].map(|block| certificate(VoteKind::Prepare, block));
        let remains = remains([known(&first), known(&second), known(&aside)].into_iter().chain(prepared));
        assert_eq!(heights(&remains), (vec![], vec![8, 9]));
        assert_eq!(remains.prepared[1].digest(), second.digest());
    }

    #[test]
    fn a_certified_block_that_is_not_here_is_named() {
        let [first, second, third] = three();
        let [commit, prepare] = [(VoteKind::Commit, &second), (VoteKind::Prepare, &third)]
            .map(|(kind, block)| certificate(kind, block));
        let lost = remains([known(&second), commit.clone(), known(&first)]);
        assert_eq!((heights(&lost), lost.missing), ((vec![8, 9], vec![]), None));
        let lost = remains([known(&first), commit]).missing.unwrap();
        assert_eq!((lost.digest, lost.is_final), (second.digest(), true));
        let lost = remains([known(&third), prepare, known(&first)]).missing.unwrap();
        assert_eq!((lost.digest, lost.is_final), (third.digest(), false));
    }

    #[test]
    fn what_was_decided_in_an_epoch_that_the_ledger_has_not_begun_is_missing() {
        let [first, second, _] = three();
        let later = |kind| [known(&first), Record::Epoch(Epoch(4), None), certificate(kind, &second)];
        let lost = remains(later(VoteKind::Commit)).missing.unwrap();
        assert_eq!((lost.digest, lost.is_final), (second.digest(), true));
        assert!(!remains(later(VoteKind::Prepare)).missing.unwrap().is_final);
        assert!(remains(later(VoteKind::ViewChange)).missing.is_none());
    }

    #[test]
    fn fillers_and_what_belongs_to_another_epoch_or_below_the_tip_do_not_remain() {
        let [first, second, _] = three();
        let filler = child(14, as_parent(&first), 8);
        let remains_with_filler =
            remains([known(&first), known(&filler), certificate(VoteKind::Prepare, &filler)]);
        assert_eq!(heights(&remains_with_filler), (vec![], vec![8]));

        let prepared = certificate(VoteKind::Prepare, &second);
        let before = [Record::Epoch(Epoch(2), None), known(&first), known(&second), prepared.clone()];
        let of_another = Remains::of(before, Epoch(3), &TIP);
        assert_eq!(heights(&of_another), (vec![], vec![]));
        let of_another =
            Remains::of([known(&first), known(&second), prepared], Epoch(3), &Tip { view: View(20), ..TIP });
        assert_eq!(heights(&of_another), (vec![], vec![]));
        assert!(of_another.missing.is_none());
    }
}
