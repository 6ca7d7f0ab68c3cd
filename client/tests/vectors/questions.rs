//! What light clients are asked, and told: resolutions that they believe, and proofs that they must refuse.

use client::api::to_base64;
use client::light::{Link, ResolutionProof};
use consensus::Checkpoint;
use genesis::{Digest, Epoch, Signature, ValidatorIndex};
use ledger::proof::DidProof;
use ledger::resolution::Options;
use ledger::state::StateKey;
use ledger::{Did, DidId};
use serde_json::{Value, json};

use crate::format::{Question, RefusalVector, ResolutionVector};
use crate::network::{NETWORK, certified, consensus_key, founded, secret, statement, strangers, time};
use crate::story::Story;
use crate::verify;

impl Story {
    fn asked(&self, id: DidId, options: Value, height: u64) -> (Did, Options, ResolutionProof, Question) {
        let did = Did::new(NETWORK, id);
        let read = verify::options(&options);
        let proof = self.ledger.proof(&did, &read, height);
        let (now, text) = (time(height).0 + 5_000, to_base64(&proof.encode()));
        let question = Question { did: did.to_string(), options, now, proof: text };
        (did, read, proof, question)
    }

    pub fn resolutions(&self) -> Vec<ResolutionVector> {
        let newest = self.ledger.blocks.len() as u64;
        let nobody = DidId(Digest::from_bytes([7; 32]));
        let mut made: Vec<ResolutionVector> = Vec::new();
        for (name, after, id, options, height) in [
            ("newest version, in the first epoch", None, self.citizen, json!({}), 6),
            ("newest version: deactivated, in the second epoch", None, self.citizen, json!({}), newest),
            ("an old version", None, self.citizen, json!({ "versionId": "1" }), newest),
            (
                "the version at a time",
                None,
                self.citizen,
                json!({ "versionTime": "2026-09-21T14:14:10Z" }),
                newest,
            ),
            ("a version that does not exist", None, self.citizen, json!({ "versionId": "9" }), newest),
            ("no such DID", None, nobody, json!({}), newest),
            ("a controller and a service", None, self.registrar, json!({}), newest),
            ("several keys", None, self.issuer, json!({}), 6),
            (
                "by a client that knows the second epoch, without links",
                Some("newest version: deactivated, in the second epoch"),
                self.issuer,
                json!({}),
                newest,
            ),
        ] {
            let (_, _, mut proof, mut question) = self.asked(id, options, height);
            if after.is_some() {
                proof.links = Vec::new();
                question.proof = to_base64(&proof.encode());
            }
            let after: Vec<String> = after.into_iter().map(str::to_owned).collect();
            let mut client = verify::client_after(&after, &made, &founded());
            let answer = verify::ask(&mut client, &question).unwrap();
            made.push(ResolutionVector {
                name: name.to_owned(),
                after,
                question,
                height: answer.checkpoint.height.0,
                epoch: client.pin().epoch().0,
                result: answer.resolution.to_json(),
            });
        }
        made
    }

    pub fn refusals(&self, resolutions: &[ResolutionVector]) -> Vec<RefusalVector> {
        let newest = self.ledger.blocks.len() as u64;
        let first = "newest version, in the first epoch";
        let later = "newest version: deactivated, in the second epoch";
        let mut made = Vec::new();
        let mut refuse = |name: &str, after: &[&str], question: Question| {
            let after: Vec<String> = after.iter().map(|name| (*name).to_owned()).collect();
            let mut client = verify::client_after(&after, resolutions, &founded());
            let error = verify::ask(&mut client, &question).unwrap_err();
            let (reason, error) = (error.reason.to_owned(), error.text);
            made.push(RefusalVector { name: name.to_owned(), after, question, reason, error });
        };
        let bytes = |id: DidId, options: Value, height: u64, change: &dyn Fn(&mut Vec<u8>)| {
            let (_, _, proof, question) = self.asked(id, options, height);
            let mut bytes = proof.encode();
            change(&mut bytes);
            Question { proof: to_base64(&bytes), ..question }
        };
        let changed = |id: DidId, options: Value, height: u64, change: &dyn Fn(&mut ResolutionProof)| {
            let (_, _, mut proof, question) = self.asked(id, options, height);
            change(&mut proof);
            Question { proof: to_base64(&proof.encode()), ..question }
        };
        let citizen = |change: &dyn Fn(&mut ResolutionProof)| changed(self.citizen, json!({}), 6, change);
        let old = |change: &dyn Fn(&mut DidProof)| {
            changed(self.citizen, json!({ "versionId": "1" }), 6, &|proof| change(&mut proof.did))
        };

        refuse("cut short", &[], bytes(self.citizen, json!({}), 6, &|bytes| bytes.truncate(bytes.len() - 1)));
        refuse("a byte too many", &[], bytes(self.citizen, json!({}), 6, &|bytes| bytes.push(0)));
        refuse(
            "two signers of four are no quorum",
            &[],
            citizen(&|proof| {
                proof.certificate.signatures.pop();
            }),
        );
        refuse(
            "one signer counted twice",
            &[],
            citizen(&|proof| {
                proof.certificate.signatures[1] = proof.certificate.signatures[0];
            }),
        );
        refuse(
            "a signature that its signer did not make",
            &[],
            citizen(&|proof| {
                let Signature::Ed25519(mut bytes) = proof.certificate.signatures[2].1;
                bytes[0] ^= 1;
                proof.certificate.signatures[2].1 = Signature::Ed25519(bytes);
            }),
        );
        refuse(
            "another state root than the one signed",
            &[],
            citizen(&|proof| {
                proof.certificate.checkpoint.state_root = self.ledger.at(5).outcome.state_root;
            }),
        );
        refuse(
            "signed by validators of another network",
            &[],
            citizen(&|proof| {
                let checkpoint = &proof.certificate.checkpoint;
                let sign = |index: u16| {
                    let signature = secret(&consensus_key(20 + index)).sign(&statement(checkpoint));
                    (ValidatorIndex(index), signature)
                };
                proof.certificate.signatures = [0, 1, 2].map(sign).into();
            }),
        );
        refuse(
            "the change of validators is missing",
            &[],
            changed(self.citizen, json!({}), newest, &|proof| proof.links.clear()),
        );
        refuse(
            "other validators than the certificate hands over to",
            &[],
            changed(self.citizen, json!({}), newest, &|proof| proof.links[0].configuration = strangers()),
        );
        refuse(
            "a handover that the certificate does not make",
            &[],
            changed(self.citizen, json!({}), 6, &|proof| {
                let certificate = self.ledger.certificate(5);
                proof.links.push(Link { certificate, configuration: strangers() });
            }),
        );
        refuse("behind what the client saw", &[later], {
            changed(self.citizen, json!({}), newest, &|proof| {
                proof.links.clear();
                let behind = self.ledger.checkpoint(8);
                let checkpoint = Checkpoint { epoch: Epoch(1), ..behind };
                proof.certificate = certified(&checkpoint, &[0, 1, 2, 3]);
            })
        });
        refuse(
            "another certified result of a block that the client saw",
            &[first],
            citizen(&|proof| {
                let state_root = self.ledger.at(5).outcome.state_root;
                let other = Checkpoint { state_root, ..self.ledger.checkpoint(6) };
                proof.certificate = certified(&other, &[0, 1, 2]);
            }),
        );
        refuse("too old", &[], {
            let question = citizen(&|_| {});
            Question { now: question.now + 120_000, ..question }
        });
        refuse(
            "a time that the block does not lie after",
            &[],
            changed(self.citizen, json!({ "versionTime": "2026-09-21T14:14:20Z" }), 6, &|_| {}),
        );
        refuse(
            "a path in another state",
            &[],
            citizen(&|proof| {
                let key = StateKey::Did(self.citizen).digest();
                proof.did.path = self.ledger.at(5).tree.prove(&key).unwrap();
            }),
        );
        refuse(
            "a path to somebody else",
            &[],
            citizen(&|proof| {
                let key = StateKey::Did(self.issuer).digest();
                proof.did.path = self.ledger.at(6).tree.prove(&key).unwrap();
            }),
        );
        refuse(
            "a header that the tree does not name",
            &[],
            citizen(&|proof| {
                proof.did.headers[0].created.time.0 += 1;
            }),
        );
        refuse(
            "absence claimed of a DID that is there",
            &[],
            citizen(&|proof| {
                (proof.did.headers, proof.did.documents) = (Vec::new(), Vec::new());
            }),
        );
        refuse(
            "a version left out between two",
            &[],
            old(&|proof| {
                proof.headers.remove(1);
            }),
        );
        refuse("a document that no header names", &[], old(&|proof| proof.documents[0].threshold = 2));
        refuse("the document is withheld", &[], old(&|proof| proof.documents.clear()));
        refuse(
            "the version asked for is withheld",
            &[],
            old(&|proof| {
                proof.headers.pop();
                proof.documents.clear();
            }),
        );
        made
    }
}
