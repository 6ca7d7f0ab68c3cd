//! Vote: a validator's word on an open proposal.

use genesis::Digest;
use serde::{Deserialize, Serialize};

/// Approves or rejects an open proposal. A validator's later vote replaces its earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GovernanceVote {
    /// The proposal: the id of the transaction that opened it.
    pub proposal: Digest,
    /// Whether the change is to be made.
    pub approve: bool,
}
