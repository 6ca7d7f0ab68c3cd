//! What a block's execution led to, as the validators sign it in a checkpoint.

use std::collections::BTreeMap;

use genesis::encoding::encode;
use genesis::{Configuration, Digest, Domain, Genesis};
use serde::{Deserialize, Serialize};

use crate::{Governance, Moment, Receipt, Record, RegistryEntry, RegistryKey};

/// The hashes of all that a block led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The state after the block. As yet a running hash over the changes of all blocks; the root of a tree, from which
    /// single records can be proved, takes its place when the tree exists.
    pub state_root: Digest,
    /// The receipts of the block, in order.
    pub receipts_root: Digest,
    /// The configuration that is in charge of the next block.
    pub configuration: Digest,
    /// The configuration aimed at, where it differs.
    pub pending: Option<Digest>,
}

/// What the state's hash covers.
#[derive(Serialize)]
struct Step<'a> {
    previous: Digest,
    moment: Moment,
    records: &'a [Record],
    /// The whole of it, where the block changed any.
    governance: Option<&'a Governance>,
    registry: &'a BTreeMap<RegistryKey, RegistryEntry>,
    /// Which transactions were ordered is part of the state.
    receipts_root: Digest,
}

impl Outcome {
    /// That of the chain without blocks.
    pub fn genesis(genesis: &Genesis) -> Self {
        let governance = Governance::of(genesis);
        Self {
            state_root: Digest::of(Domain::State, &encode(&(genesis.chain(), &governance))),
            receipts_root: receipts_root(&[]),
            configuration: governance.configuration.digest(),
            pending: None,
        }
    }

    /// That of the block at `moment`, after this one.
    pub(crate) fn after(
        &self,
        moment: Moment,
        records: &[Record],
        receipts: &[Receipt],
        governance: Option<&Governance>,
        registry: &BTreeMap<RegistryKey, RegistryEntry>,
    ) -> Self {
        let receipts_root = receipts_root(receipts);
        let step = Step { previous: self.state_root, moment, records, governance, registry, receipts_root };
        let state_root = Digest::of(Domain::State, &encode(&step));
        let (configuration, pending) = match governance {
            Some(new) => (new.configuration.digest(), new.pending.as_ref().map(Configuration::digest)),
            None => (self.configuration, self.pending),
        };
        Self { state_root, receipts_root, configuration, pending }
    }
}

fn receipts_root(receipts: &[Receipt]) -> Digest {
    Digest::of(Domain::Receipts, &encode(&receipts))
}
