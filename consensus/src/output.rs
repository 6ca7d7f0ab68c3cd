//! What a step asks for: first records to make durable, then actions to perform (P7).
//!
//! Invariant: the actions cannot be had before the records are durable. [`Output::persist`] is the only way to
//! them.

use genesis::{Digest, ValidatorIndex};
use serde::{Deserialize, Serialize};

use crate::candidate::Block;
use crate::certificate::Certificate;
use crate::message::{Message, PrePrepare, Vote};

/// Something that must survive a crash, because an action says or relies on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A vote that this replica signed.
    Vote(Vote),
    /// A proposal that this replica signed or prepared.
    PrePrepare(PrePrepare),
    /// A certificate that this replica acts on.
    Certificate(Certificate),
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
        /// Its own commit certificate.
        certificate: Option<Certificate>,
    },
    /// A commit certificate is held for a block that others finalised and this replica does not have: get final
    /// blocks after `after` from a peer and put them in as `Input::Synced`.
    Synchronize {
        /// The newest block that is final here.
        after: genesis::Height,
    },
    /// Two commit certificates contradict each other: more validators are faulty than the protocol bears. Stop,
    /// and show both.
    Halt(Fork),
}

/// The proof that safety was lost.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "block {} of view {} is certified as final, but does not descend from the final block {tip} of view {}: \
     more than f validators signed for both sides; stop all nodes and compare their chains",
    certificate.digest, certificate.view, tip_view
)]
pub struct Fork {
    /// The final block of this replica.
    pub tip: Digest,
    /// Its view.
    pub tip_view: genesis::View,
    /// The certificate that contradicts it.
    pub certificate: Certificate,
}

/// The result of a step.
#[derive(Debug, Default)]
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
            append(&self.records)?;
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
        self.records.push(record);
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn send(&mut self, to: Recipient, message: Message) {
        self.act(Action::Send(to, message));
    }
}
