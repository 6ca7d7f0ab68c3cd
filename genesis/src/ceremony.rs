//! How members found a network together: nobody sees another's keys, and all arrive at one document and one hash.
//!
//! 1. One of them writes a [`Draft`]: the network's name, its founding time and its parameters.
//! 2. Each signs a [`Contribution`] with the three keys of its node: "on this draft I am this validator, at this address".
//! 3. Whoever has the draft and all contributions calls [`collect`], which checks them and gives the genesis document.
//! 4. Each checks with [`confirm`] that the document stands on the draft that it signed and holds its entry unaltered, and
//!    compares the hash with the others over a channel that they trust.
//!
//! Invariant: the document depends on the draft and the set of contributions alone, never on their order: validators stand
//! in the order of their names. Each contribution in it is signed by all keys that it names, for this draft and no other, so
//! [`collect`] takes none that was altered. The document itself holds no signatures: who was left out, or entered without having
//! agreed, is found by [`confirm`] with the contributions of all, and by members who know one another.
//!
//! What a network is founded on depends on who takes part, which nothing here decides.

use serde::{Deserialize, Serialize};

use crate::document::{GenesisError, MAX_FILE_BYTES, VERSION, check_terms, check_version, syntax};
use crate::encoding::encode;
use crate::{
    Digest, Domain, Genesis, Parameters, PublicKey, SecretKey, Signature, UnixMillis, Validator, ValidatorSet,
};

/// What a contribution's signatures start with.
const CONTRIBUTION_DOMAIN: &[u8] = b"realdid genesis contribution v1";

/// The most bytes that the file of a contribution may have.
pub const MAX_CONTRIBUTION_BYTES: usize = 16 << 10;

/// What a network is to be founded with, before its validators are known. Checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    network: String,
    time: UnixMillis,
    parameters: Parameters,
}

/// A draft as it is written down and hashed: a genesis document without validators.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftFile {
    version: u32,
    network: String,
    time_ms: UnixMillis,
    #[serde(default)]
    parameters: Parameters,
}

/// A member's signed word that it takes part. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// The digest of the draft that it is for.
    pub draft: Digest,
    /// The validator, as it is to stand in the document.
    pub validator: Validator,
    /// By its consensus key, over both.
    pub consensus_signature: Signature,
    /// By its network key.
    pub network_signature: Signature,
    /// By its governance key.
    pub governance_signature: Signature,
}

/// The keys of a member's node.
#[derive(Debug)]
pub struct Keys {
    /// Will sign consensus messages.
    pub consensus: SecretKey,
    /// Will authenticate its connections.
    pub network: SecretKey,
    /// Will sign its governance transactions.
    pub governance: SecretKey,
}

/// Why a contribution is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContributionError {
    /// Not the JSON of one, or too long.
    #[error("it is not what `realdid genesis contribute` makes: {0}")]
    Syntax(String),
    /// Its entry is not sound.
    #[error("validator.{field}: {problem}")]
    Validator {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with which value.
        problem: String,
    },
    /// It was signed for another draft.
    #[error(
        "`{name}` signed draft {found}, but this is draft {expected}: sign it again, on the draft that all have"
    )]
    OtherDraft {
        /// The validator.
        name: String,
        /// What it was signed for.
        found: Digest,
        /// What is collected for.
        expected: Digest,
    },
    /// A signature is not that of the key that is named.
    #[error(
        "the {role} key {key} of `{name}` did not sign this: the file was altered, or is not from the owner of the key. Ask \
         for the file anew"
    )]
    NotSigned {
        /// The validator.
        name: String,
        /// Which key.
        role: &'static str,
        /// The key.
        key: PublicKey,
    },
}

/// Why contributions make no document.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// There is none.
    #[error("there is no contribution: a network has at least one validator")]
    None,
    /// One of them is refused, or shares something with another.
    #[error("{problem}")]
    Contribution {
        /// Its place among those that were given.
        place: usize,
        /// The place of the one that it shares something with, if that is it.
        other: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// Too many, for example.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

/// Why a document is not what a member signed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfirmError {
    /// The contribution itself is refused.
    #[error(transparent)]
    Contribution(#[from] ContributionError),
    /// The document has another name, time or parameters than the draft that was signed.
    #[error(
        "the document stands on draft {found}, but `{name}` signed draft {signed}: its network, time or parameters were \
         changed"
    )]
    OtherDraft {
        /// The validator.
        name: String,
        /// What it signed.
        signed: Digest,
        /// What the document stands on.
        found: Digest,
    },
    /// The member is not in it.
    #[error("`{name}` is not among the validators of the document")]
    LeftOut {
        /// The validator.
        name: String,
    },
    /// The member's entry says something else.
    #[error("the document says another {field} of `{name}` than it signed: {found} instead of {signed}")]
    Altered {
        /// The validator.
        name: String,
        /// Which field.
        field: &'static str,
        /// What the document says.
        found: String,
        /// What was signed.
        signed: String,
    },
    /// The document goes on from another chain, so nobody contributed to it.
    #[error("the document goes on from chain {chain}: the survivors of that chain made it, not a ceremony")]
    Succession {
        /// The chain before.
        chain: Digest,
    },
}

impl Draft {
    /// Checks the parts.
    ///
    /// # Errors
    /// Names the first field at fault.
    pub fn new(network: String, time: UnixMillis, parameters: Parameters) -> Result<Self, GenesisError> {
        check_terms(&network, time, &parameters)?;
        Ok(Self { network, time, parameters })
    }

    /// Reads the text of a draft.
    ///
    /// # Errors
    /// When it is none, or a field is missing, unknown or out of range.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(GenesisError::TooLarge { length: text.len() });
        }
        let file: DraftFile = toml::from_str(text).map_err(syntax)?;
        check_version(file.version)?;
        Self::new(file.network, file.time_ms, file.parameters)
    }

    /// The draft that a document stands on; none where it goes on from another chain.
    pub fn of(genesis: &Genesis) -> Option<Self> {
        genesis.predecessor().is_none().then(|| Self {
            network: genesis.network().to_owned(),
            time: genesis.time(),
            parameters: genesis.parameters().clone(),
        })
    }

    /// The draft as TOML, for people to read, agree on and change before anybody has signed.
    pub fn to_toml(&self) -> String {
        match toml::to_string_pretty(&self.to_file()) {
            Ok(text) => format!(
                "# The draft of a RealDID network's genesis document. All members sign the same: what is changed here\n\
                 # afterwards makes it another draft.\n{text}"
            ),
            Err(error) => unreachable!("a checked draft has a TOML form: {error}"),
        }
    }

    /// What members sign: the hash of the draft.
    pub fn digest(&self) -> Digest {
        Digest::of(Domain::Draft, &encode(&self.to_file()))
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// When the network is founded.
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    fn to_file(&self) -> DraftFile {
        DraftFile {
            version: VERSION,
            network: self.network.clone(),
            time_ms: self.time,
            parameters: self.parameters.clone(),
        }
    }
}

impl Contribution {
    /// Signs that the holder of `keys` takes part in `draft` as `name`, at `address`.
    ///
    /// # Errors
    /// When name, address or keys cannot be a validator's.
    pub fn sign(
        draft: &Draft,
        name: String,
        address: String,
        keys: &Keys,
    ) -> Result<Self, ContributionError> {
        let validator = Validator {
            name,
            consensus_key: keys.consensus.public(),
            network_key: keys.network.public(),
            governance_key: keys.governance.public(),
            address,
        };
        check_entry(&validator)?;
        let draft = draft.digest();
        let bytes = signed_bytes(&draft, &validator);
        Ok(Self {
            draft,
            consensus_signature: keys.consensus.sign(&bytes),
            network_signature: keys.network.sign(&bytes),
            governance_signature: keys.governance.sign(&bytes),
            validator,
        })
    }

    /// Reads the text of a contribution. Nothing is checked yet but its form.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ContributionError> {
        if text.len() > MAX_CONTRIBUTION_BYTES {
            let problem = format!("it has {} bytes, and at most {MAX_CONTRIBUTION_BYTES}", text.len());
            return Err(ContributionError::Syntax(problem));
        }
        serde_json::from_str(text)
            .map_err(|error| ContributionError::Syntax(error.to_string().chars().take(300).collect()))
    }

    /// The contribution as JSON.
    pub fn to_json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(error) => unreachable!("a contribution has a JSON form: {error}"),
        }
    }

    /// Checks that its entry is sound, and that each key in it signed it for `draft`.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self, draft: Digest) -> Result<(), ContributionError> {
        check_entry(&self.validator)?;
        let name = || self.validator.name.clone();
        if self.draft != draft {
            return Err(ContributionError::OtherDraft { name: name(), found: self.draft, expected: draft });
        }
        let bytes = signed_bytes(&draft, &self.validator);
        let signatures = [
            ("consensus", self.validator.consensus_key, &self.consensus_signature),
            ("network", self.validator.network_key, &self.network_signature),
            ("governance", self.validator.governance_key, &self.governance_signature),
        ];
        match signatures.into_iter().find(|(_, key, signature)| !key.verify(&bytes, signature)) {
            Some((role, key, _)) => Err(ContributionError::NotSigned { name: name(), role, key }),
            None => Ok(()),
        }
    }
}

/// The genesis document of `draft` with these members, in whatever order they are given.
///
/// # Errors
/// Names the first contribution that is refused, or that shares a name, key or address with another.
pub fn collect(draft: &Draft, contributions: &[Contribution]) -> Result<Genesis, CollectError> {
    if contributions.is_empty() {
        return Err(CollectError::None);
    }
    let digest = draft.digest();
    for (place, contribution) in contributions.iter().enumerate() {
        contribution.check(digest).map_err(|error| CollectError::Contribution {
            place,
            other: None,
            problem: error.to_string(),
        })?;
    }
    let mut places: Vec<usize> = (0..contributions.len()).collect();
    places.sort_by(|one, other| {
        contributions[*one].validator.name.cmp(&contributions[*other].validator.name).then(one.cmp(other))
    });
    for (position, place) in places.iter().enumerate() {
        let validator = &contributions[*place].validator;
        let shared = places[..position]
            .iter()
            .find_map(|other| Some((*other, shared(validator, &contributions[*other].validator)?)));
        if let Some((other, (what, value))) = shared {
            let problem = format!("both have the {what} `{value}`: each validator has its own");
            return Err(CollectError::Contribution { place: *place, other: Some(other), problem });
        }
    }
    let validators = places.into_iter().map(|place| contributions[place].validator.clone()).collect();
    Ok(Genesis::new(draft.network.clone(), draft.time, draft.parameters.clone(), validators)?)
}

/// Checks that `genesis` stands on the draft that `contribution` signed, and holds its entry unaltered.
///
/// # Errors
/// Names what differs.
pub fn confirm(genesis: &Genesis, contribution: &Contribution) -> Result<(), ConfirmError> {
    contribution.check(contribution.draft)?;
    if let Some(predecessor) = genesis.predecessor() {
        return Err(ConfirmError::Succession { chain: predecessor.chain });
    }
    let signed = &contribution.validator;
    let name = || signed.name.clone();
    let found = Draft::of(genesis).map(|draft| draft.digest()).unwrap_or_default();
    if found != contribution.draft {
        return Err(ConfirmError::OtherDraft { name: name(), signed: contribution.draft, found });
    }
    let entry = genesis.validators().iter().map(|(_, entry)| entry).find(|entry| entry.name == signed.name);
    let Some(entry) = entry else { return Err(ConfirmError::LeftOut { name: name() }) };
    let differing = fields(entry).into_iter().zip(fields(signed)).find(|(found, signed)| found != signed);
    match differing {
        Some(((field, found), (_, signed))) => {
            Err(ConfirmError::Altered { name: name(), field, found, signed })
        }
        None => Ok(()),
    }
}

/// What a validator's entry says, field by field.
fn fields(validator: &Validator) -> [(&'static str, String); 5] {
    let Validator { name, consensus_key, network_key, governance_key, address } = validator;
    [
        ("name", name.clone()),
        ("address", address.clone()),
        ("consensus key", consensus_key.to_string()),
        ("network key", network_key.to_string()),
        ("governance key", governance_key.to_string()),
    ]
}

/// What two entries have in common that each should have alone: keys in whatever role.
fn shared(one: &Validator, other: &Validator) -> Option<(&'static str, String)> {
    let (one, other) = (fields(one), fields(other));
    let is_key = |field: &str| field.ends_with("key");
    one.into_iter().find(|(field, value)| {
        other
            .iter()
            .any(|(theirs, same)| value == same && (field == theirs || is_key(field) && is_key(theirs)))
    })
}

fn check_entry(validator: &Validator) -> Result<(), ContributionError> {
    ValidatorSet::new(vec![validator.clone()]).map(|_| ()).map_err(|error| ContributionError::Validator {
        field: error.field.unwrap_or("name"),
        problem: error.problem,
    })
}

fn signed_bytes(draft: &Digest, validator: &Validator) -> Vec<u8> {
    [CONTRIBUTION_DOMAIN, draft.as_bytes(), &encode(validator)].concat()
}

#[cfg(test)]
mod tests;
