//! What a block's execution led to, as the validators sign it in a checkpoint.

use genesis::{Configuration, Digest, Genesis};
use serde::{Deserialize, Serialize};

use crate::Governance;

/// The hashes of all that a block led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The root of the state tree after the block ([`crate::state`]).
    pub state_root: Digest,
    /// The root of the block's receipts ([`crate::state::receipts_root`]).
    pub receipts_root: Digest,
    /// The configuration that is in charge of the next block.
    pub configuration: Digest,
    /// The configuration aimed at, where it differs.
    pub pending: Option<Digest>,
}

impl Outcome {
    /// That of the chain without blocks: its tree is empty, or that of the chain that it goes on from.
    pub fn genesis(genesis: &Genesis) -> Self {
        Self {
            state_root: genesis.predecessor().map_or(Digest::ZERO, |predecessor| predecessor.state_root),
            receipts_root: Digest::ZERO,
            configuration: Configuration::of(genesis).digest(),
            pending: None,
        }
    }

    /// That of the block after this one, with these roots, where the governance changed if one is given.
    pub(crate) fn after(
        &self,
        state_root: Digest,
        receipts_root: Digest,
        governance: Option<&Governance>,
    ) -> Self {
        let (configuration, pending) = match governance {
            Some(new) => (new.configuration.digest(), new.pending.as_ref().map(Configuration::digest)),
            None => (self.configuration, self.pending),
        };
        Self { state_root, receipts_root, configuration, pending }
    }
}
