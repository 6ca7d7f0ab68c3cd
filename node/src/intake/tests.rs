use std::time::Duration;

use client::wallet::{self, Terms};
use consensus::{Report, Status, Tip};
use genesis::{Epoch, Parameters, SecretKey, UnixMillis, Validator, ValidatorIndex, View};
use ledger::Batch;
use tempfile::TempDir;

use super::*;

fn key(role: u8, number: u8) -> SecretKey {
    SecretKey::from_seed([role * 16 + number; 32])
}

fn author() -> PublicKey {
    key(2, 1).public()
}

/// An intake with a ledger at genesis, where `certified` is known to be executed by others.
struct Bench {
    intake: Intake,
    events: mpsc::Receiver<Event>,
    _snapshots: watch::Sender<Snapshot>,
    _folder: TempDir,
}

fn bench(certified: Height) -> Bench {
    let validator = |number| Validator {
        name: format!("node{number}"),
        consensus_key: key(1, number).public(),
        network_key: key(2, number).public(),
        governance_key: key(3, number).public(),
        address: format!("127.0.0.1:{}", 1_000 + u16::from(number)),
    };
    let time = UnixMillis(1_000_000);
    let genesis =
        Genesis::new("test".into(), time, Parameters::default(), (0..4).map(validator).collect()).unwrap();
    let genesis = Arc::new(genesis);
    let folder = tempfile::tempdir().unwrap();
    let status = Status {
        epoch: Epoch::ZERO,
        view: View(1),
        tip: Tip::genesis(&genesis),
        leader: ValidatorIndex(0),
        delta: Duration::ZERO,
        armed: None,
        behind: false,
        waiting: 0,
        certified,
        closing: None,
        standing: Report::Voting,
    };
    let (snapshots, snapshot) = watch::channel(Snapshot { status, executed: Height::ZERO, final_at: None });
    let (reports, events) = mpsc::channel(64);
    let intake = Intake {
        store: Arc::new(Store::open(folder.path(), &genesis).unwrap()),
        genesis,
        me: key(2, 0).public(),
        shelf: Arc::default(),
        quotas: Arc::default(),
        snapshot,
        events: reports,
        metrics: Arc::new(Metrics::new().unwrap()),
        contents: Contents::Transactions,
    };
    Bench { intake, events, _snapshots: snapshots, _folder: folder }
}

impl Bench {
    /// A batch of one transaction, rightly signed or not.
    fn batch(&self, expires_at: u64, is_forged: bool) -> Vec<u8> {
        let genesis = &self.intake.genesis;
        let (network, chain) = (genesis.network().to_owned(), genesis.chain());
        let terms = Terms { network, chain, expires_at: Height(100) };
        let (_, mut transaction) = wallet::registration(&terms, &SecretKey::generate());
        if is_forged {
            transaction.signatures[0] = SecretKey::generate().sign(b"something else");
        }
        let transactions = vec![transaction];
        Batch { author: author(), sequence: 1, expires_at: Height(expires_at), transactions }.encode()
    }

    fn refused(&self, account: Option<Account>, bytes: &[u8]) -> Refused {
        self.intake.accept(account, bytes).expect_err("it is not taken")
    }
}

#[test]
fn a_batch_that_no_block_may_name_or_of_another_author_is_refused_before_its_signatures_are_checked() {
    let (bench, pushed) = (bench(Height::ZERO), Some(Account::Pusher(author())));
    let forged = |expires_at| bench.batch(expires_at, true);
    assert!(matches!(bench.refused(pushed, &forged(0)), Refused::Lifetime { .. }), "expired");
    let most = bench.intake.genesis.parameters().max_batch_lifetime;
    assert!(matches!(bench.refused(pushed, &forged(most + 1)), Refused::Lifetime { .. }), "too long");
    let other = Some(Account::Pusher(key(2, 2).public()));
    assert!(matches!(bench.refused(other, &forged(50)), Refused::NotItsAuthor { .. }));
    let is_sound = |account, batch: &[u8]| match bench.intake.accept(account, batch).unwrap() {
        Accepted::Unchecked(batch) => batch.check().is_ok(),
        Accepted::Opaque(_) => false,
    };
    assert!(!is_sound(pushed, &forged(50)));
    assert!(!is_sound(None, &forged(0)), "old, and named by a final block");
    assert!(is_sound(pushed, &bench.batch(50, false)));
}

#[test]
fn a_forged_batch_among_others_that_came_with_it_is_refused_alone() {
    let (mut bench, (entrance, mut arrivals)) = (bench(Height::ZERO), channel());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sent = [false, true, false].map(|is_forged| {
        let bytes = bench.batch(50, is_forged);
        let digest = CheckedBatch::digest_of(&bytes);
        runtime.block_on(entrance.send(Arrival::Fetched(Some(Account::Acknowledged), bytes))).unwrap();
        digest
    });
    let first = runtime.block_on(arrivals.next()).unwrap();
    bench.intake.take_in(first, &mut arrivals, &mut Penalties::default()).unwrap();
    match [bench.events.try_recv(), bench.events.try_recv()] {
        [Ok(Event::Invalid(forged)), Ok(Event::Held(held))] => {
            let held: Vec<_> = held.into_iter().map(|held| held.digest).collect();
            assert_eq!((forged, held), (sent[1], vec![sent[0], sent[2]]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_is_behind_measures_lifetimes_from_the_newest_checkpoint_that_it_knows() {
    let (bench, pushed) = (bench(Height(20_000)), Some(Account::Pusher(author())));
    assert!(bench.intake.accept(pushed, &bench.batch(21_000, false)).is_ok());
    assert!(matches!(bench.refused(pushed, &bench.batch(20_000, true)), Refused::Lifetime { .. }));
}

#[test]
fn what_a_vote_or_the_executor_waits_for_is_taken_in_before_pushes_and_reported_before_them() {
    let (mut bench, (entrance, mut arrivals)) = (bench(Height::ZERO), channel());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pushed = Some(Account::Acknowledged);
    let leaders = Some(Account::Leader(author()));
    let sent = [pushed, pushed, leaders, None].map(|account| {
        let bytes = bench.batch(50, false);
        let digest = CheckedBatch::digest_of(&bytes);
        runtime.block_on(entrance.send(Arrival::Fetched(account, bytes))).unwrap();
        digest
    });
    let first = runtime.block_on(arrivals.next()).unwrap();
    bench.intake.take_in(first, &mut arrivals, &mut Penalties::default()).unwrap();
    let digests = |held: Vec<Held>| held.into_iter().map(|held| held.digest).collect::<Vec<_>>();
    match [bench.events.try_recv(), bench.events.try_recv()] {
        [Ok(Event::Held(waiting)), Ok(Event::Caught(ordered))] => {
            assert_eq!((digests(waiting), digests(ordered)), (vec![sent[2]], vec![sent[3]]));
        }
        other => panic!("{other:?}"),
    }
    let first = runtime.block_on(arrivals.next()).unwrap();
    bench.intake.take_in(first, &mut arrivals, &mut Penalties::default()).unwrap();
    match bench.events.try_recv() {
        Ok(Event::Held(waiting)) => assert_eq!(digests(waiting), sent[..2]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_that_comes_twice_at_once_is_checked_and_reported_once() {
    let (mut bench, (entrance, mut arrivals)) = (bench(Height::ZERO), channel());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = bench.batch(50, false);
    for account in [Account::Leader(author()), Account::Acknowledged] {
        let again = Arrival::Fetched(Some(account), bytes.clone());
        runtime.block_on(entrance.send(again)).unwrap();
        runtime.block_on(entrance.send(Arrival::Fetched(None, bytes.clone()))).unwrap();
    }
    let first = runtime.block_on(arrivals.next()).unwrap();
    bench.intake.take_in(first, &mut arrivals, &mut Penalties::default()).unwrap();
    assert!(matches!(bench.events.try_recv(), Ok(Event::Held(held)) if held.len() == 1));
    assert!(bench.events.try_recv().is_err());
    assert_eq!(bench.intake.metrics.batch_check_seconds.get_sample_count(), 1);
}

#[test]
fn a_flood_of_refused_batches_keeps_no_sound_one_from_being_made_durable() {
    let (mut bench, (entrance, mut arrivals)) = (bench(Height::ZERO), channel());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let sound = bench.batch(50, false);
    let expired = bench.batch(0, true);
    for bytes in std::iter::once(sound).chain(std::iter::repeat_n(expired, QUEUE - 1)) {
        let arrival = Arrival::Fetched(Some(Account::Acknowledged), bytes);
        runtime.block_on(entrance.send(arrival)).unwrap();
    }
    let first = runtime.block_on(arrivals.next()).unwrap();
    bench.intake.take_in(first, &mut arrivals, &mut Penalties::default()).unwrap();
    assert!(matches!(bench.events.try_recv(), Ok(Event::Held(held)) if held.len() == 1));
    assert_eq!(arrivals.others.len(), QUEUE - AT_ONCE, "the rest comes after it");
}
