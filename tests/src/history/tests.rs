use std::borrow::Cow;
use std::time::Duration;

use ledger::{Code, Did, Version};

use super::*;

/// Writes a history down by hand.
#[derive(Default)]
struct Pen(History);

fn did() -> DidId {
    DidId(digest(200))
}

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn at(time: u64) -> Duration {
    Duration::from_secs(time)
}

fn receipt(id: u8, height: u64, code: Code, version: Option<u64>) -> Receipt {
    Receipt {
        expires_at: Height(1_000),
        id: digest(id),
        height: Height(height),
        index: u32::from(id),
        code: code.number(),
        result: Cow::Borrowed(code.name()),
        did: Some(Did::new("test", did())),
        version: version.map(Version),
        items: Vec::new(),
    }
}

fn update(replaces: u64, document: u8) -> Change {
    Change::Update { replaces: Version(replaces), document: digest(document) }
}

fn active(version: u64, document: u8) -> State {
    State::Active { version: Version(version), document: digest(document) }
}

impl Pen {
    /// A DID registered at height 1, over before second 1.
    fn registered() -> Self {
        let mut pen = Self::default();
        pen.told(1, Change::Create { document: digest(1) }, (0, 1), receipt(1, 1, Code::Applied, Some(1)));
        pen
    }

    fn told(&mut self, id: u8, change: Change, (invoked, returned): (u64, u64), receipt: Receipt) {
        let answers = (0..2).map(|node| Answer { node, receipt: Some(receipt.clone()) }).collect();
        let told = Some(Told { at: at(returned), receipt });
        self.0.writes.push(Write { did: did(), id: digest(id), change, invoked: at(invoked), told, answers });
    }

    fn unknown(&mut self, id: u8, change: Change, invoked: u64, receipt: Option<Receipt>) {
        let answers = (0..2).map(|node| Answer { node, receipt: receipt.clone() }).collect();
        let invoked = at(invoked);
        self.0.writes.push(Write { did: did(), id: digest(id), change, invoked, told: None, answers });
    }

    fn read(&mut self, node: usize, (invoked, returned): (u64, u64), (from, to): (u64, u64), seen: State) {
        let (invoked, returned, from, to) = (at(invoked), at(returned), Height(from), Height(to));
        self.0.reads.push(Read { did: did(), node, life: 0, invoked, returned, from, to, seen });
    }

    fn anomalies(&self) -> Vec<Anomaly> {
        self.0.check().err().unwrap_or_default()
    }

    fn black_box(&self) -> Vec<Anomaly> {
        linear::check(&self.0)
    }
}

#[test]
fn a_history_that_is_sound_is_found_sound_and_counted() {
    let mut pen = Pen::registered();
    pen.read(0, (0, 1), (0, 1), State::Absent);
    pen.told(2, update(1, 2), (2, 5), receipt(2, 3, Code::Applied, Some(2)));
    // At the same time, on the same version: it loses.
    pen.told(3, update(1, 3), (2, 6), receipt(3, 4, Code::VersionMismatch, None));
    pen.read(1, (6, 7), (2, 2), active(1, 1));
    pen.read(1, (8, 9), (2, 4), active(2, 2));
    pen.unknown(4, update(2, 4), 7, Some(receipt(4, 6, Code::Applied, Some(3))));
    pen.unknown(5, update(1, 5), 7, None);
    pen.told(6, Change::Deactivate { replaces: Version(3) }, (9, 12), receipt(6, 8, Code::Applied, Some(4)));
    pen.told(7, update(4, 5), (13, 14), receipt(7, 9, Code::Deactivated, None));
    pen.read(0, (20, 21), (9, 9), State::Ended { version: Version(4) });
    let summary = pen.0.check().unwrap();
    assert_eq!((summary.applied, summary.refused, summary.unknown, summary.unknown_applied), (3, 2, 2, 1));
    assert_eq!((summary.reads, summary.dids), (4, 1));
}

#[test]
fn two_writes_that_replaced_one_version_are_found() {
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 5), receipt(2, 3, Code::Applied, Some(2)));
    pen.told(3, update(1, 3), (2, 6), receipt(3, 4, Code::Applied, Some(2)));
    assert!(matches!(pen.black_box()[..], [Anomaly::NoOrder { calls: 3, explained: 2, .. }]));
    assert!(pen.anomalies().iter().any(|anomaly| matches!(anomaly, Anomaly::Rule { .. })));
}

#[test]
fn a_lost_update_is_found_though_each_answer_alone_is_right() {
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 3), receipt(2, 3, Code::Applied, Some(2)));
    // It began when the other was over, and finds the version from before.
    pen.told(3, update(1, 3), (4, 5), receipt(3, 4, Code::Applied, Some(2)));
    assert!(matches!(pen.black_box()[..], [Anomaly::NoOrder { .. }]));

    // And seen from a read alone: version 2 was there, and then was not.
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 3), receipt(2, 3, Code::Applied, Some(2)));
    pen.read(0, (4, 5), (5, 5), active(1, 1));
    assert!(matches!(pen.anomalies()[..], [Anomaly::Read { .. }]));
}

#[test]
fn a_receipt_that_is_gone_at_one_node_is_found() {
    let mut pen = Pen::registered();
    pen.0.writes[0].answers[1].receipt = None;
    assert!(matches!(pen.anomalies()[..], [Anomaly::Lost { node: 1, .. }]));
}

#[test]
fn nodes_that_tell_two_fates_of_one_transaction_are_found() {
    let mut pen = Pen::registered();
    pen.0.writes[0].answers[1].receipt = Some(receipt(1, 2, Code::Applied, Some(1)));
    assert!(matches!(pen.anomalies()[..], [Anomaly::TwoReceipts { .. }]));
}

#[test]
fn two_transactions_at_one_place_are_found() {
    let mut pen = Pen::registered();
    let mut same = receipt(2, 1, Code::Applied, Some(2));
    same.index = 1;
    pen.told(2, update(1, 2), (0, 1), same);
    assert!(pen.anomalies().iter().any(|anomaly| matches!(anomaly, Anomaly::OnePlace { .. })));
}

#[test]
fn a_refusal_that_the_rules_do_not_give_is_found() {
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 3), receipt(2, 3, Code::VersionMismatch, None));
    let anomalies = pen.anomalies();
    assert!(anomalies.iter().any(|anomaly| matches!(anomaly, Anomaly::Rule { .. })), "{anomalies:?}");
    assert!(anomalies.iter().any(|anomaly| matches!(anomaly, Anomaly::NoOrder { .. })), "{anomalies:?}");
}

#[test]
fn an_order_against_real_time_is_found() {
    let mut pen = Pen::registered();
    // Legal one after the other in the chain's order, but the first in the chain began when the other was over.
    pen.told(2, update(2, 2), (2, 3), receipt(2, 9, Code::Applied, Some(3)));
    pen.told(3, update(1, 3), (4, 5), receipt(3, 8, Code::Applied, Some(2)));
    assert!(
        matches!(pen.anomalies()[..], [Anomaly::Order { .. }, Anomaly::NoOrder { .. }]),
        "{:?}",
        pen.anomalies()
    );
}

#[test]
fn a_stale_a_future_and_a_false_version_at_a_height_are_found() {
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 3), receipt(2, 4, Code::Applied, Some(2)));
    for (heights, seen) in
        [((4, 6), active(1, 1)), ((1, 2), active(2, 2)), ((4, 6), active(2, 9)), ((2, 3), State::Absent)]
    {
        let mut pen = Pen(pen.0.clone());
        pen.read(0, (4, 5), heights, seen);
        assert!(matches!(pen.anomalies()[..], [Anomaly::Read { .. }]), "{heights:?} {seen:?}");
    }
    // The height passed 4 during the call: either is right.
    for seen in [active(1, 1), active(2, 2)] {
        let mut pen = Pen(pen.0.clone());
        pen.read(0, (4, 5), (3, 4), seen);
        assert_eq!(pen.anomalies(), []);
    }
}

#[test]
fn a_node_that_takes_back_what_it_showed_is_found_and_another_node_may_be_behind() {
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 3), receipt(2, 4, Code::Applied, Some(2)));
    pen.read(0, (4, 5), (4, 4), active(2, 2));
    pen.read(1, (6, 7), (3, 3), active(1, 1));
    assert_eq!(pen.anomalies(), []);
    pen.read(0, (6, 7), (3, 3), active(1, 1));
    let anomalies = pen.anomalies();
    assert!(
        matches!(anomalies[..], [Anomaly::TakenBack { .. }, Anomaly::HeightTakenBack { node: 0, .. }]),
        "{anomalies:?}"
    );
    // Unless it had lost all it had in between.
    pen.0.reads.last_mut().unwrap().life = 1;
    assert_eq!(pen.anomalies(), []);
}

#[test]
fn an_unknown_outcome_may_have_taken_effect_or_not_but_not_before_it_began() {
    // The update to version 2 is of unknown outcome: what follows shows that it took effect.
    let mut pen = Pen::registered();
    pen.unknown(2, update(1, 2), 2, None);
    pen.told(3, update(2, 3), (4, 5), receipt(3, 6, Code::Applied, Some(3)));
    assert_eq!(pen.black_box(), []);
    // What follows shows that it did not.
    let mut pen = Pen::registered();
    pen.unknown(2, update(1, 2), 2, None);
    pen.told(3, update(1, 3), (4, 5), receipt(3, 6, Code::Applied, Some(2)));
    assert_eq!(pen.black_box(), []);
    // It began after the call that would need it was over.
    let mut pen = Pen::registered();
    pen.told(3, update(2, 3), (4, 5), receipt(3, 6, Code::Applied, Some(3)));
    pen.unknown(2, update(1, 2), 6, None);
    assert!(matches!(pen.black_box()[..], [Anomaly::NoOrder { .. }]));
}

#[test]
fn many_calls_at_once_and_many_unknown_outcomes_are_decided() {
    let mut pen = Pen::registered();
    let mut id = 1;
    for version in 1..40 {
        // Of five on one version one wins; a sixth is never heard of again.
        for rival in 0..5 {
            id += 1;
            let time = (version * 2, version * 2 + 1);
            let outcome = match rival {
                3 => receipt(id, version + 1, Code::Applied, Some(version + 1)),
                _ => receipt(id, version + 1, Code::VersionMismatch, None),
            };
            pen.told(id, update(version, id), time, outcome);
        }
        id += 1;
        pen.unknown(id, update(version, id), version * 2, None);
    }
    assert_eq!(pen.black_box(), []);
    // One of the winners is told a version that it cannot have made.
    let winner = pen
        .0
        .writes
        .iter_mut()
        .filter_map(|write| write.told.as_mut())
        .rfind(|told| told.receipt.is_applied());
    winner.unwrap().receipt.version = Some(Version(99));
    assert!(matches!(pen.black_box()[..], [Anomaly::NoOrder { .. }]));
}

#[test]
fn a_receipt_that_says_expired_is_an_anomaly_as_what_expired_has_none() {
    let mut pen = Pen::registered();
    pen.told(2, update(1, 2), (2, 3), receipt(2, 3, Code::Expired, None));
    assert!(!pen.anomalies().is_empty());
}
