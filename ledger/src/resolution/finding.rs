//! What the state says of a DID, and what shows it, before either is written for a caller.
//!
//! Invariant: a proof stands where DID Resolution 1.0 has it: in the metadata of the document that it is of, and where there is
//! no document to find, in those of the resolution.

use serde_json::{Map, Value, json};

use super::{Form, OLD_RESULT_CONTEXT, Problem, did_document, represented, time};
use crate::{Did, Endorsement, Record, Version, Withdrawal};

/// A version of a DID, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub(super) outcome: Result<Found, Problem>,
    /// What shows the problem, where it is about the state.
    pub(super) proof: Option<Value>,
}

/// A version of a DID.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) document: Option<Value>,
    pub(super) metadata: Map<String, Value>,
}

impl Found {
    /// `record` is the version asked for, `next` the one after it, `newest` the DID's newest.
    pub(super) fn new(did: &Did, record: &Record, next: Option<&Record>, newest: &Record) -> Self {
        let mut metadata = Map::new();
        let mut put = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
        let (created, updated) = (record.header.created.time, record.header.updated.time);
        put("created", time::rfc3339(created).into());
        if record.header.version > Version::FIRST {
            put("updated", time::rfc3339(updated).into());
        }
        put("versionId", record.header.version.to_string().into());
        put("recoveryCommitment", record.header.recovery.to_string().into());
        if let Some(next_keys) = record.header.next_keys {
            put("nextKeysCommitment", next_keys.to_string().into());
        }
        if let Some(Endorsement { registrar, at, withdrawn }) = record.header.endorsement {
            let registrar = Did::new(did.network(), registrar);
            let mut shown = json!({ "registrar": registrar, "endorsed": time::rfc3339(at.time) });
            if let Some(Withdrawal { reason, at }) = withdrawn {
                shown["withdrawn"] = time::rfc3339(at.time).into();
                shown["reason"] = json!(reason);
            }
            put("endorsement", shown);
        }
        if let Some(next) = next {
            put("nextUpdate", time::rfc3339(next.header.updated.time).into());
            put("nextVersionId", next.header.version.to_string().into());
        }
        // It says that the DID is over, also beside a document from before: nobody may take that for a live one.
        if newest.is_deactivated() {
            put("deactivated", true.into());
        }
        Self { document: record.document.as_ref().map(|document| did_document(did, document)), metadata }
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        Err(problem).into()
    }
}

impl From<Result<Found, Problem>> for Finding {
    fn from(outcome: Result<Found, Problem>) -> Self {
        Self { outcome, proof: None }
    }
}

impl Finding {
    /// The same with what shows it: one proof, as a JSON object. Left out where there is nothing to prove, as the question
    /// alone is at fault.
    #[must_use]
    pub fn with_proof(mut self, proof: Value) -> Self {
        let proofs = json!([proof]);
        match &mut self.outcome {
            Ok(found) => {
                found.metadata.insert("proof".to_owned(), proofs);
            }
            Err(problem) => self.proof = problem.is_of_the_state().then_some(proofs),
        }
        self
    }

    /// The DID document, where the DID resolves and is not deactivated.
    pub fn document(&self) -> Option<&Value> {
        self.outcome.as_ref().ok().and_then(|found| found.document.as_ref())
    }

    /// The version that was found; none where the DID does not resolve.
    pub fn version(&self) -> Option<Version> {
        let found = self.outcome.as_ref().ok()?;
        found.metadata.get("versionId")?.as_str()?.parse().ok().map(Version)
    }

    /// Why it does not resolve.
    pub fn problem(&self) -> Option<&Problem> {
        self.outcome.as_ref().err()
    }

    /// The status that the HTTP binding asks for.
    pub(super) fn status(&self) -> u16 {
        match &self.outcome {
            Ok(Found { document: Some(_), .. }) => 200,
            Ok(Found { document: None, .. }) => 410,
            Err(problem) => problem.status(),
        }
    }

    /// A resolution result. `form` decides how its document is written, and whether it has the shape of before.
    pub(super) fn result(&self, form: Form) -> Value {
        let representation = form.representation();
        let mut result = match &self.outcome {
            Ok(Found { document, metadata }) => json!({
                "didDocument": document.as_ref().map(|document| represented(document, representation)),
                "didResolutionMetadata": { "contentType": representation.media_type() },
                "didDocumentMetadata": metadata,
            }),
            Err(problem) => json!({
                "didDocument": null,
                "didResolutionMetadata": self.error_metadata(problem, form),
                "didDocumentMetadata": {},
            }),
        };
        if form == Form::OldResult {
            result["@context"] = OLD_RESULT_CONTEXT.into();
        }
        result
    }

    /// The metadata of a resolution or dereferencing that failed for `problem`.
    pub(super) fn error_metadata(&self, problem: &Problem, form: Form) -> Value {
        let mut metadata = if form == Form::OldResult {
            json!({ "error": problem.word(), "errorMessage": problem.to_string() })
        } else {
            json!({ "error": problem.to_json() })
        };
        if let Some(proof) = &self.proof {
            metadata["proof"] = proof.clone();
        }
        metadata
    }
}
