//! Decoders of the canonical encoding.

use std::fmt::{Debug, Display};
use std::path::Path;

use client::light::{
    LightClient, Links, MAX_PROOF_BYTES, Pin, RegistryProof, ResolutionProof, TransactionProof,
};
use consensus::certificate::Certificate;
use consensus::message::MAX_MESSAGE_BYTES;
use consensus::{Context, Evidence, Message};
use genesis::encoding::{DecodeError, decode, encode};
use genesis::{Configuration, Epoch, UnixMillis};
use ledger::resolution::Options;
use ledger::snapshot::Piece;
use ledger::{Batch, Block, CheckedBatch, CheckedTransaction, Receipt, Record, Transaction};
use node::journal::{records_in, records_of_entry};
use node::replay::Source;
use node::replay::stream::{Reader, Writer, decode_all};
use node::snapshot::Manifest;
use node::wire::{self, Answer, Ask, Gossip, MAX_ANSWER_BYTES};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::samples::{Samples, genesis, owner};
use super::{Decoder, Outcome};

/// Of bytes.
pub(super) const DECODERS: &[Decoder] = &[
    Decoder::new("transaction", transaction, Samples::transactions),
    Decoder::new("submitted", submitted, Samples::submitted),
    Decoder::new("submitted-batch", submitted_batch, Samples::submitted_batches),
    Decoder::new("batch", batch, Samples::batches),
    Decoder::new("block", |bytes| canonical::<Block>(bytes, 1 << 20), Samples::blocks),
    Decoder::new("checkpoint", checkpoint, Samples::checkpoints),
    Decoder::new("certificate", certificate, Samples::certificates),
    Decoder::new("message", message, Samples::messages),
    Decoder::new("gossip", |bytes| read(bytes, Gossip::decode), Samples::gossip),
    Decoder::new("ask", |bytes| read(bytes, Ask::decode), Samples::asks),
    Decoder::new("answer", |bytes| canonical::<Answer>(bytes, MAX_ANSWER_BYTES), Samples::answers),
    Decoder::new("final", |bytes| read(bytes, wire::Proof::decode), Samples::finals),
    Decoder::new("evidence", |bytes| canonical::<Evidence>(bytes, 4 << 10), Samples::evidence),
    Decoder::new("proof", proof, Samples::proofs),
    // A block of the smallest kind takes four times its bytes by itself, and the check keeps a copy of what came.
    Decoder::new("transaction-proof", transaction_proof, Samples::transaction_proofs)
        .holding(5, super::BESIDE),
    Decoder::new("registry-proof", registry_proof, Samples::registry_proofs),
    Decoder::new("links", links, Samples::links),
    Decoder::new("pin", |bytes| canonical::<Pin>(bytes, MAX_PROOF_BYTES), Samples::pins),
    Decoder::new("record", |bytes| canonical::<Record>(bytes, 1 << 20), Samples::records),
    Decoder::new("receipt", |bytes| canonical::<Receipt>(bytes, 1 << 20), Samples::receipts),
    Decoder::new(
        "configuration",
        |bytes| canonical::<Configuration>(bytes, 1 << 20),
        Samples::configurations,
    ),
    Decoder::new("manifest", manifest, Samples::manifests),
    Decoder::new("piece", |bytes| read(bytes, Piece::read), Samples::pieces),
    // A frame stands beside what is read of it.
    Decoder::new("chain", chain, Samples::chains).holding(8, super::BESIDE),
    Decoder::new("segment", segment, Samples::segments),
    // A record of four bytes takes as much memory as the largest. Nobody but this node writes them, and each entry is
    // behind a checksum.
    Decoder::new("entry", entry, Samples::entries).holding(128, super::BESIDE),
];

/// What decodes is written as the same bytes.
fn read<T: Serialize + Debug + 'static>(
    bytes: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Outcome {
    match decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(value) => {
            let came = bytes.to_vec();
            Outcome::read(move || same(&value, &came))
        }
    }
}

fn canonical<T: Serialize + DeserializeOwned + Debug + 'static>(bytes: &[u8], limit: usize) -> Outcome {
    read(bytes, |bytes| decode::<T>(bytes, limit))
}

fn same<T: Serialize + Debug>(value: &T, came: &[u8]) -> Result<(), String> {
    if encode(value) == came { Ok(()) } else { Err(format!("other bytes than came: {value:?}")) }
}

/// Those of the first epoch.
fn context() -> Context {
    let genesis = genesis();
    Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators: genesis.validators().clone() }
}

fn taken(transaction: Transaction, came: &[u8]) -> Result<(), String> {
    same(&transaction, came)?;
    let json = serde_json::to_string(&transaction).map_err(|error| error.to_string())?;
    let again: Transaction = serde_json::from_str(&json).map_err(|error| format!("its JSON: {error}"))?;
    if again != transaction {
        return Err(format!("its JSON is another's: {json}"));
    }
    let id = transaction.id();
    match CheckedTransaction::check(transaction, genesis()) {
        Ok(checked) if checked.id() != id || checked.length() != came.len() => {
            Err("another id or length".into())
        }
        Ok(_) => Ok(()),
        Err(error) if error.to_string().len() > super::MAX_COMPLAINT => Err("a long complaint".into()),
        Err(_) => Ok(()),
    }
}

fn transaction(bytes: &[u8]) -> Outcome {
    match decode::<Transaction>(bytes, 16 << 10) {
        Err(error) => Outcome::refused(error),
        Ok(transaction) => {
            let came = bytes.to_vec();
            Outcome::read(move || taken(transaction, &came))
        }
    }
}

/// As `tx_submit` reads it.
fn submitted(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::refused("not a text") };
    match client::api::from_base64(text) {
        Err(error) => Outcome::refused(error),
        Ok(bytes) => transaction(&bytes),
    }
}

/// As `POST /tx/batch` reads it: the list, and then each transaction by itself.
fn submitted_batch(bytes: &[u8]) -> Outcome {
    match client::api::decode_batch(bytes, 2_000) {
        Err(error) => Outcome::refused(error),
        Ok(items) => {
            let again = client::api::encode_batch(&items);
            let items: Vec<_> = items.into_iter().map(<[u8]>::to_vec).collect();
            let came = bytes.to_vec();
            Outcome::read(move || {
                if again != came {
                    return Err("other bytes than came".into());
                }
                items.iter().try_for_each(|item| match decode::<Transaction>(item, 16 << 10) {
                    Ok(transaction) => taken(transaction, item),
                    Err(_) => Ok(()),
                })
            })
        }
    }
}

fn batch(bytes: &[u8]) -> Outcome {
    match CheckedBatch::read(bytes, genesis()) {
        Err(error) => Outcome::refused(error),
        Ok(unchecked) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                let whole: Batch = decode(&came, came.len()).map_err(|error| error.to_string())?;
                same(&whole, &came)?;
                match unchecked.check() {
                    Ok(checked) if checked.digest() != CheckedBatch::digest_of(&came) => {
                        Err("another digest".into())
                    }
                    Ok(_) | Err(_) => Ok(()),
                }
            })
        }
    }
}

fn checkpoint(bytes: &[u8]) -> Outcome {
    match wire::decode_checkpoint(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(certificate) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&certificate, &came)?;
                // Whatever it says: it is judged without a panic.
                drop(certificate.verify(&context()));
                Ok(())
            })
        }
    }
}

fn certificate(bytes: &[u8]) -> Outcome {
    match decode::<Certificate>(bytes, MAX_MESSAGE_BYTES) {
        Err(error) => Outcome::refused(error),
        Ok(certificate) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&certificate, &came)?;
                drop(certificate.verify(&context()));
                Ok(())
            })
        }
    }
}

fn message(bytes: &[u8]) -> Outcome {
    match Message::decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(message) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&message, &came)?;
                drop(message.verify(&context()));
                Ok(())
            })
        }
    }
}

/// A light client that knows the genesis document believes it only with the samples' answer.
fn proof(bytes: &[u8]) -> Outcome {
    match ResolutionProof::decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(proof) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&proof, &came)?;
                let sound = Samples::get();
                for question in sound.questions() {
                    let now = UnixMillis(question.now);
                    let mut client = LightClient::new(genesis());
                    let answer = client.resolve(&question.did, &Options::default(), proof.clone(), now);
                    if answer.is_ok() && !sound.proofs().contains(&came) {
                        return Err(format!("believed of {}: {proof:?}", question.did));
                    }
                }
                Ok(())
            })
        }
    }
}

/// As with [`proof`].
fn transaction_proof(bytes: &[u8]) -> Outcome {
    match TransactionProof::decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(proof) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&proof, &came)?;
                let sound = Samples::get();
                for (id, window) in sound.fates() {
                    let answer = LightClient::new(genesis()).receipt(&id, window, proof.clone(), sound.now());
                    if answer.is_ok() && !sound.transaction_proofs().contains(&came) {
                        return Err(format!("believed of {id}: {proof:?}"));
                    }
                }
                Ok(())
            })
        }
    }
}

/// As with [`proof`].
fn registry_proof(bytes: &[u8]) -> Outcome {
    match RegistryProof::decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(proof) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&proof, &came)?;
                let sound = Samples::get();
                for key in sound.keys() {
                    let answer = LightClient::new(genesis()).registry(&key, proof.clone(), sound.now());
                    if answer.is_ok() && !sound.registry_proofs().contains(&came) {
                        return Err(format!("believed of {key:?}: {proof:?}"));
                    }
                }
                Ok(())
            })
        }
    }
}

/// As with [`proof`]: only the samples' lead on.
fn links(bytes: &[u8]) -> Outcome {
    match Links::decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(links) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&links, &came)?;
                let mut client = LightClient::new(genesis());
                let leads = client.advance(links).is_ok() && client.pin().epoch() > Epoch::ZERO;
                if leads && !Samples::get().links().contains(&came) {
                    return Err(format!("believed: {:?}", client.pin()));
                }
                Ok(())
            })
        }
    }
}

/// Believed only of a state that the samples' validators certified, by a certificate that they made. What its pieces are, beside the
/// tree, they do not say: that is checked when they are taken in.
fn manifest(bytes: &[u8]) -> Outcome {
    match Manifest::decode(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(manifest) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                same(&manifest, &came)?;
                if manifest.verify(genesis()).is_err() {
                    return Ok(());
                }
                let links = manifest.links.iter().map(|link| &link.certificate);
                let certificates: Vec<_> = links.chain(&manifest.recent).map(encode).collect();
                let sound = Samples::get().sound_certificates();
                let made = certificates.iter().all(|certificate| sound.contains(certificate));
                if made { Ok(()) } else { Err(format!("believed: {manifest:?}")) }
            })
        }
    }
}

fn chain(bytes: &[u8]) -> Outcome {
    match decode_all(bytes) {
        Err(error) => Outcome::refused(error),
        Ok(_) => {
            let came = bytes.to_vec();
            Outcome::read(move || {
                if rewritten(&came)? == came { Ok(()) } else { Err("other bytes than came".into()) }
            })
        }
    }
}

/// A chain, read as it is executed and written again.
fn rewritten(bytes: &[u8]) -> Result<Vec<u8>, String> {
    fn told(error: impl Display) -> String {
        error.to_string()
    }
    let mut reader = Reader::new(bytes).map_err(told)?;
    let mut writer = Writer::new(Vec::new(), &reader.header()).map_err(told)?;
    while let Some(range) = reader.range().map_err(told)? {
        let blocks = range.candidates.iter().map(|block| (block.height, block.payload.clone()));
        let blocks: Vec<_> = blocks.collect();
        writer.blocks(range).map_err(told)?;
        for (height, payload) in blocks {
            for digest in payload {
                writer.batch(reader.batch(height, &digest).map_err(told)?).map_err(told)?;
            }
        }
    }
    writer.finish().map(|(bytes, _)| bytes).map_err(told)
}

fn segment(bytes: &[u8]) -> Outcome {
    match records_in(Path::new("00000001.journal"), bytes, 1, owner(), true) {
        Err(error) => Outcome::refused(error),
        Ok((records, sound)) => {
            let length = bytes.len();
            Outcome::read(move || {
                let fits = sound <= length && (records.is_empty() || sound > 0);
                if fits { Ok(()) } else { Err(format!("{sound} sound bytes of {length}")) }
            })
        }
    }
}

fn entry(bytes: &[u8]) -> Outcome {
    read(bytes, records_of_entry)
}
