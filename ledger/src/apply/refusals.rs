//! Every authorisation rule against everything that it has to refuse, each with its own code.

use genesis::{Digest, Height, SecretKey};

use super::*;
use crate::operation::{CreateMany, Endorse, PublishSchema, PublishStatusList, Reason, WithdrawEndorsement};
use crate::registry::{Role, Status, StatusPurpose};
use crate::samples::{
    Memory, accredited, added, batch, create, document, genesis, item, key, moment, proposed, signed,
};
use crate::{
    Create, Deactivate, GovernanceVote, KeySet, Propose, Recover, Transaction, TransactionError, Update,
};

/// The seed of the key that recovers the samples' DIDs.
const RECOVERY: u8 = 151;
/// The seed of validator 0's governance key.
const GOVERNANCE: u8 = 202;
/// A key that is in no document.
const STRANGER: u8 = 99;

/// A rule: an operation that passes by it, and what it says of others.
struct Rule {
    name: &'static str,
    operation: Operation,
    /// The seeds of the keys that sign it.
    signers: Vec<u8>,
    /// The key of another DID that may do the same for itself.
    other: u8,
    /// What it says to keys that are not its own.
    refusal: Code,
    /// The operation on a version that is not the current one, where it names one.
    stale: Option<Operation>,
    /// What it says when the same is asked once more by a transaction of its own, where that does not pass.
    again: Option<Code>,
    /// Whose accreditation it stands on.
    accreditation: Option<(u8, Role)>,
}

impl Rule {
    fn new(name: &'static str, operation: Operation, signers: &[u8], other: u8) -> Self {
        let (signers, refusal) = (signers.to_vec(), Code::Unauthorised);
        Self { name, operation, signers, other, refusal, stale: None, again: None, accreditation: None }
    }

    fn stale(self, operation: Operation) -> Self {
        Self { stale: Some(operation), ..self }
    }

    fn again(self, code: Code) -> Self {
        Self { again: Some(code), ..self }
    }

    fn by(self, subject: u8, role: Role) -> Self {
        Self { accreditation: Some((subject, role)), ..self }
    }

    fn sign(&self, operation: &Operation, seeds: &[u8], expires_at: u64) -> Transaction {
        let secrets: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
        let signers: Vec<&SecretKey> = secrets.iter().collect();
        Transaction::sign(genesis().chain(), operation.clone(), Height(expires_at), &signers)
    }
}

fn did(subject: u8) -> DidId {
    create(&[subject]).did()
}

fn set(seed: u8) -> KeySet {
    KeySet::of(key(seed).public())
}

/// With pre-rotation: its next change is by key 17.
fn rotating() -> Create {
    Create { next_keys: Some(set(17).commitment()), ..create(&[7]) }
}

/// Two keys of three sign for it.
fn joint() -> Create {
    let mut joint = create(&[11, 12, 13]);
    joint.document.threshold = 2;
    joint
}

/// DIDs 1 and 2 are citizens; 3 and 4 registrars; 5 and 6 issuers; 8 is endorsed by 3.
fn world() -> (Memory, Digest) {
    let mut state = Memory::default();
    let entries = [
        accredited(3, Role::Registrar),
        accredited(4, Role::Registrar),
        accredited(5, Role::Issuer),
        accredited(6, Role::Issuer),
    ];
    state.registry.extend(entries.map(|entry| (entry.key(), entry)));
    let create = |subject: u8| signed(Operation::Create(create(&[subject])), subject);
    let joint =
        Transaction::sign(genesis().chain(), Operation::Create(joint()), Height(900), &[&key(11), &key(12)]);
    let proposal = proposed(1, 0, added(4));
    let endorsed = Endorse { did: did(8), registrar: did(3) };
    let mut block: Vec<Transaction> = [1, 2, 3, 4, 5, 6, 8].map(create).into();
    block.extend([
        signed(Operation::Create(rotating()), 7),
        joint,
        signed(Operation::Endorse(endorsed), 3),
        proposal.clone(),
    ]);
    let changes = run(&mut state, 1, &block);
    assert!(changes.receipts.iter().all(|receipt| receipt.code == Code::Applied));
    (state, proposal.id())
}

fn run(state: &mut Memory, height: u64, transactions: &[Transaction]) -> Changes {
    let changes = apply(state, moment(height), None, &[batch(height, transactions).0]).unwrap();
    state.take(changes.clone());
    changes
}

fn update(did: DidId, replaces: u64, revealed: Option<KeySet>) -> Operation {
    let (replaces, next_keys) = (Version(replaces), None);
    Operation::Update(Update { did, replaces, document: document(&[50]), revealed, next_keys })
}

fn deactivate(did: DidId, replaces: Option<u64>, revealed: Option<KeySet>) -> Operation {
    Operation::Deactivate(Deactivate { did, replaces: replaces.map(Version), revealed })
}

fn schema(version: u64) -> Operation {
    let uri = "https://example.org/schema".to_owned().try_into().unwrap();
    let (issuer, version) = (did(5), Version(version));
    Operation::PublishSchema(PublishSchema { issuer, number: 1, version, digest: Digest::ZERO, uri })
}

fn status_list(version: u64, purpose: StatusPurpose) -> Operation {
    let uri = "https://example.org/list".to_owned().try_into().unwrap();
    let (issuer, version, digest) = (did(5), Version(version), Digest::ZERO);
    Operation::PublishStatusList(PublishStatusList { issuer, number: 1, version, purpose, digest, uri })
}

fn rules(proposal: Digest) -> Vec<Rule> {
    let recover = Recover {
        did: did(1),
        revealed: set(RECOVERY),
        document: document(&[51]),
        recovery: set(152).commitment(),
        next_keys: None,
    };
    let withdraw = WithdrawEndorsement { did: did(8), registrar: did(3), reason: Reason::Fraud };
    let many = CreateMany { registrar: did(3), items: vec![item(30, 3)] };
    let endorsed = Create { registrar: Some(did(3)), ..create(&[30]) };
    let mut governed = [
        Rule::new("propose", Operation::Propose(Box::new(Propose { change: added(5) })), &[GOVERNANCE], 1),
        Rule::new("vote", Operation::Vote(GovernanceVote { proposal, approve: true }), &[GOVERNANCE], 1),
    ];
    governed.iter_mut().for_each(|rule| rule.refusal = Code::NotAValidator);
    let mut rules = vec![
        Rule::new("create", Operation::Create(create(&[30])), &[30], 2).again(Code::DidExists),
        Rule::new("update", update(did(1), 1, None), &[1], 2)
            .stale(update(did(1), 2, None))
            .again(Code::VersionMismatch),
        Rule::new("update by threshold", update(joint().did(), 1, None), &[11, 13], 2)
            .stale(update(joint().did(), 2, None))
            .again(Code::VersionMismatch),
        Rule::new("update with pre-rotation", update(rotating().did(), 1, Some(set(17))), &[17], 7)
            .stale(update(rotating().did(), 2, Some(set(17))))
            .again(Code::VersionMismatch),
        Rule::new("recover", Operation::Recover(recover), &[RECOVERY], 1).again(Code::OtherRecovery),
        Rule::new("deactivate", deactivate(did(1), Some(1), None), &[1], 2)
            .stale(deactivate(did(1), Some(2), None))
            .again(Code::Deactivated),
        Rule::new(
            "deactivate with pre-rotation",
            deactivate(rotating().did(), Some(1), Some(set(17))),
            &[17],
            7,
        )
        .stale(deactivate(rotating().did(), Some(2), Some(set(17))))
        .again(Code::Deactivated),
        Rule::new("deactivate by recovery", deactivate(did(1), None, Some(set(RECOVERY))), &[RECOVERY], 1)
            .stale(deactivate(did(1), Some(2), Some(set(RECOVERY))))
            .again(Code::Deactivated),
        Rule::new("create, endorsed", Operation::Create(endorsed), &[3, 30], 4)
            .again(Code::DidExists)
            .by(3, Role::Registrar),
        Rule::new("create many", Operation::CreateMany(many), &[3], 4).by(3, Role::Registrar),
        Rule::new("endorse", Operation::Endorse(Endorse { did: did(1), registrar: did(3) }), &[3], 4)
            .again(Code::AlreadyEndorsed)
            .by(3, Role::Registrar),
        Rule::new("withdraw endorsement", Operation::WithdrawEndorsement(withdraw), &[3], 4)
            .again(Code::NotEndorsed)
            .by(3, Role::Registrar),
        Rule::new("publish schema", schema(1), &[5], 6)
            .stale(schema(2))
            .again(Code::VersionMismatch)
            .by(5, Role::Issuer),
        Rule::new("publish status list", status_list(1, StatusPurpose::Message), &[5], 6)
            .stale(status_list(2, StatusPurpose::Message))
            .again(Code::VersionMismatch)
            .by(5, Role::Issuer),
    ];
    rules.extend(governed);
    rules
}

/// What becomes of one transaction in the world, which it must leave as it is unless it is applied.
fn fate(world: &Memory, transaction: Transaction) -> Code {
    let changes = run(&mut world.clone(), 2, &[transaction]);
    let [receipt] = &changes.receipts[..] else { panic!("one receipt") };
    if receipt.code != Code::Applied {
        assert!(changes.records.is_empty() && changes.registry.is_empty() && changes.governance.is_none());
    }
    receipt.code
}

fn for_each_rule(check: impl Fn(&Rule, &Memory)) {
    let (world, proposal) = world();
    for rule in rules(proposal) {
        println!("{}", rule.name);
        check(&rule, &world);
    }
}

#[test]
fn each_rule_lets_its_own_keys_pass() {
    for_each_rule(|rule, world| {
        assert_eq!(fate(world, rule.sign(&rule.operation, &rule.signers, 1_000)), Code::Applied);
    });
}

#[test]
fn each_rule_refuses_a_wrong_key_and_the_right_key_of_another_did() {
    for_each_rule(|rule, world| {
        // One signer of several is replaced at a time.
        for place in 0..rule.signers.len() {
            for wrong in [STRANGER, rule.other] {
                let mut seeds = rule.signers.clone();
                seeds[place] = wrong;
                assert_eq!(fate(world, rule.sign(&rule.operation, &seeds, 1_000)), rule.refusal, "{seeds:?}");
            }
        }
    });
}

#[test]
fn each_rule_counts_a_key_once() {
    for_each_rule(|rule, world| {
        let first = [rule.signers[0]; 2];
        let mut twice = rule.sign(&rule.operation, &first, 1_000);
        if rule.signers.len() > 1 {
            assert_eq!(fate(world, twice.clone()), rule.refusal);
        }
        let (signer, signature) = (twice.signers[0], twice.signatures[0]);
        twice.signers.push(signer);
        twice.signatures.push(signature);
        let error = CheckedTransaction::check(twice, &genesis()).unwrap_err();
        assert_eq!(error, TransactionError::SignerOrder { index: 1, signer });
    });
}

#[test]
fn no_rule_hears_a_replay_and_the_same_asked_anew_passes_once() {
    for_each_rule(|rule, world| {
        let mut state = world.clone();
        let transaction = rule.sign(&rule.operation, &rule.signers, 1_000);
        run(&mut state, 2, std::slice::from_ref(&transaction));
        let replay = run(&mut state, 3, std::slice::from_ref(&transaction));
        assert!(replay.receipts.is_empty() && replay.records.is_empty() && replay.registry.is_empty());
        if let Some(code) = rule.again {
            assert_eq!(fate(&state, rule.sign(&rule.operation, &rule.signers, 999)), code);
        }
    });
}

#[test]
fn no_rule_takes_a_signature_for_another_chain() {
    for_each_rule(|rule, _| {
        let own = rule.sign(&rule.operation, &rule.signers, 1_000);
        let secrets: Vec<SecretKey> = rule.signers.iter().map(|seed| key(*seed)).collect();
        let signers: Vec<&SecretKey> = secrets.iter().collect();
        let elsewhere = Transaction::sign(Digest::ZERO, own.operation.clone(), own.expires_at, &signers);
        let error = CheckedTransaction::check(elsewhere.clone(), &genesis()).unwrap_err();
        assert!(matches!(error, TransactionError::OtherChain { .. }), "{error}");
        let moved = Transaction { signatures: elsewhere.signatures, ..own };
        let error = CheckedTransaction::check(moved, &genesis()).unwrap_err();
        assert!(matches!(error, TransactionError::Signature { .. }), "{error}");
    });
}

#[test]
fn each_rule_that_names_a_version_refuses_another() {
    for_each_rule(|rule, world| {
        if let Some(stale) = &rule.stale {
            let code = fate(world, rule.sign(stale, &rule.signers, 1_000));
            assert_eq!(code, Code::VersionMismatch);
        }
    });
}

#[test]
fn no_rule_hears_what_is_expired() {
    for_each_rule(|rule, world| {
        // The owner's proof in a registrar's list covers the expiry, too.
        if rule.name == "create many" {
            return;
        }
        let late = rule.sign(&rule.operation, &rule.signers, 1);
        assert_eq!(late.check_expiry(Height(2), genesis().parameters()), Err(Code::Expired));
        let changes = run(&mut world.clone(), 2, &[late]);
        assert!(changes.receipts.is_empty() && changes.records.is_empty() && changes.registry.is_empty());
        assert!(changes.governance.is_none());
    });
    let (world, _) = world();
    let many = Operation::CreateMany(CreateMany { registrar: did(3), items: vec![item(30, 3)] });
    let changes = apply(&world, moment(1_001), None, &[batch(2, &[signed(many, 3)]).0]).unwrap();
    assert!(changes.receipts.is_empty() && changes.records.is_empty());
}

#[test]
fn each_rule_for_registrars_and_issuers_refuses_one_that_is_suspended_withdrawn_out_of_time_or_none() {
    for_each_rule(|rule, world| {
        let Some((subject, role)) = rule.accreditation else { return };
        let with = |change: &dyn Fn(&mut crate::registry::Accreditation)| {
            let mut world = world.clone();
            let entry = world.registry.get_mut(&RegistryKey::Accreditation(did(subject), role));
            let Some(RegistryEntry::Accreditation(entry)) = entry else { panic!("it is accredited") };
            change(entry);
            fate(&world, rule.sign(&rule.operation, &rule.signers, 1_000))
        };
        assert_eq!(with(&|it| it.status = Status::Suspended), Code::AccreditationSuspended);
        assert_eq!(with(&|it| it.status = Status::Withdrawn), Code::NotAccredited);
        assert_eq!(with(&|it| it.valid_from = moment(3).time), Code::AccreditationNotInForce);
        assert_eq!(with(&|it| it.valid_until = moment(2).time), Code::AccreditationNotInForce);
        let mut world = world.clone();
        world.registry.remove(&RegistryKey::Accreditation(did(subject), role));
        assert_eq!(fate(&world, rule.sign(&rule.operation, &rule.signers, 1_000)), Code::NotAccredited);
    });
}
