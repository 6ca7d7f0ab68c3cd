//! What happens on the network of the vectors: each kind of operation once, and two that are refused.

use genesis::{Digest, Domain, Height, UnixMillis};
use ledger::document::{Service, ServiceKind};
use ledger::operation::{
    CreateMany, Endorse, Item, PublishSchema, PublishStatusList, Reason, WithdrawEndorsement,
    possession_bytes, sign_ready,
};
use ledger::registry::{Grant, Role, StatusPurpose};
use ledger::{
    Change, Create, Deactivate, DidId, Document, GovernanceVote, Key, KeyNumber, KeySet, Operation, Propose,
    Purposes, Recover, Salt, Transaction, Update, VerificationKey, Version,
};

use crate::network::{Ledger, consensus_key, founded, governance_key, secret, seed, time, validator};

/// The network, the names of its transactions in their order, and the key sets that it speaks of.
pub struct Story {
    pub ledger: Ledger,
    pub names: Vec<(Digest, String)>,
    pub citizen: DidId,
    pub registrar: DidId,
    pub issuer: DidId,
}

/// The key sets of the citizen, by number: recovery by two of three, and the next key.
pub fn recovery_set(number: u8) -> (u16, Vec<String>) {
    (2, (1..=3).map(|key| format!("citizen recovery {number}.{key}")).collect())
}

pub fn next_set(number: u8) -> (u16, Vec<String>) {
    (1, vec![format!("citizen next {number}")])
}

pub fn key_set((threshold, names): &(u16, Vec<String>)) -> KeySet {
    KeySet::new(*threshold, names.iter().map(|name| secret(name).public()).collect()).unwrap()
}

fn alone(name: &str) -> Digest {
    KeySet::of(secret(name).public()).commitment()
}

fn salt(name: &str) -> Salt {
    Salt(seed(name)[..16].try_into().unwrap())
}

fn key(number: u16, public: VerificationKey, purposes: Purposes) -> Key {
    Key { number: KeyNumber::new(number).unwrap(), public, purposes }
}

fn document(threshold: u16, keys: Vec<Key>) -> Document {
    Document { threshold, keys, controllers: Vec::new(), services: Vec::new() }
}

fn signing(number: u16, name: &str) -> Key {
    key(number, secret(name).public().into(), Purposes::SIGNING)
}

impl Story {
    fn sign(&mut self, name: &str, operation: Operation, expires_at: u64, signers: &[&str]) -> Transaction {
        let secrets: Vec<_> = signers.iter().map(|name| secret(name)).collect();
        let transaction = Transaction::sign(
            founded().chain(),
            operation,
            Height(expires_at),
            &secrets.iter().collect::<Vec<_>>(),
        );
        self.names.push((transaction.id(), name.to_owned()));
        transaction
    }

    fn propose(&mut self, name: &str, change: Change) -> Transaction {
        let propose = Operation::Propose(Box::new(Propose { change }));
        self.sign(name, propose, 200, &[&governance_key(0)])
    }

    fn votes(&mut self, name: &str, proposal: &Transaction) -> Vec<Transaction> {
        let vote = |story: &mut Self, index: u16| {
            let operation = Operation::Vote(GovernanceVote { proposal: proposal.id(), approve: true });
            story.sign(&format!("{name}, vote of node{index}"), operation, 200, &[&governance_key(index)])
        };
        vec![vote(self, 1), vote(self, 2)]
    }

    /// Tells it.
    pub fn told() -> Self {
        let nobody = DidId(Digest::ZERO);
        let (ledger, names) = (Ledger::new(), Vec::new());
        let mut story = Self { ledger, names, citizen: nobody, registrar: nobody, issuer: nobody };
        story.beginnings();
        story.lives();
        story.next_epoch();
        story
    }

    fn beginnings(&mut self) {
        let registrar = Create {
            document: document(1, vec![signing(1, "registrar")]),
            recovery: alone("registrar recovery"),
            next_keys: None,
            salt: salt("registrar"),
            registrar: None,
        };
        // A number below the field's prime, as the ledger asks for.
        let mut agreement = seed("issuer agreement");
        agreement[31] &= 0x3f;
        // Two keys that sign together, and one for key agreement.
        let issuer = Create {
            document: document(
                2,
                vec![
                    signing(1, "issuer 1"),
                    signing(2, "issuer 2"),
                    key(3, VerificationKey::X25519(agreement), Purposes::KEY_AGREEMENT),
                ],
            ),
            recovery: alone("issuer recovery"),
            next_keys: None,
            salt: salt("issuer"),
            registrar: None,
        };
        let citizen = Create {
            document: document(1, vec![signing(1, "citizen 1")]),
            recovery: key_set(&recovery_set(1)).commitment(),
            next_keys: Some(key_set(&next_set(1)).commitment()),
            salt: salt("citizen"),
            registrar: None,
        };
        (self.registrar, self.issuer, self.citizen) = (registrar.did(), issuer.did(), citizen.did());
        let grant = |did, role, quota| {
            let (valid_from, valid_until) = (time(0), UnixMillis(time(0).0 + 31_536_000_000));
            Change::Accredit(Box::new(Grant {
                did,
                role,
                scope: vec!["id".into()],
                valid_from,
                valid_until,
                quota,
            }))
        };
        let first = vec![
            self.sign("create registrar", Operation::Create(registrar), 100, &["registrar"]),
            self.sign("create issuer", Operation::Create(issuer), 100, &["issuer 1", "issuer 2"]),
            self.sign("create citizen", Operation::Create(citizen), 100, &["citizen 1"]),
            self.propose("accredit registrar", grant(self.registrar, Role::Registrar, 100)),
            self.propose("accredit issuer", grant(self.issuer, Role::Issuer, 0)),
        ];
        let mut second = self.votes("accredit registrar", &first[3]);
        second.extend(self.votes("accredit issuer", &first[4]));
        self.ledger.block(first, false);
        self.ledger.block(second, false);
    }

    fn item(&self, name: &str) -> Item {
        let document = document(1, vec![signing(1, name)]);
        let recovery = alone(&format!("{name} recovery"));
        let mut item = Item {
            document,
            recovery,
            next_keys: None,
            salt: salt(name),
            key: 0,
            proof: genesis::Signature::Ed25519([0; 64]),
        };
        let bytes = possession_bytes(&founded().chain(), &self.registrar, &item.did(), Height(100));
        item.proof = secret(name).sign(&bytes);
        item
    }

    fn lives(&mut self) {
        let (citizen, registrar, issuer) = (self.citizen, self.registrar, self.issuer);
        let many = CreateMany { registrar, items: vec![self.item("child 1"), self.item("child 2")] };
        let endorse = Endorse { did: citizen, registrar };
        let third = vec![
            self.sign("create many", Operation::CreateMany(many), 100, &["registrar"]),
            self.sign("endorse citizen", Operation::Endorse(endorse), 100, &["registrar"]),
        ];
        self.ledger.block(third, false);

        let update = Update {
            did: citizen,
            replaces: Version(1),
            document: document(1, vec![signing(2, "citizen next 1")]),
            revealed: Some(key_set(&next_set(1))),
            next_keys: Some(key_set(&next_set(2)).commitment()),
        };
        let uri = |path: &str| format!("https://issuer.example/{path}").try_into().unwrap();
        let of = |text: &str| Digest::of(Domain::Document, text.as_bytes());
        let schema = PublishSchema {
            issuer,
            number: 1,
            version: Version(1),
            digest: of("schema"),
            uri: uri("schemas/1"),
        };
        let list = PublishStatusList {
            issuer,
            number: 1,
            version: Version(1),
            purpose: StatusPurpose::Revocation,
            digest: of("status list"),
            uri: uri("status/1"),
        };
        let fourth = vec![
            self.sign("update citizen", Operation::Update(update), 100, &["citizen next 1"]),
            self.sign("publish schema", Operation::PublishSchema(schema), 100, &["issuer 1"]),
            self.sign("publish status list", Operation::PublishStatusList(list), 100, &["issuer 2"]),
        ];
        self.ledger.block(fourth, false);

        let service = Service {
            number: 1.try_into().unwrap(),
            kind: ServiceKind::LinkedDomains,
            endpoint: "https://registrar.example".to_owned().try_into().unwrap(),
        };
        let with_service = Document {
            services: vec![service],
            controllers: vec![issuer],
            ..document(1, vec![signing(1, "registrar")])
        };
        let serve = Update {
            did: registrar,
            replaces: Version(1),
            document: with_service,
            revealed: None,
            next_keys: None,
        };
        let withdraw = WithdrawEndorsement { did: citizen, registrar, reason: Reason::CourtOrder };
        // The key in the document, which a thief may have: with pre-rotation it changes nothing.
        let theft = Update {
            did: citizen,
            replaces: Version(2),
            document: document(1, vec![signing(3, "thief")]),
            revealed: None,
            next_keys: None,
        };
        let fifth = vec![
            self.sign("update registrar", Operation::Update(serve), 100, &["registrar"]),
            self.sign(
                "withdraw endorsement of citizen",
                Operation::WithdrawEndorsement(withdraw),
                100,
                &["registrar"],
            ),
            self.sign("update citizen by a thief", Operation::Update(theft), 100, &["citizen next 1"]),
        ];
        self.ledger.block(fifth, false);

        let recover = Recover {
            did: citizen,
            revealed: key_set(&recovery_set(1)),
            document: document(1, vec![signing(4, "citizen 4")]),
            recovery: key_set(&recovery_set(2)).commitment(),
            next_keys: None,
        };
        let signers = ["citizen recovery 1.1", "citizen recovery 1.3"];
        let sixth = vec![self.sign("recover citizen", Operation::Recover(recover), 100, &signers)];
        self.ledger.block(sixth, false);
    }

    /// A fifth validator joins; then the citizen's DID ends.
    fn next_epoch(&mut self) {
        let joining = validator(4);
        let ready = sign_ready(&founded().chain(), &joining, &secret(&consensus_key(4)));
        let propose = self.propose("add node4", Change::AddValidator { validator: joining, ready });
        let mut seventh = vec![propose];
        seventh.extend(self.votes("add node4", &seventh[0]));
        self.ledger.block(seventh, false);
        self.ledger.block(Vec::new(), true);
        let (did, stale) = (self.citizen, Some(Version(2)));
        let stale = Deactivate { did, replaces: stale, revealed: None };
        let deactivate = Deactivate { did, replaces: None, revealed: Some(key_set(&recovery_set(2))) };
        let signers = ["citizen recovery 2.2", "citizen recovery 2.3"];
        let ninth = vec![
            self.sign(
                "deactivate citizen at a stale version",
                Operation::Deactivate(stale),
                100,
                &["citizen 4"],
            ),
            self.sign("deactivate citizen", Operation::Deactivate(deactivate), 100, &signers),
        ];
        self.ledger.block(ninth, false);
    }
}
