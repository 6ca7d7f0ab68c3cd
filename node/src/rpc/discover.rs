//! `rpc.discover`: this surface, described in OpenRPC 1.3 (<https://spec.open-rpc.org>).

use client::api::{code, method};
use serde_json::{Value, json};

/// The OpenRPC document.
pub(super) fn document() -> Value {
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "RealDID node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Submit DID transactions, learn what became of them, resolve DIDs.",
            "license": { "name": "Apache-2.0" },
        },
        "methods": [
            described(
                method::TX_SUBMIT,
                "Hands in a transaction; answers at once with its id. Submitting it again does no harm.",
                vec![param("transaction", true, "standard base64 of the transaction's canonical bytes", text())],
                ("submitted", "its id, and the last height at which it can be applied", object()),
                &["malformed", "refused", "busy"],
            ),
            described(
                method::TX_WAIT,
                "Waits for a transaction's receipt.",
                vec![
                    param("id", true, "the transaction's id: 64 hex digits", text()),
                    param("timeoutMs", true, "how long to wait, in milliseconds", integer()),
                ],
                ("receipt", "what became of it", object()),
                &["timedOut", "expired", "busy", "unavailable"],
            ),
            described(
                method::TX_SUBMIT_BATCH,
                "Hands in many transactions, as many as max_batch in the node's settings; answers as soon as they are checked. One that is refused spoils no other. Cheaper: POST /tx/batch on this port, content-type application/octet-stream, the canonical encoding of a list of byte strings (docs/formats.md), with the same result as its answer's body.",
                vec![param(
                    "transactions",
                    true,
                    "each: standard base64 of the transaction's canonical bytes",
                    json!({ "type": "array", "items": text() }),
                )],
                (
                    "outcomes",
                    "in their order, result: what tx_submit answers; or error: what it refuses the transaction with",
                    json!({ "type": "array", "items": object() }),
                ),
                &["malformed", "refused", "busy", "unavailable"],
            ),
            described(
                method::TX_WAIT_BATCH,
                "Waits until at least one of many transactions has ended; ask again for the others.",
                vec![
                    param(
                        "ids",
                        true,
                        "the transactions' ids, as many as max_batch in the node's settings: 64 hex digits each",
                        json!({ "type": "array", "items": text() }),
                    ),
                    param("timeoutMs", true, "how long to wait for the first, in milliseconds", integer()),
                ],
                ("ended", "receipts of those that were ordered, expired: those that never will be, height; both empty where the time is over", object()),
                &["busy", "unavailable"],
            ),
            described(
                method::TX_STATUS,
                "What is known of a transaction now: final, pending, expired, or unknown with the height until which it can land.",
                vec![param("id", true, "the transaction's id: 64 hex digits", text())],
                ("fate", "its state", object()),
                &[],
            ),
            described(
                method::TX_PROVE,
                "What became of a transaction, with a proof that needs no trust in this node.",
                vec![
                    param("id", true, "the transaction's id: 64 hex digits", text()),
                    param(
                        "window",
                        false,
                        "to prove that it expired without a receipt: after, a height before it was signed, and expiresAt; or null",
                        json!({ "type": ["object", "null"] }),
                    ),
                    since_epoch(),
                ],
                ("proof", "height, the receipt if any, and proof: base64 of the bytes that docs/formats.md describes", object()),
                &["notFound", "unavailable"],
            ),
            described(
                method::DID_RESOLVE,
                "Resolves a DID (W3C DID Resolution 1.0). That it does not resolve is a result, not an error.",
                vec![
                    param("did", true, "such as did:realdid:test:z6…", text()),
                    param(
                        "options",
                        false,
                        "versionId: a version's number, as text; or versionTime: UTC without a fraction; accept: a media type; proof: whether the metadata bring a proof; sinceEpoch, as text, as in did_prove",
                        object(),
                    ),
                ],
                ("resolution", "didDocument, didResolutionMetadata, didDocumentMetadata", object()),
                &["unavailable"],
            ),
            described(
                method::DID_HISTORY,
                "The versions of a DID, oldest first.",
                vec![
                    param("did", true, "such as did:realdid:test:z6…", text()),
                    param("from", false, "the version to begin with; 1 unless given", integer()),
                ],
                ("history", "versions with their heights, times and digests; whether there are more", object()),
                &["notFound"],
            ),
            described(
                method::DID_PROVE,
                "Resolves a DID as of the newest certified block, with a proof that needs no trust in this node.",
                vec![
                    param("did", true, "such as did:realdid:test:z6…", text()),
                    param("options", false, "those of did_resolve", object()),
                    since_epoch(),
                ],
                ("proof", "height, resolution, and proof: base64 of the bytes that docs/formats.md describes", object()),
                &["unavailable"],
            ),
            described(
                method::CHAIN_LINKS,
                "The changes of the validators since an epoch, for light clients that are many of them behind.",
                vec![param("sinceEpoch", true, "the epoch that the caller knows the validators of", integer())],
                ("links", "links: base64 of the bytes that docs/formats.md describes; moreLinks: whether to ask again", object()),
                &["unavailable"],
            ),
            described(
                method::CHAIN_GENESIS,
                "The network's genesis document, as TOML. Its hash is the chain's id: check it.",
                Vec::new(),
                ("genesis", "the document", text()),
                &[],
            ),
            described(
                method::CHAIN_STATUS,
                "Where the node stands.",
                Vec::new(),
                ("status", "height, view, peers, lag, parameters", object()),
                &[],
            ),
            described(
                method::CHAIN_BLOCK,
                "A final block.",
                vec![param("height", true, "from the chain's first block on: 1, or after its predecessor's last", integer())],
                ("block", "its digest, parent, time, batches and the ids of its transactions", object()),
                &["notFound"],
            ),
            described(
                method::CHAIN_CHECKPOINT,
                "What a quorum signed of the ledger after a block: of the height given, or the first one after it.",
                vec![param("height", true, "from the chain's first block on: 1, or after its predecessor's last", integer())],
                ("checkpoint", "the ledger's roots, the hash of the validators, and the certificate", object()),
                &["notFound"],
            ),
            described(
                method::CHAIN_VALIDATORS,
                "The validators and parameters of an epoch.",
                vec![param("epoch", true, "from 0", integer())],
                ("validators", "quorum, and the configuration: names, keys and addresses, parameters", object()),
                &["notFound"],
            ),
            described(
                method::CHAIN_PARTICIPATION,
                "What each validator did in a range of blocks: whom it led, which votes are in certificates, whose batches they order.",
                vec![
                    param("from", true, "the first height", integer()),
                    param("to", true, "the last height; a call looks at the first thousand or so", integer()),
                ],
                ("participation", "counts by validator; next: where to go on", object()),
                &["notFound", "unavailable"],
            ),
            described(
                method::CHAIN_EVIDENCE,
                "Proofs that validators signed what contradicts itself.",
                Vec::new(),
                ("evidence", "who, and the two statements", json!({ "type": "array", "items": object() })),
                &[],
            ),
            described(
                method::NET_PEERS,
                "The node's peers.",
                Vec::new(),
                ("peers", "name, key, address, connection, round trip, clock", json!({ "type": "array", "items": object() })),
                &[],
            ),
            described(
                method::GOV_PROPOSALS,
                "Who is in charge, what was decided for the next epoch, and what is voted on.",
                Vec::new(),
                ("governance", "epoch, validators and parameters, those pending, open proposals", object()),
                &[],
            ),
            described(
                method::REGISTRY_ISSUER,
                "What a DID is accredited as: registrar, issuer, on which terms.",
                vec![param("did", true, "such as did:realdid:test:z6…", text())],
                ("issuer", "its accreditations, also those suspended or withdrawn", object()),
                &[],
            ),
            described(
                method::REGISTRY_IS_AUTHORISED,
                "Whether a DID may act as registrar or issuer (ToIP TRQP's question).",
                vec![
                    param("did", true, "such as did:realdid:test:z6…", text()),
                    param("role", true, "registrar or issuer", text()),
                    param("scope", true, "a word of the scope, or null", json!({ "type": ["string", "null"] })),
                    param("timeMs", true, "since 1970, or null for the newest block's", json!({ "type": ["integer", "null"] })),
                ],
                ("authorisation", "authorised, the reason where not, and the height of the state asked", object()),
                &[],
            ),
            described(
                method::REGISTRY_PROVE,
                "What the trust registry holds, with a proof that needs no trust in this node.",
                vec![
                    param(
                        "question",
                        true,
                        "kind: accreditation, with did and role; schema or statusList, with issuer and number",
                        object(),
                    ),
                    since_epoch(),
                ],
                ("proof", "height, whether there is one, and proof: base64 of the bytes that docs/formats.md describes", object()),
                &["unavailable"],
            ),
        ],
        "components": { "errors": errors() },
    })
}

fn described(
    name: &str,
    summary: &str,
    params: Vec<Value>,
    result: (&str, &str, Value),
    faults: &[&str],
) -> Value {
    let (result, description, schema) = result;
    let faults = faults.iter().map(|fault| json!({ "$ref": format!("#/components/errors/{fault}") }));
    json!({
        "name": name,
        "summary": summary,
        "paramStructure": "by-position",
        "params": params,
        "result": { "name": result, "description": description, "schema": schema },
        "errors": faults.collect::<Vec<_>>(),
    })
}

fn param(name: &str, required: bool, description: &str, schema: Value) -> Value {
    json!({ "name": name, "required": required, "description": description, "schema": schema })
}

fn since_epoch() -> Value {
    let description =
        "the epoch that the caller knows the validators of; 0 where it knows the genesis document alone";
    param("sinceEpoch", false, description, integer())
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn integer() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn object() -> Value {
    json!({ "type": "object" })
}

fn errors() -> Value {
    let error = |code: i32, message: &str| json!({ "code": code, "message": message });
    json!({
        "malformed": error(code::MALFORMED, "not base64 of a transaction's canonical bytes: mend it"),
        "refused": error(code::REFUSED, "breaks a rule that needs no state: mend it"),
        "busy": error(code::BUSY, "the node is full, or waited for too much: it did not look at what came; try again after data.retryAfterMs"),
        "timedOut": error(code::TIMED_OUT, "no receipt in time: it can still land until data.canLandUntil"),
        "expired": error(code::EXPIRED, "it can never be applied: sign it again with a later expiry"),
        "notFound": error(code::NOT_FOUND, "not there (yet)"),
        "unavailable": error(code::UNAVAILABLE, "cannot be had from this node now (it stops, observes, is busy with proofs, or has no certificate yet): try again, or ask another"),
    })
}
