//! What a step asks for: first records to make durable, then actions to perform (P7).
//!
//! Invariant: the actions cannot be had before the records are durable. [`Output::persist`] is the only way to
//! them.

use genesis::{Configuration, Digest, Epoch, ValidatorIndex, View};
use serde::{Deserialize, Serialize};

use crate::bug::{Bug, on};
use crate::candidate::Block;
use crate::certificate::Certificate;
use crate::checkpoint::{Checkpoint, CheckpointCertificate};
use crate::evidence::Evidence;
use crate::message::{Message, PrePrepare, Vote, VoteKind};

/// Something that must survive a crash, because an action says or relies on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A vote that this replica signed.
    Vote(Vote),
    /// A proposal that this replica signed or prepared.
    PrePrepare(PrePrepare),
    /// A certificate that this replica acts on.
    Certificate(Certificate),
    /// A checkpoint that a block rests on which this replica proposed or prepared.
    Checkpoint(CheckpointCertificate),
    /// What follows belongs to this epoch: it has begun, or the ledger from which this replica was started stands in it,
    /// which may be older than the records before. With the certificate that closed the epoch before; none for the first.
    Epoch(Epoch, Option<CheckpointCertificate>),
    /// This journal does not hold all that the key has signed: nothing is signed until others told which views that
    /// can have been in (P7).
    Wiped,
    /// They told: nothing is signed in this epoch up to this view. Nothing was signed in a later one.
    Recovered {
        /// The epoch in which they told.
        epoch: Epoch,
        /// The bar.
        bar: View,
    },
    /// Nothing is signed in this epoch up to this view: what was is pruned from the records.
    Floor(View),
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// All other validators.
    All,
    /// One of them.
    One(ValidatorIndex),
}

/// Something for the node to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message; it may be lost, this replica sends again what matters (P8).
    Send(Recipient, Message),
    /// Say by `Input::Judged` whether the payload of this block is valid and durable here, once it is known.
    /// No answer means "not yet". A newer question replaces this one.
    Judge(Block),
    /// This block is final. Blocks come in order of height, without a gap; with the certificate where the block
    /// has one of its own, else a later block's certificate covers it.
    Finalize {
        /// The block.
        block: Block,
        /// Its own commit certificate, where it has one.
        certificate: Option<Certificate>,
        /// The hash of the configuration that takes over after this block, where it closes its epoch (P12).
        closes: Option<Digest>,
    },
    /// A checkpoint has its certificate. Keep it: others ask for it.
    Certified(CheckpointCertificate),
    /// A new epoch has begun: from now on this is who may speak, and who leads.
    Begin {
        /// The epoch.
        epoch: Epoch,
        /// Its validators and parameters.
        configuration: Configuration,
        /// What closed the one before: push it to those who may not have it.
        opening: CheckpointCertificate,
    },
    /// A validator contradicted itself. Keep the proof.
    Accuse(Evidence),
    /// A commit certificate is held for a block that others finalised and this replica does not have: get final
    /// blocks after `after` from a peer and put them in as `Input::Synced`.
    Synchronize {
        /// The newest block that is final here.
        after: genesis::Height,
    },
    /// Something happened that the protocol excludes with at most f faulty validators, or this replica's ledger is wrong.
    /// Nothing is signed any more: stop, and show why.
    Halt(Halt),
}

/// Why a replica signs nothing more.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Halt {
    /// Safety was lost.
    #[error(
        "block {} of view {} is certified as final, but does not descend from the final block {tip} of view {}: more than f \
         validators signed for both sides; stop all nodes and compare their chains",
        certificate.digest, certificate.view, tip_view
    )]
    Fork {
        /// The final block of this replica.
        tip: Digest,
        /// Its view.
        tip_view: View,
        /// The certificate that contradicts it.
        certificate: Certificate,
    },
    /// Executing the same block led to something else here than at others (P6).
    #[error(
        "after block {} at height {} this node has state {} and receipts {} (checkpoint {}), but {signers} validators signed \
         state {} and receipts {} (checkpoint {}): one side executed it wrongly",
        mine.block, mine.height, mine.state_root, mine.receipts_root, mine.digest(),
        theirs.state_root, theirs.receipts_root, theirs.digest()
    )]
    Diverged {
        /// What this replica's ledger has.
        mine: Box<Checkpoint>,
        /// What the others signed.
        theirs: Box<Checkpoint>,
        /// How many of them.
        signers: usize,
    },
    /// A quorum signed the result of a block that is not the final one here.
    #[error(
        "block {} is final at height {} here, but {signers} validators signed a checkpoint of block {}: more than f are \
         faulty; stop all nodes and compare their chains",
        mine.block, mine.height, theirs.block
    )]
    OtherBlock {
        /// What this replica's ledger has.
        mine: Box<Checkpoint>,
        /// What the others signed.
        theirs: Box<Checkpoint>,
        /// How many of them.
        signers: usize,
    },
}

/// The result of a step.
#[derive(Clone, Debug, Default)]
#[must_use = "what a step asks for must be made durable and performed"]
pub struct Output {
    records: Vec<Record>,
    actions: Vec<Action>,
}

impl Output {
    /// Releases the actions once `append` has made the records durable. `append` is not called for nothing.
    ///
    /// # Errors
    /// Those of `append`; the actions are lost then, and the replica must not step again: the node stops.
    pub fn persist<E>(self, append: impl FnOnce(&[Record]) -> Result<(), E>) -> Result<Vec<Action>, E> {
        if !self.records.is_empty() {
            let durable = append(&self.records);
            if !on(Bug::SentBeforeDurable) {
                durable?;
            }
        }
        Ok(self.actions)
    }

    /// Puts the output of a later step behind this one's, so that one sync serves both.
    pub fn merge(&mut self, later: Self) {
        self.records.extend(later.records);
        self.actions.extend(later.actions);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.actions.is_empty()
    }

    pub(crate) fn record(&mut self, record: Record) {
        if !is_forgotten(&record) {
            self.records.push(record);
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn send(&mut self, to: Recipient, message: Message) {
        self.act(Action::Send(to, message));
    }
}

/// Deliberate faults: a record that is not made.
fn is_forgotten(record: &Record) -> bool {
    match record {
        Record::Vote(vote) => match vote.kind {
            VoteKind::Prepare => on(Bug::PrepareNotRecorded),
            VoteKind::Commit => on(Bug::CommitNotRecorded),
            VoteKind::ViewChange => on(Bug::ViewChangeNotRecorded),
        },
        Record::PrePrepare(_) => on(Bug::BlockNotRecorded),
        Record::Certificate(_) => on(Bug::CertificateNotRecorded),
        Record::Wiped => on(Bug::LossNotRecorded),
        Record::Epoch(..) => on(Bug::EpochNotRecorded),
        Record::Floor(_) => false,
        Record::Checkpoint(_) | Record::Recovered { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_no_action_can_be_had_where_the_records_could_not_be_made_durable() {
        let mut output = Output::default();
        output.record(Record::Epoch(Epoch::ZERO, None));
        output.send(Recipient::All, Message::OwnVotes(Vec::new()));
        assert_eq!(output.clone().persist(|_| Err("disk full")).unwrap_err(), "disk full");
        assert_eq!(output.persist(|_| Ok::<(), &str>(())).unwrap().len(), 1);
    }
}
