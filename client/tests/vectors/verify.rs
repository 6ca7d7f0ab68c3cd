//! What another implementation does with the vectors, by the public API of our crates alone.

use client::api::from_base64;
use client::light::{Answer, LightClient, LightError, ResolutionProof};
use consensus::certificate::CertificateError;
use genesis::encoding::encode;
use genesis::{Genesis, UnixMillis};
use ledger::Did;
use ledger::proof::DidProofError;
use ledger::resolution::{JsonOptions, Options};
use ledger::tree::ProofError;
use serde_json::Value;

use crate::format::{Question, ResolutionVector};

/// Why a light client refused.
#[derive(Debug)]
pub struct Refused {
    pub reason: &'static str,
    pub text: String,
}

impl From<LightError> for Refused {
    fn from(error: LightError) -> Self {
        Self { reason: reason(&error), text: error.to_string() }
    }
}

/// What the vectors call the reason.
fn reason(error: &LightError) -> &'static str {
    match error {
        LightError::Encoding(_) => "encoding",
        LightError::OtherChain { .. } => "other-chain",
        LightError::Certificate { error, .. } => match error {
            CertificateError::Count { .. } => "certificate-count",
            CertificateError::Order => "certificate-order",
            CertificateError::UnknownSigner(_) => "certificate-signer",
            CertificateError::Impossible => "certificate-impossible",
            CertificateError::Signature => "certificate-signature",
        },
        LightError::NoHandover { .. } => "no-handover",
        LightError::OtherEpoch { .. } => "other-epoch",
        LightError::Behind { .. } => "behind",
        LightError::Fork { .. } => "fork",
        LightError::Stale { .. } => "stale",
        LightError::NotSettled { .. } => "not-settled",
        LightError::Did(error) => match error {
            DidProofError::Path(ProofError::TooLong { .. }) => "path-length",
            DidProofError::Path(ProofError::Astray { .. }) => "path-astray",
            DidProofError::Path(ProofError::OtherRoot { .. }) => "path-root",
            DidProofError::Newest { .. } => "newest-header",
            DidProofError::Chain { .. } => "header-chain",
            DidProofError::Document { .. } => "document",
            DidProofError::Missing { .. } => "missing",
        },
        LightError::Fate(_) => "fate",
        LightError::Entry(_) => "entry",
    }
}

pub fn ask(client: &mut LightClient, question: &Question) -> Result<Answer, Refused> {
    let proof = ResolutionProof::decode(&from_base64(&question.proof).unwrap())
        .map_err(|error| Refused::from(LightError::from(error)))?;
    let did: Did = question.did.parse().unwrap();
    let options = options(&question.options);
    Ok(client.resolve(&did, &options, proof, UnixMillis(question.now))?)
}

pub fn options(json: &Value) -> Options {
    serde_json::from_value::<JsonOptions>(json.clone()).unwrap().check().unwrap()
}

/// A client that knows the genesis document, and what it learned by the resolutions of these names.
pub fn client_after(names: &[String], resolutions: &[ResolutionVector], genesis: &Genesis) -> LightClient {
    let mut client = LightClient::new(genesis);
    for name in names {
        let before = resolutions.iter().find(|resolution| resolution.name == *name).unwrap();
        ask(&mut client, &before.question).unwrap();
    }
    client
}

/// What the chain's id is the digest of: version, network, time, parameters, validators, predecessor.
pub fn genesis_bytes(genesis: &Genesis) -> Vec<u8> {
    let validators: Vec<_> = genesis.validators().iter().map(|(_, validator)| validator).collect();
    let version = 4_u32;
    encode(&(
        version,
        genesis.network(),
        genesis.time(),
        genesis.parameters(),
        validators,
        genesis.predecessor(),
    ))
}
