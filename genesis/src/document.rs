//! The genesis document: what a network is founded on. Its hash is the chain's id.
//!
//! A file (TOML or JSON) becomes a [`Genesis`] only after every field was checked; unknown fields are errors. The
//! hash is over the canonical bytes of the checked document, so that spacing, comments and the choice between
//! TOML and JSON do not matter.
//!
//! A network that lost its quorum for good is founded again by the survivors, on the state that they hold: such a document
//! names its [`Predecessor`], and its chain's heights go on where that ended. Whether its validators may speak for the old
//! chain nobody can prove: who follows the network takes the new document by hand.

use serde::{Deserialize, Serialize};

use crate::{Digest, Domain, Height, Parameters, UnixMillis, Validator, ValidatorSet, encoding};

/// The version of the genesis format that this build reads and writes.
pub(crate) const VERSION: u32 = 4;

/// The highest block that a chain may go on from: no sum of heights comes near the end of the numbers.
const MAX_PREDECESSOR_HEIGHT: Height = Height(1 << 62);

/// The last second that RFC 3339 can write, 9999-12-31T23:59:59Z, in milliseconds.
pub const LATEST_TIME: UnixMillis = UnixMillis(253_402_300_799_000);

/// The most bytes that a genesis file may have: enough for the largest set, with room to spare.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A checked genesis document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    network: String,
    time: UnixMillis,
    parameters: Parameters,
    validators: ValidatorSet,
    predecessor: Option<Predecessor>,
    chain: Digest,
}

/// The chain whose state a new one goes on from, and where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predecessor {
    /// Its id.
    pub chain: Digest,
    /// The height of its last block.
    pub height: Height,
    /// The digest of its last block; where it had none of its own, its id. The block's time is the new chain's founding.
    pub block: Digest,
    /// The state after that block.
    pub state_root: Digest,
}

/// The document as it is written down and hashed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    network: String,
    time_ms: UnixMillis,
    #[serde(default)]
    parameters: Parameters,
    validators: Vec<Validator>,
    #[serde(default)]
    predecessor: Option<Predecessor>,
}

/// Why a file is not a genesis document.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// Too large to be one.
    #[error("the file has {length} bytes; a genesis document has at most {MAX_FILE_BYTES}")]
    TooLarge {
        /// Its size in bytes.
        length: usize,
    },
    /// Not TOML (or JSON), or a field is missing, unknown or of the wrong type.
    #[error("cannot be read: {0}")]
    Syntax(String),
    /// A field's value is not allowed.
    #[error("{field}: {problem}")]
    Field {
        /// The path to the field, for example `validators[2].address`.
        field: String,
        /// What is wrong with which value.
        problem: String,
    },
}

impl Genesis {
    /// Checks the parts of a new network.
    ///
    /// # Errors
    /// Names the first field at fault.
    pub fn new(
        network: String,
        time: UnixMillis,
        parameters: Parameters,
        validators: Vec<Validator>,
    ) -> Result<Self, GenesisError> {
        Self::check(network, time, parameters, validators, None)
    }

    /// Checks the parts of a chain that goes on from another: its founding is the time of the other's last block.
    ///
    /// # Errors
    /// Names the first field at fault.
    pub fn succeeding(
        predecessor: Predecessor,
        network: String,
        time: UnixMillis,
        parameters: Parameters,
        validators: Vec<Validator>,
    ) -> Result<Self, GenesisError> {
        Self::check(network, time, parameters, validators, Some(predecessor))
    }

    fn check(
        network: String,
        time: UnixMillis,
        parameters: Parameters,
        validators: Vec<Validator>,
        predecessor: Option<Predecessor>,
    ) -> Result<Self, GenesisError> {
        check_terms(&network, time, &parameters)?;
        let validators = ValidatorSet::new(validators).map_err(|error| {
            let field = match (error.index, error.field) {
                (Some(index), Some(field)) => format!("validators[{index}].{field}"),
                _ => "validators".to_owned(),
            };
            at(&field, error.problem)
        })?;
        if let Some(Predecessor { height, .. }) = predecessor
            && (height == Height::ZERO || height > MAX_PREDECESSOR_HEIGHT)
        {
            let problem = format!(
                "{height} must be from 1 to {MAX_PREDECESSOR_HEIGHT}: a chain without blocks leaves nothing to go on from"
            );
            return Err(at("predecessor.height", problem));
        }
        let mut genesis = Self { network, time, parameters, validators, predecessor, chain: Digest::ZERO };
        genesis.chain = Digest::of(Domain::Genesis, &encoding::encode(&genesis.to_file()));
        Ok(genesis)
    }

    /// Reads a genesis file. JSON where the text starts with `{`, else TOML.
    ///
    /// # Errors
    /// When the text is neither, or a field is missing, unknown or out of range.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        if text.len() > MAX_FILE_BYTES {
            return Err(GenesisError::TooLarge { length: text.len() });
        }
        let file: File = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(syntax)?
        } else {
            toml::from_str(text).map_err(syntax)?
        };
        check_version(file.version)?;
        Self::check(file.network, file.time_ms, file.parameters, file.validators, file.predecessor)
    }

    /// The document as TOML, for people to read and compare.
    pub fn to_toml(&self) -> String {
        match toml::to_string_pretty(&self.to_file()) {
            Ok(text) => {
                format!("# The genesis document of a RealDID network. All its nodes hold the same.\n{text}")
            }
            Err(error) => unreachable!("a checked document has a TOML form: {error}"),
        }
    }

    /// The network's name: the third part of its DIDs.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// When the chain was founded: the time of what its first block follows.
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// The parameters it was founded with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The validators it was founded by.
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The chain that this one goes on from, if any.
    pub fn predecessor(&self) -> Option<&Predecessor> {
        self.predecessor.as_ref()
    }

    /// The height that the chain's first block follows: 0, or that of the predecessor's last block.
    pub fn height(&self) -> Height {
        self.predecessor.map_or(Height::ZERO, |predecessor| predecessor.height)
    }

    /// The chain's id: the hash of this document.
    pub fn chain(&self) -> Digest {
        self.chain
    }

    fn to_file(&self) -> File {
        File {
            version: VERSION,
            network: self.network.clone(),
            time_ms: self.time,
            parameters: self.parameters.clone(),
            validators: self.validators.iter().map(|(_, validator)| validator.clone()).collect(),
            predecessor: self.predecessor,
        }
    }
}

/// Refuses `version` unless it is the one that this build reads.
pub(crate) fn check_version(version: u32) -> Result<(), GenesisError> {
    if version == VERSION {
        return Ok(());
    }
    Err(at("version", format!("{version} is not known to this build, which reads version {VERSION}")))
}

/// Checks what a network is founded with, its validators aside.
pub(crate) fn check_terms(
    network: &str,
    time: UnixMillis,
    parameters: &Parameters,
) -> Result<(), GenesisError> {
    let network_fits = (2..=32).contains(&network.len())
        && network.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
        && network.starts_with(|first: char| first.is_ascii_lowercase());
    if !network_fits {
        let value: String = network.chars().take(80).collect();
        return Err(at(
            "network",
            format!("`{value}` must be 2 to 32 of a-z and 0-9, and start with a letter"),
        ));
    }
    if time > LATEST_TIME {
        let problem = format!("{time} is after the year 9999: expected milliseconds since 1970");
        return Err(at("time_ms", problem));
    }
    parameters.check().map_err(|error| at(&format!("parameters.{}", error.field), error.to_string()))?;
    Ok(())
}

fn at(field: &str, problem: String) -> GenesisError {
    GenesisError::Field { field: field.to_owned(), problem }
}

/// A parser's complaint, cut: some quote the line at fault, however long it is.
pub(crate) fn syntax(error: impl std::fmt::Display) -> GenesisError {
    let text = error.to_string();
    let cut: String = text.chars().take(600).collect();
    GenesisError::Syntax(if cut.len() < text.len() { format!("{cut} …") } else { cut })
}

#[cfg(test)]
mod tests;
