//! Decoders of texts.

use std::fmt::Debug;

use client::api::{ProofWindow, RegistryQuestion};
use client::governance::Readiness;
use client::key_file::StoredKey;
use client::keyring::Entry;
use client::wallet::organisation;
use genesis::{Digest, Epoch, Genesis, PublicKey, UnixMillis};
use ledger::registry::Role;
use ledger::resolution::binding::{Request, answer};
use ledger::resolution::{JsonOptions, time};
use ledger::{Did, VerificationKey, Version};
use node::config::Config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::samples::{NETWORK, Samples};
use super::{Decoder, Outcome};

/// TOML's parser keeps the text, its tokens and a value of each field at once. The files are their operator's, or come with
/// a hash that is known, and are bounded (genesis 1 MiB).
const TOML_TIMES: usize = 64;
/// The answer stands beside the question: a document, its metadata, and their JSON.
const ANSWER: usize = 64 << 10;

pub(super) const DECODERS: &[Decoder] = &[
    Decoder::new("genesis", genesis, Samples::geneses).holding(TOML_TIMES, 64 << 10),
    // What the log's level is read with builds automata.
    Decoder::new("config", config, Samples::configs).holding(TOML_TIMES, 1 << 20),
    Decoder::new("options", options, Samples::options),
    Decoder::new("parameters", parameters, Samples::parameters),
    // What is told apart by one of its fields is held whole first: a number of a digit takes 32 bytes, and its list doubles.
    Decoder::new("question", question, Samples::registry_questions).holding(64, super::BESIDE),
    Decoder::new("registration", registration, Samples::registrations),
    Decoder::new("http", http, Samples::requests).holding(4, ANSWER),
    Decoder::new("did", did, Samples::dids),
    Decoder::new("key-file", key_file, Samples::key_files),
    Decoder::new("keyring", keyring, Samples::keyrings),
    Decoder::new("readiness", readiness, Samples::readiness),
];

fn text(bytes: &[u8], read: impl FnOnce(&str) -> Outcome) -> Outcome {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(_) => Outcome::refused("not a text"),
    }
}

fn genesis(bytes: &[u8]) -> Outcome {
    text(bytes, |text| match Genesis::parse(text) {
        Err(error) => Outcome::refused(error),
        Ok(genesis) => Outcome::read(move || {
            let again =
                Genesis::parse(&genesis.to_toml()).map_err(|error| format!("its own text: {error}"))?;
            if again == genesis { Ok(()) } else { Err(format!("{again:?} from {genesis:?}")) }
        }),
    })
}

fn config(bytes: &[u8]) -> Outcome {
    text(bytes, |text| match Config::parse(text) {
        Err(error) => Outcome::refused(error),
        Ok(config) => Outcome::read(move || {
            let again = Config::parse(&config.to_toml()).map_err(|error| format!("its own text: {error}"))?;
            if again == config { Ok(()) } else { Err(format!("{again:?} from {config:?}")) }
        }),
    })
}

/// Options of resolution in JSON.
fn options(bytes: &[u8]) -> Outcome {
    let given: JsonOptions = match serde_json::from_slice(bytes) {
        Ok(given) => given,
        Err(error) => return Outcome::refused(error),
    };
    match given.check() {
        Err(problem) => Outcome::refused(problem.to_json()),
        Ok(options) => Outcome::read(move || {
            // A time that is read is one that can be written.
            let second = options.version_time.as_deref().and_then(time::parse);
            let written = second.map(|second| time::rfc3339(UnixMillis(second.saturating_mul(1_000))));
            match written.as_deref().map(time::parse) {
                Some(again) if again != second => Err(format!("{second:?} became {again:?}")),
                _ => Ok(()),
            }
        }),
    }
}

/// Parameters of JSON-RPC's methods: each type that they are read as.
fn parameters(bytes: &[u8]) -> Outcome {
    fn reads<'a, T: serde::Deserialize<'a> + 'static>(text: &'a str) -> bool {
        serde_json::from_str::<T>(text).is_ok()
    }
    text(bytes, |text| {
        let read = [
            reads::<(Did, Role, Option<String>, Option<UnixMillis>)>(text),
            reads::<(Digest, u64)>(text),
            reads::<(Digest, Option<ProofWindow>, Option<Epoch>)>(text),
            reads::<(Digest,)>(text),
            reads::<(Did,)>(text),
            reads::<(Did, Option<Version>)>(text),
            reads::<(u64,)>(text),
            reads::<(PublicKey,)>(text),
            reads::<(VerificationKey,)>(text),
        ];
        if read.contains(&true) { Outcome::read(|| Ok(())) } else { Outcome::refused("of no type") }
    })
}

/// Parameters of `registry_prove`.
fn question(bytes: &[u8]) -> Outcome {
    match serde_json::from_slice::<(RegistryQuestion, Option<Epoch>)>(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(question) => written_again(question),
    }
}

/// What an owner hands to a registrar, in a file.
fn registration(bytes: &[u8]) -> Outcome {
    match serde_json::from_slice::<organisation::Request>(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(request) => written_again(request),
    }
}

/// What is read as itself when it is written.
fn written_again<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T) -> Outcome {
    Outcome::read(move || {
        let json = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
        let again: T = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        if again == value { Ok(()) } else { Err(format!("{again:?} from {value:?}")) }
    })
}

/// A request of DID Resolution's HTTP binding: identifier, query, `Accept` and body, a line each.
fn http(bytes: &[u8]) -> Outcome {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (identifier, query, accept, body) = (part(), part(), part(), part());
    let parts = (std::str::from_utf8(identifier), std::str::from_utf8(query), std::str::from_utf8(accept));
    let (Ok(identifier), Ok(query), Ok(accept)) = parts else { return Outcome::refused("not a text") };
    let request = Request { identifier, query, body, accept: (!accept.is_empty()).then_some(accept) };
    let Ok(answer) = answer(Samples::get(), NETWORK, &request);
    let known = [200, 303, 400, 404, 406, 410, 500, 501];
    if !known.contains(&answer.status) {
        return Outcome::read(move || Err(format!("status {}", answer.status)));
    }
    if answer.status >= 400 && answer.status != 410 {
        // An error is told in JSON.
        return match serde_json::from_str::<Value>(&answer.body) {
            Ok(_) => Outcome::refused(format!("status {}", answer.status)),
            Err(error) => Outcome::read(move || Err(format!("no JSON ({error}): {}", answer.body))),
        };
    }
    Outcome::read(move || match (answer.status, answer.location) {
        (303, Some(_)) => Ok(()),
        (303, None) => Err("a redirection to nowhere".into()),
        _ => {
            serde_json::from_str::<Value>(&answer.body).map(drop).map_err(|error| format!("no JSON: {error}"))
        }
    })
}

fn did(bytes: &[u8]) -> Outcome {
    text(bytes, |text| match text.parse::<Did>() {
        Err(error) => Outcome::refused(error),
        Ok(did) => {
            let came = text.to_owned();
            Outcome::read(
                move || if did.to_string() == came { Ok(()) } else { Err(format!("{did} from {came}")) },
            )
        }
    })
}

fn key_file(bytes: &[u8]) -> Outcome {
    text(bytes, |text| match StoredKey::parse(std::path::Path::new("key.json"), text) {
        Err(problem) => Outcome::refused(problem),
        // That the halves belong together is what parsing is for.
        Ok(file) => {
            let came = text.to_owned();
            Outcome::read(move || {
                let public = file.public().to_string();
                if came.contains(&public) { Ok(()) } else { Err(format!("{public} is not in it")) }
            })
        }
    })
}

fn keyring(bytes: &[u8]) -> Outcome {
    text(bytes, |text| match Entry::parse(text) {
        Err(problem) => Outcome::refused(problem),
        Ok(entry) => Outcome::read(move || {
            let written = entry.to_text();
            let again = Entry::parse(&written).map_err(|problem| format!("its own text: {problem}"))?;
            if *again.to_text() == *written { Ok(()) } else { Err("another text".into()) }
        }),
    })
}

fn readiness(bytes: &[u8]) -> Outcome {
    match serde_json::from_slice::<Readiness>(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(readiness) => written_again(readiness),
    }
}
