//! What shows an entry of the trust registry, or that there is none.

use genesis::Digest;
use serde::{Deserialize, Serialize};

use crate::state::StateKey;
use crate::{RegistryEntry, RegistryKey, tree};

/// What the registry holds under a key, with what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryProof {
    /// The way to the entry in the state tree.
    pub path: tree::Proof,
    /// The entry; none where there never was one.
    pub entry: Option<RegistryEntry>,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryProofError {
    /// The path is not one in the tree.
    #[error("the entry's path: {0}")]
    Path(#[from] tree::ProofError),
    /// The path ends at another entry, or there should be one, or none.
    #[error("the tree says that the entry has digest {expected:?}, but the proof brings {found:?}")]
    Entry {
        /// What the tree holds.
        expected: Option<Digest>,
        /// What came.
        found: Option<Digest>,
    },
}

impl EntryProof {
    /// What it shows of `key` in the state with this root.
    ///
    /// # Errors
    /// When it does not fit the root, or itself.
    pub fn check(
        self,
        key: &RegistryKey,
        state_root: &Digest,
    ) -> Result<Option<RegistryEntry>, EntryProofError> {
        let expected = self.path.value(state_root, &StateKey::Registry(*key).digest())?;
        let found = self.entry.as_ref().map(RegistryEntry::digest);
        // An entry's digest covers all that its key is made of.
        if expected != found {
            return Err(EntryProofError::Entry { expected, found });
        }
        Ok(self.entry)
    }
}
