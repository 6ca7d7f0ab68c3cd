//! What operators sign to change the network: proposals, votes, and a joining validator's word that it is ready.

use genesis::{Digest, Parameters, SecretKey, Signature, Validator};
use ledger::operation::{GovernanceVote, Propose, sign_ready};
use ledger::{Change, Operation, Transaction};
use serde::{Deserialize, Serialize};

use crate::wallet::Terms;

/// The most bytes that a readiness file may have.
pub const MAX_READINESS_BYTES: usize = 16 << 10;

/// A validator's word that it is ready to join: a file that its operator hands to the others. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// The chain that it is for.
    pub chain: Digest,
    /// The validator, as it is to stand in the set.
    pub validator: Validator,
    /// Its consensus key's signature over both.
    pub ready: Signature,
}

/// Why a parameter cannot be set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// Not `NAME=VALUE` with a whole number.
    #[error("`{text}` is not a parameter: expected NAME=VALUE, such as heartbeat_ms=30000")]
    Form {
        /// What was given.
        text: String,
    },
    /// No parameter has this name.
    #[error("there is no parameter `{name}`: expected one of {known}")]
    Unknown {
        /// What was given.
        name: String,
        /// The names that there are.
        known: String,
    },
}

impl Readiness {
    /// Signs that `validator` is ready on `chain`, by its consensus key.
    pub fn sign(chain: Digest, validator: Validator, consensus: &SecretKey) -> Self {
        let ready = sign_ready(&chain, &validator, consensus);
        Self { chain, validator, ready }
    }
}

/// A proposal by the validator with the key `governance`.
pub fn proposal(terms: &Terms, change: Change, governance: &SecretKey) -> Transaction {
    let operation = Operation::Propose(Box::new(Propose { change }));
    Transaction::sign(terms.chain, operation, terms.expires_at, &[governance])
}

/// A vote by the validator with the key `governance`.
pub fn vote(terms: &Terms, proposal: Digest, approve: bool, governance: &SecretKey) -> Transaction {
    let operation = Operation::Vote(GovernanceVote { proposal, approve });
    Transaction::sign(terms.chain, operation, terms.expires_at, &[governance])
}

/// `parameters` with those changed that `settings` name, each as `name=value`.
///
/// # Errors
/// Names the first setting that is none. Whether a vote may change it, and to this value, is the ledger's to say.
pub fn with_settings(parameters: &Parameters, settings: &[String]) -> Result<Parameters, SettingError> {
    let form = |text: &str| SettingError::Form { text: text.chars().take(80).collect() };
    let mut changed = parameters.clone();
    for setting in settings {
        let (name, value) = setting.split_once('=').ok_or_else(|| form(setting))?;
        if name.trim() == REGISTRATION {
            let policy = serde_json::Value::String(value.trim().to_owned());
            changed.registration = serde_json::from_value(policy).map_err(|_| form(setting))?;
            continue;
        }
        let value: u64 = value.trim().parse().map_err(|_| form(setting))?;
        let mut fields = fields(&mut changed);
        let known = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match fields.iter_mut().find(|(field, _)| *field == name.trim()) {
            Some((_, field)) => **field = value,
            None => return Err(SettingError::Unknown { name: name.chars().take(80).collect(), known }),
        }
    }
    Ok(changed)
}

/// The parameters that differ: name, value in `from`, value in `to`.
pub fn differences(from: &Parameters, to: &Parameters) -> Vec<(&'static str, String, String)> {
    let policies = [from.registration, to.registration].map(|policy| format!("{policy:?}").to_lowercase());
    let (mut from, mut to) = (from.clone(), to.clone());
    let pairs = fields(&mut from).into_iter().zip(fields(&mut to));
    let numbers = pairs.map(|((name, from), (_, to))| (name, from.to_string(), to.to_string()));
    let [before, after] = policies;
    numbers.chain([(REGISTRATION, before, after)]).filter(|(_, from, to)| from != to).collect()
}

/// The parameter that is no number: `open` or `endorsed`.
const REGISTRATION: &str = "registration";

/// Each parameter that is a number, with its name. The pattern names them all, so that one added later is not forgotten here.
fn fields(parameters: &mut Parameters) -> [(&'static str, &mut u64); 18] {
    let Parameters {
        delta_ms,
        delta_cap_ms,
        heartbeat_ms,
        clock_bound_ms,
        max_block_batches,
        max_checkpoint_lag,
        max_batch_bytes,
        max_batch_transactions,
        max_transaction_bytes,
        max_transaction_lifetime,
        max_batch_lifetime,
        max_document_keys,
        max_document_bytes,
        max_controllers,
        max_versions,
        max_services,
        max_create_many_items,
        max_author_registrations,
        registration: _,
    } = parameters;
    [
        ("delta_ms", delta_ms),
        ("delta_cap_ms", delta_cap_ms),
        ("heartbeat_ms", heartbeat_ms),
        ("clock_bound_ms", clock_bound_ms),
        ("max_block_batches", max_block_batches),
        ("max_checkpoint_lag", max_checkpoint_lag),
        ("max_transaction_lifetime", max_transaction_lifetime),
        ("max_batch_bytes", max_batch_bytes),
        ("max_batch_transactions", max_batch_transactions),
        ("max_transaction_bytes", max_transaction_bytes),
        ("max_batch_lifetime", max_batch_lifetime),
        ("max_versions", max_versions),
        ("max_document_keys", max_document_keys),
        ("max_document_bytes", max_document_bytes),
        ("max_controllers", max_controllers),
        ("max_services", max_services),
        ("max_create_many_items", max_create_many_items),
        ("max_author_registrations", max_author_registrations),
    ]
}

#[cfg(test)]
mod tests {
    use genesis::{Genesis, Height, UnixMillis};
    use ledger::CheckedTransaction;

    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn validator(index: u8) -> Validator {
        Validator {
            name: format!("node{index}"),
            consensus_key: key(3 * index).public(),
            network_key: key(3 * index + 1).public(),
            governance_key: key(3 * index + 2).public(),
            address: format!("127.0.0.1:2660{index}"),
        }
    }

    fn network() -> Genesis {
        Genesis::new("test".into(), UnixMillis(0), Parameters::default(), vec![validator(1)]).unwrap()
    }

    fn terms() -> Terms {
        Terms { network: "test".into(), chain: network().chain(), expires_at: Height(100) }
    }

    #[test]
    fn a_readiness_file_makes_a_proposal_that_the_ledger_takes() {
        let written = Readiness::sign(network().chain(), validator(2), &key(6));
        let read: Readiness = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
        assert_eq!(read, written);
        let change = Change::AddValidator { validator: read.validator, ready: read.ready };
        let proposal = proposal(&terms(), change, &key(5));
        assert_eq!(proposal.signers, [key(5).public()]);
        let id = CheckedTransaction::check(proposal, &network()).unwrap().id();
        CheckedTransaction::check(vote(&terms(), id, true, &key(5)), &network()).unwrap();
    }

    #[test]
    fn settings_change_what_they_name_and_nothing_else() {
        let before = Parameters::default();
        let settings = ["heartbeat_ms=30000".to_owned(), "delta_ms = 500".to_owned()];
        let changed = with_settings(&before, &settings).unwrap();
        assert_eq!(changed, Parameters { heartbeat_ms: 30_000, delta_ms: 500, ..before.clone() });
        let differences = differences(&before, &changed);
        assert_eq!(
            differences,
            [("delta_ms", "400", "500"), ("heartbeat_ms", "60000", "30000")].map(|(name, from, to)| (
                name,
                from.to_owned(),
                to.to_owned()
            ))
        );
    }

    #[test]
    fn every_parameter_can_be_named_as_the_genesis_document_names_it() {
        let serde_json::Value::Object(names) = serde_json::to_value(Parameters::default()).unwrap() else {
            panic!("an object")
        };
        assert_eq!(names.len(), 19);
        let endorsed = with_settings(&Parameters::default(), &["registration=endorsed".to_owned()]).unwrap();
        assert_eq!(differences(&Parameters::default(), &endorsed)[0].2, "endorsed");
        assert!(with_settings(&endorsed, &["registration=none".to_owned()]).is_err());
        for name in names.keys().filter(|name| *name != "registration") {
            let changed = with_settings(&Parameters::default(), &[format!("{name}=7")]).unwrap();
            assert_eq!(serde_json::to_value(changed).unwrap()[name], 7);
        }
    }

    #[test]
    fn what_is_no_setting_is_named() {
        let fault =
            |text: &str| with_settings(&Parameters::default(), &[text.to_owned()]).unwrap_err().to_string();
        for text in ["delta_ms", "delta_ms=", "delta_ms=-1", "delta_ms=fast"] {
            assert!(fault(text).starts_with(&format!("`{text}` is not a parameter")));
        }
        assert!(fault("delta=4").contains("no parameter `delta`: expected one of delta_ms, "));
    }
}
