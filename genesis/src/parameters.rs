//! The numbers that a network is founded with. Each has a default, a range, and a reason to exist; a value out of
//! range is refused by name.
//!
//! The validators may change some by a vote. Those that say whether a transaction or a batch is valid on its own
//! ([`Parameters::check_founded`] lists them) stay as founded: they are asked before, and far from, the state that
//! would hold a change.

use serde::{Deserialize, Serialize};

/// Parameters of a network, equal on all its nodes. Times are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    /// Δ: the delay that the network is expected to keep when it is well. A leader is given 2Δ, a view 3Δ (P9).
    pub delta_ms: u64,
    /// What Δ grows to at most while views fail (P9).
    pub delta_cap_ms: u64,
    /// An idle network makes one empty block in this time (P10).
    pub heartbeat_ms: u64,
    /// How far a block's time may be ahead of a validator's clock (P11).
    pub clock_bound_ms: u64,
    /// The most batches that one block names.
    pub max_block_batches: u64,
    /// K: a block further than this past the checkpoint that it cites names no batches, so that execution cannot
    /// fall behind for good (P6). In heights.
    pub max_checkpoint_lag: u64,
    /// The most bytes in one batch.
    pub max_batch_bytes: u64,
    /// The most transactions in one batch.
    pub max_batch_transactions: u64,
    /// The most bytes in one transaction.
    pub max_transaction_bytes: u64,
    /// How many heights ahead a transaction's expiry may lie.
    pub max_transaction_lifetime: u64,
    /// How many heights ahead a batch's expiry may lie; bounds how long its digest is remembered.
    pub max_batch_lifetime: u64,
    /// The most keys in one DID document.
    pub max_document_keys: u64,
    /// The most bytes in one DID document.
    pub max_document_bytes: u64,
    /// The most controllers in one DID document.
    pub max_controllers: u64,
    /// The highest version that an update makes; recovery and deactivation go on beyond. Bounds what one DID can have every
    /// node keep.
    pub max_versions: u64,
    /// The most services in one DID document.
    pub max_services: u64,
    /// The most DIDs that one transaction of a registrar brings. With one key each, 64 fit into 16 KiB.
    pub max_create_many_items: u64,
    /// The most DIDs that the batches of one author register in one block.
    pub max_author_registrations: u64,
    /// Who may register a DID.
    pub registration: Registration,
}

/// Who may register a DID. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// Anybody.
    Open,
    /// Whom an accredited registrar endorses, and whom the registry accredits itself.
    Endorsed,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            delta_ms: 400,
            delta_cap_ms: 8_000,
            heartbeat_ms: 60_000,
            clock_bound_ms: 2_000,
            max_block_batches: 256,
            max_checkpoint_lag: 64,
            max_batch_bytes: 1 << 20,
            max_batch_transactions: 4_000,
            max_transaction_bytes: 16 << 10,
            max_transaction_lifetime: 100_000,
            max_batch_lifetime: 10_000,
            max_document_keys: 20,
            max_document_bytes: 4 << 10,
            max_controllers: 4,
            max_versions: 10_000,
            max_services: 4,
            max_create_many_items: 64,
            max_author_registrations: 1_000_000,
            registration: Registration::Open,
        }
    }
}

/// A parameter outside its range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field} is {value}, but must be {least} to {most}")]
pub struct ParameterError {
    /// Its name.
    pub field: &'static str,
    /// Its value.
    pub value: u64,
    /// The least allowed.
    pub least: u64,
    /// The most allowed.
    pub most: u64,
}

/// A parameter that no vote may change.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{field} stays as the network was founded, {founded}, and cannot become {value}: whether a transaction or a batch \
     is valid depends on it"
)]
pub struct FoundedParameterError {
    /// Its name.
    pub field: &'static str,
    /// Its value in the genesis document.
    pub founded: u64,
    /// The value asked for.
    pub value: u64,
}

impl Parameters {
    /// Checks that what a vote may not change is as in `founded`, the genesis document's.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check_founded(&self, founded: &Self) -> Result<(), FoundedParameterError> {
        let fixed = [
            ("max_batch_bytes", self.max_batch_bytes, founded.max_batch_bytes),
            ("max_batch_transactions", self.max_batch_transactions, founded.max_batch_transactions),
            ("max_transaction_bytes", self.max_transaction_bytes, founded.max_transaction_bytes),
            ("max_batch_lifetime", self.max_batch_lifetime, founded.max_batch_lifetime),
            ("max_document_keys", self.max_document_keys, founded.max_document_keys),
            ("max_document_bytes", self.max_document_bytes, founded.max_document_bytes),
            ("max_controllers", self.max_controllers, founded.max_controllers),
            ("max_services", self.max_services, founded.max_services),
            ("max_create_many_items", self.max_create_many_items, founded.max_create_many_items),
        ];
        fixed.into_iter().try_for_each(|(field, value, founded)| {
            if value == founded { Ok(()) } else { Err(FoundedParameterError { field, founded, value }) }
        })
    }

    /// Checks that each parameter is in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), ParameterError> {
        let ranges = [
            ("delta_ms", self.delta_ms, 10, 60_000),
            ("delta_cap_ms", self.delta_cap_ms, self.delta_ms, 600_000),
            // A heartbeat must find the time to be certified before the next is due.
            ("heartbeat_ms", self.heartbeat_ms, self.delta_ms.saturating_mul(3), 86_400_000),
            ("clock_bound_ms", self.clock_bound_ms, 10, 600_000),
            ("max_block_batches", self.max_block_batches, 1, 4_096),
            // A block's checkpoint is cited three or four blocks later at the earliest.
            ("max_checkpoint_lag", self.max_checkpoint_lag, 8, 1_024),
            ("max_batch_bytes", self.max_batch_bytes, 4_096, 4 << 20),
            ("max_batch_transactions", self.max_batch_transactions, 1, 100_000),
            ("max_transaction_bytes", self.max_transaction_bytes, 1_024, self.max_batch_bytes / 2),
            ("max_transaction_lifetime", self.max_transaction_lifetime, 10, 10_000_000),
            ("max_batch_lifetime", self.max_batch_lifetime, 10, 1_000_000),
            ("max_document_keys", self.max_document_keys, 1, 200),
            ("max_document_bytes", self.max_document_bytes, 256, self.max_transaction_bytes),
            ("max_controllers", self.max_controllers, 0, 16),
            ("max_versions", self.max_versions, 2, 1_000_000_000),
            ("max_services", self.max_services, 0, 64),
            ("max_create_many_items", self.max_create_many_items, 1, 10_000),
            ("max_author_registrations", self.max_author_registrations, 1, 1_000_000_000),
        ];
        ranges.into_iter().try_for_each(|(field, value, least, most)| {
            let fits = (least..=most).contains(&value);
            if fits { Ok(()) } else { Err(ParameterError { field, value, least, most }) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert_eq!(Parameters::default().check(), Ok(()));
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_bounds() {
        let parameters = Parameters { delta_cap_ms: 3, ..Parameters::default() };
        let error = parameters.check().unwrap_err().to_string();
        assert_eq!(error, "delta_cap_ms is 3, but must be 400 to 600000");
    }

    /// Each parameter is changed alone, by its name, so that one added later must be put on one side or the other.
    #[test]
    fn a_vote_may_change_these_parameters_and_no_others() {
        let founded = Parameters::default();
        let serde_json::Value::Object(fields) = serde_json::to_value(&founded).unwrap() else {
            panic!("an object")
        };
        let may_change = |field: &String| {
            let mut changed = fields.clone();
            changed[field] = match fields[field].as_u64() {
                Some(number) => (number + 1).into(),
                None => serde_json::to_value(Registration::Endorsed).unwrap(),
            };
            let changed: Parameters = serde_json::from_value(changed.into()).unwrap();
            match changed.check_founded(&founded) {
                Ok(()) => true,
                Err(error) => {
                    assert_eq!(error.field, field);
                    false
                }
            }
        };
        let mut changeable: Vec<&str> =
            fields.keys().filter(|field| may_change(field)).map(String::as_str).collect();
        changeable.sort_unstable();
        assert_eq!(
            changeable,
            [
                "clock_bound_ms",
                "delta_cap_ms",
                "delta_ms",
                "heartbeat_ms",
                "max_author_registrations",
                "max_block_batches",
                "max_checkpoint_lag",
                "max_transaction_lifetime",
                "max_versions",
                "registration",
            ]
        );
    }
}
