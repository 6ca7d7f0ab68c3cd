//! Who may register DIDs for others or issue credentials, on which terms.

use genesis::UnixMillis;
use genesis::document::LATEST_TIME;
use genesis::encoding::list;
use serde::{Deserialize, Serialize};

use crate::{Code, DidId, Moment};

/// The most words in a scope.
pub const MAX_SCOPE: usize = 16;
/// The most bytes in a word of a scope.
pub const MAX_SCOPE_BYTES: usize = 64;

/// What somebody is accredited as. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Registers DIDs for others, and endorses them.
    Registrar,
    /// Issues credentials, and publishes schemas and status lists.
    Issuer,
}

/// Whether an accreditation holds. The order of the variants is part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    Active,
    /// Not for the time being.
    Suspended,
    /// No more.
    Withdrawn,
}

/// The terms of an accreditation, as the validators vote on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who. The DID need not exist yet: its id says whose it will be.
    pub did: DidId,
    /// As what.
    pub role: Role,
    /// For what, in words that the network agrees on; verifiers ask for them. None stands for no limit.
    #[serde(deserialize_with = "list::<_, _, 8>")]
    pub scope: Vec<String>,
    /// The first time at which it holds.
    pub valid_from: UnixMillis,
    /// The first time at which it holds no more.
    pub valid_until: UnixMillis,
    /// How many DIDs a registrar may register altogether.
    pub quota: u64,
}

/// An accreditation, as the registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accreditation {
    /// Who.
    pub did: DidId,
    /// As what.
    pub role: Role,
    /// For what; none stands for no limit.
    #[serde(deserialize_with = "list::<_, _, 8>")]
    pub scope: Vec<String>,
    /// The first time at which it holds.
    pub valid_from: UnixMillis,
    /// The first time at which it holds no more.
    pub valid_until: UnixMillis,
    /// How many DIDs a registrar may register altogether.
    pub quota: u64,
    /// How many it has registered.
    pub registrations: u64,
    /// Whether it holds.
    pub status: Status,
    /// When the validators last decided on it.
    pub at: Moment,
}

/// Why terms are refused, whatever the state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrantError {
    /// Too many words.
    #[error("the scope has {count} words, but may have at most {MAX_SCOPE}")]
    ScopeCount {
        /// How many it has.
        count: usize,
    },
    /// A word that is none.
    #[error("scope[{index}]: `{text}` must be 1 to {MAX_SCOPE_BYTES} of a-z, 0-9, `.`, `:`, `/` and `-`")]
    Scope {
        /// Its place, from 0.
        index: usize,
        /// The word, cut to what fits into a message.
        text: String,
    },
    /// A time that never comes.
    #[error(
        "valid_until {until} must be after valid_from {from}, and not after the year 9999 (milliseconds since 1970)"
    )]
    Validity {
        /// The first time at which it would hold.
        from: UnixMillis,
        /// The first time at which it would hold no more.
        until: UnixMillis,
    },
}

impl Grant {
    /// Checks the terms on their own.
    ///
    /// # Errors
    /// Names the value at fault.
    pub fn check(&self) -> Result<(), GrantError> {
        let count = self.scope.len();
        if count > MAX_SCOPE {
            return Err(GrantError::ScopeCount { count });
        }
        let is_word = |text: &String| {
            (1..=MAX_SCOPE_BYTES).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b':' | b'/' | b'-'))
        };
        if let Some(index) = self.scope.iter().position(|text| !is_word(text)) {
            return Err(GrantError::Scope { index, text: self.scope[index].chars().take(80).collect() });
        }
        let (from, until) = (self.valid_from, self.valid_until);
        if until <= from || until > LATEST_TIME {
            return Err(GrantError::Validity { from, until });
        }
        Ok(())
    }

    /// The accreditation on these terms; one that there was before keeps its count of registrations.
    pub(crate) fn accreditation(&self, before: Option<&Accreditation>, now: Moment) -> Accreditation {
        let Self { did, role, scope, valid_from, valid_until, quota } = self.clone();
        let registrations = before.map_or(0, |before| before.registrations);
        let (status, at) = (Status::Active, now);
        Accreditation { did, role, scope, valid_from, valid_until, quota, registrations, status, at }
    }
}

impl Accreditation {
    /// Whether a registrar has registered as many DIDs as it may.
    pub(crate) const fn is_used_up(&self) -> bool {
        self.registrations >= self.quota
    }

    /// Whether it holds at `time`.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, time: UnixMillis) -> Result<(), Code> {
        match self.status {
            Status::Withdrawn => Err(Code::NotAccredited),
            _ if time < self.valid_from || time >= self.valid_until => Err(Code::AccreditationNotInForce),
            Status::Suspended => Err(Code::AccreditationSuspended),
            Status::Active => Ok(()),
        }
    }

    /// Whether it covers `word`.
    pub fn covers(&self, word: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|own| own == word)
    }
}
