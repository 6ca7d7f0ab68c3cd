//! Why a DID does not resolve or a DID URL does not dereference: the errors of DID Resolution 1.0, section 11, with the
//! HTTP status of each (section 12.1).
//!
//! Invariant: a problem names the value at fault and what was expected, cut to what fits into a message; a fault of the
//! node itself is told in fixed words.

use serde_json::{Value, json};

use crate::did::DidError;
use crate::{Did, Version};

/// The most characters of a caller's value that a message repeats.
const MAX_SHOWN_CHARS: usize = 80;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// The text is not a DID of this method.
    #[error("{0}")]
    InvalidDid(DidError),
    /// The text is a DID of another method.
    #[error("{0}")]
    MethodNotSupported(DidError),
    /// The text is not a DID URL, or a part of it cannot be followed.
    #[error("`{url}` cannot be dereferenced: {problem}")]
    InvalidDidUrl {
        /// The text, or its part at fault.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An option cannot be followed.
    #[error("{name} `{value}` is not allowed: expected {expected}")]
    InvalidOption {
        /// Which option.
        name: String,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An option that this resolver does not know.
    #[error("the option `{name}` is not supported here: {hint}")]
    UnsupportedOption {
        /// Which option.
        name: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// None of the media types that the caller takes can be served.
    #[error("none of `{accept}` can be served here: ask for {offered}")]
    UnsupportedRepresentation {
        /// What the caller takes.
        accept: String,
        /// What there is.
        offered: &'static str,
    },
    /// The DID belongs to another network.
    #[error("{did} is not of this network: ask a node of `{}`, as this one is of `{network}`", did.network())]
    OtherNetwork {
        /// What was asked for.
        did: Did,
        /// The network that this node serves.
        network: String,
    },
    /// No such DID.
    #[error("{did} is not registered")]
    NotFound {
        /// What was asked for.
        did: Did,
    },
    /// The DID exists, but never had this version.
    #[error("{did} has no version {version}: its newest is {newest}")]
    NoSuchVersion {
        /// What was asked for.
        did: Did,
        /// Which version was asked for.
        version: Version,
        /// The newest one.
        newest: Version,
    },
    /// The DID exists, but did not at that time.
    #[error("{did} was not there at {time}: it was created at {created}")]
    NotYet {
        /// What was asked for.
        did: Did,
        /// Which time was asked for.
        time: String,
        /// When it was created.
        created: String,
    },
    /// The DID exists, but nothing in its document is what the DID URL names.
    #[error("nothing is at `{url}`: {problem}")]
    NothingThere {
        /// What was asked for.
        url: String,
        /// Which part leads nowhere.
        problem: &'static str,
    },
    /// A verification relationship was asked for where there is no verification method.
    #[error("`{url}` is not a verification method: name one by its fragment, such as #key-1")]
    NotAVerificationMethod {
        /// What was asked for.
        url: String,
    },
    /// The verification method is not for what it was asked for.
    #[error("`{url}` is not for {relationship}: the document does not list it there")]
    NotForRelationship {
        /// The verification method.
        url: String,
        /// The verification relationship that was asked for.
        relationship: String,
    },
    /// A fault of the node.
    #[error("the node failed; its log says why. Ask another node")]
    Internal,
}

/// `text`, cut to what fits into a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}

/// A problem's place in the table of the specification.
struct Kind {
    status: u16,
    /// The type's URL.
    url: &'static str,
    title: &'static str,
    /// The word of DID Core 1.0 and of the registry of DID Resolution extensions.
    word: &'static str,
}

impl Problem {
    /// As an RFC 9457 object.
    pub fn to_json(&self) -> Value {
        let Kind { status, url, title, .. } = self.kind();
        json!({ "type": url, "title": title, "status": status, "detail": self.to_string() })
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.kind().status
    }

    /// The error as one word, as DID Core 1.0 has it.
    pub fn word(&self) -> &'static str {
        self.kind().word
    }

    /// Whether it is an answer of the state: that something is not there. It can be proved.
    pub const fn is_of_the_state(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoSuchVersion { .. } | Self::NotYet { .. })
    }

    fn kind(&self) -> Kind {
        let kind = |status, url, title, word| Kind { status, url, title, word };
        match self {
            Self::InvalidDid(_) => {
                kind(400, "https://www.w3.org/ns/did#INVALID_DID", "Invalid DID", "invalidDid")
            }
            Self::InvalidDidUrl { .. } => {
                kind(400, "https://www.w3.org/ns/did#INVALID_DID_URL", "Invalid DID URL", "invalidDidUrl")
            }
            Self::InvalidOption { .. } => {
                kind(400, "https://www.w3.org/ns/did#INVALID_OPTIONS", "Invalid options", "invalidOptions")
            }
            Self::OtherNetwork { .. }
            | Self::NotFound { .. }
            | Self::NoSuchVersion { .. }
            | Self::NotYet { .. }
            | Self::NothingThere { .. } => {
                kind(404, "https://www.w3.org/ns/did#NOT_FOUND", "Not found", "notFound")
            }
            Self::UnsupportedRepresentation { .. } => kind(
                406,
                "https://www.w3.org/ns/did#REPRESENTATION_NOT_SUPPORTED",
                "Representation not supported",
                "representationNotSupported",
            ),
            Self::MethodNotSupported(_) => kind(
                501,
                "https://www.w3.org/ns/did#METHOD_NOT_SUPPORTED",
                "Method not supported",
                "methodNotSupported",
            ),
            Self::UnsupportedOption { .. } => kind(
                501,
                "https://www.w3.org/ns/did#FEATURE_NOT_SUPPORTED",
                "Feature not supported",
                "featureNotSupported",
            ),
            // The table gives 500 to the errors that Controlled Identifiers 1.0 defines, whoever is at fault.
            Self::NotAVerificationMethod { .. } => kind(
                500,
                "https://w3id.org/security#INVALID_VERIFICATION_METHOD",
                "Invalid verification method",
                "invalidVerificationMethod",
            ),
            Self::NotForRelationship { .. } => kind(
                500,
                "https://w3id.org/security#INVALID_RELATIONSHIP_FOR_VERIFICATION_METHOD",
                "Invalid relationship for verification method",
                "invalidRelationshipForVerificationMethod",
            ),
            Self::Internal => {
                kind(500, "https://www.w3.org/ns/did#INTERNAL_ERROR", "Internal error", "internalError")
            }
        }
    }
}
