//! What is written down of a call, and the register that a DID is.

use std::time::Duration;

use client::api::Receipt;
use genesis::{Digest, Height};
use ledger::{Code, DidId, Version};

/// What a DID is, as far as the checks know it: a version and the digest of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not registered.
    Absent,
    /// Registered.
    Active {
        /// How often it was set.
        version: Version,
        /// The digest of its document.
        document: Digest,
    },
    /// Deactivated.
    Ended {
        /// The last version.
        version: Version,
    },
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Registers.
    Create {
        /// The digest of the first document.
        document: Digest,
    },
    /// Replaces one version of the document.
    Update {
        /// Which version.
        replaces: Version,
        /// The digest of the new document.
        document: Digest,
    },
    /// Ends the DID at one version.
    Deactivate {
        /// Which version.
        replaces: Version,
    },
}

/// A transaction from its first submission to what its client was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Whose.
    pub did: DidId,
    /// The transaction's id.
    pub id: Digest,
    /// What it does.
    pub change: Change,
    /// When it was first submitted.
    pub invoked: Duration,
    /// What the client was told; none where it gave up.
    pub told: Option<Told>,
    /// What the nodes say at the end.
    pub answers: Vec<Answer>,
}

/// An outcome that a client learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// When.
    pub at: Duration,
    /// The outcome.
    pub receipt: Receipt,
}

/// What a node says of a transaction at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which node.
    pub node: usize,
    /// Its receipt, if it has one.
    pub receipt: Option<Receipt>,
}

/// A resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Whose.
    pub did: DidId,
    /// Who answered.
    pub node: usize,
    /// How often that node had lost its whole chain by then: it begins anew, and has shown nothing yet.
    pub life: usize,
    /// When the call began.
    pub invoked: Duration,
    /// When the answer was there.
    pub returned: Duration,
    /// The node's height just before the resolution.
    pub from: Height,
    /// The node's height just after it.
    pub to: Height,
    /// What it showed.
    pub seen: State,
}

impl State {
    /// The version; zero where there is none.
    pub const fn version(self) -> Version {
        match self {
            Self::Absent => Version(0),
            Self::Active { version, .. } | Self::Ended { version } => version,
        }
    }

    /// The rules, written a second time: what `change` makes of this state.
    ///
    /// # Errors
    /// Why it makes nothing.
    pub fn after(self, change: Change) -> Result<Self, Code> {
        match (self, change) {
            (Self::Absent, Change::Create { document }) => {
                Ok(Self::Active { version: Version::FIRST, document })
            }
            (_, Change::Create { .. }) => Err(Code::DidExists),
            (Self::Absent, _) => Err(Code::NoSuchDid),
            (Self::Ended { .. }, _) => Err(Code::Deactivated),
            (
                Self::Active { version, .. },
                Change::Update { replaces, .. } | Change::Deactivate { replaces },
            ) if version != replaces => Err(Code::VersionMismatch),
            (Self::Active { version, .. }, Change::Update { document, .. }) => {
                Ok(Self::Active { version: version.next(), document })
            }
            (Self::Active { version, .. }, Change::Deactivate { .. }) => {
                Ok(Self::Ended { version: version.next() })
            }
        }
    }

    /// Whether a receipt with this code and version is one that `change` may get in this state. What expired has none.
    pub fn explains(self, change: Change, receipt: &Receipt) -> bool {
        match self.after(change) {
            Ok(next) => receipt.is_applied() && receipt.version == Some(next.version()),
            Err(code) => receipt.code == code.number() && receipt.version.is_none(),
        }
    }
}

impl Write {
    /// Its receipt, from whoever has one.
    pub fn receipt(&self) -> Option<&Receipt> {
        let told = self.told.as_ref().map(|told| &told.receipt);
        told.or_else(|| self.answers.iter().find_map(|answer| answer.receipt.as_ref()))
    }
}
