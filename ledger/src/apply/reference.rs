//! The rules of a DID's life held against a map that knows nothing of records, commitments or trees.

use std::collections::{BTreeMap, BTreeSet};

use genesis::{Digest, Height};
use proptest::prelude::*;

use super::*;
use crate::samples::{Memory, batch, create, created, deactivated, document, moment, recovered, updated};
use crate::state::{BlockSummary, StateKey, receipts_root};
use crate::tree::{self, Leaf};
use crate::{Transaction, Version};

/// A transaction about the DID of key `subject`.
#[derive(Clone, Debug)]
enum Step {
    Create { subject: u8 },
    Update { subject: u8, replaces: u64, keys: BTreeSet<u8>, signer: u8 },
    Recover { subject: u8, keys: BTreeSet<u8>, number: u8 },
    Deactivate { subject: u8, replaces: u64, signer: u8 },
}

/// What becomes of a DID, as a person would note it down.
#[derive(Default)]
struct Noted {
    /// The keys of each version; none for the one that ended it.
    versions: Vec<Option<BTreeSet<u8>>>,
    /// Which recovery key counts.
    recovery: u8,
}

impl Step {
    fn transaction(&self) -> Transaction {
        let list = |keys: &BTreeSet<u8>| keys.iter().copied().collect::<Vec<u8>>();
        match self {
            Self::Create { subject } => created(*subject),
            Self::Update { subject, replaces, keys, signer } => {
                updated(*subject, *replaces, &list(keys), *signer)
            }
            Self::Recover { subject, keys, number } => recovered(*subject, &list(keys), *number),
            Self::Deactivate { subject, replaces, signer } => deactivated(*subject, *replaces, *signer),
        }
    }

    /// What must come of it; it is noted down.
    fn expected(&self, notes: &mut BTreeMap<u8, Noted>) -> Code {
        let (Self::Create { subject }
        | Self::Update { subject, .. }
        | Self::Recover { subject, .. }
        | Self::Deactivate { subject, .. }) = self;
        let noted = notes.entry(*subject).or_default();
        let (count, exists) = (noted.versions.len() as u64, !noted.versions.is_empty());
        let current = noted.versions.last().cloned().flatten();
        match (self, current) {
            (Self::Create { .. }, _) if exists => Code::DidExists,
            (Self::Create { subject }, _) => {
                *noted = Noted { versions: vec![Some([*subject].into())], recovery: 1 };
                Code::Applied
            }
            (_, None) if exists => Code::Deactivated,
            (_, None) => Code::NoSuchDid,
            (Self::Update { replaces, .. } | Self::Deactivate { replaces, .. }, _) if *replaces != count => {
                Code::VersionMismatch
            }
            (Self::Update { signer, .. } | Self::Deactivate { signer, .. }, Some(keys))
                if !keys.contains(signer) =>
            {
                Code::Unauthorised
            }
            (Self::Update { keys, .. }, _) => {
                noted.versions.push(Some(keys.clone()));
                Code::Applied
            }
            (Self::Deactivate { .. }, _) => {
                noted.versions.push(None);
                Code::Applied
            }
            (Self::Recover { number, .. }, _) if *number != noted.recovery => Code::OtherRecovery,
            (Self::Recover { keys, number, .. }, _) => {
                noted.versions.push(Some(keys.clone()));
                noted.recovery = number + 1;
                Code::Applied
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (subject, signer, replaces) = (1..4_u8, 1..6_u8, 1..5_u64);
    let keys = || prop::collection::btree_set(1..6_u8, 1..3);
    prop_oneof![
        1 => subject.clone().prop_map(|subject| Step::Create { subject }),
        4 => (subject.clone(), replaces.clone(), keys(), signer.clone())
            .prop_map(|(subject, replaces, keys, signer)| Step::Update { subject, replaces, keys, signer }),
        2 => (subject.clone(), keys(), 1..4_u8).prop_map(|(subject, keys, number)| Step::Recover { subject, keys, number }),
        1 => (subject, replaces, signer)
            .prop_map(|(subject, replaces, signer)| Step::Deactivate { subject, replaces, signer }),
    ]
}

proptest! {
    #[test]
    fn every_history_of_transactions_leads_where_a_simple_map_says(
        blocks in prop::collection::vec(prop::collection::vec(step(), 0..6), 1..12),
    ) {
        let (mut state, mut notes) = (Memory::default(), BTreeMap::new());
        let (mut seen, mut leaves) = (BTreeSet::new(), BTreeMap::new());
        for (height, steps) in (1..).zip(&blocks) {
            let mut distinct = BTreeSet::new();
            let steps: Vec<&Step> =
                steps.iter().filter(|step| distinct.insert(step.transaction().id())).collect();
            let transactions: Vec<Transaction> = steps.iter().map(|step| step.transaction()).collect();
            let batches = if transactions.is_empty() { Vec::new() } else { vec![batch(height, &transactions).0] };
            let changes = apply(&state, moment(height), None, &batches).unwrap();
            // What was ordered before leaves no second receipt.
            let new = steps.iter().filter(|step| seen.insert(step.transaction().id()));
            let expected: Vec<(Digest, Code)> =
                new.map(|step| (step.transaction().id(), step.expected(&mut notes))).collect();
            let found: Vec<(Digest, Code)> =
                changes.receipts.iter().map(|receipt| (receipt.id, receipt.code)).collect();
            prop_assert_eq!(found, expected);
            let summary = BlockSummary {
                height: Height(height),
                time: moment(height).time,
                receipts_root: receipts_root(&changes.receipts),
            };
            leaves.insert(StateKey::Block(Height(height)).digest(), summary.digest());
            state.take(changes);
        }
        for (subject, noted) in &notes {
            let did = create(&[*subject]).did();
            for (version, keys) in (1..).map(Version).zip(&noted.versions) {
                let record = &state.records[&(did, version)];
                let expected = keys.as_ref().map(|keys| document(&keys.iter().copied().collect::<Vec<u8>>()));
                prop_assert_eq!(&record.document, &expected);
                leaves.insert(StateKey::Did(did).digest(), record.header.digest());
            }
        }
        let versions: usize = notes.values().map(|noted| noted.versions.len()).sum();
        prop_assert_eq!(state.records.len(), versions);
        leaves.insert(StateKey::Governance.digest(), state.governance.digest());
        let leaves: Vec<Leaf> = leaves.into_iter().map(|(key, value)| Leaf { key, value }).collect();
        prop_assert_eq!(state.outcome.state_root, tree::root(&leaves));
    }
}
