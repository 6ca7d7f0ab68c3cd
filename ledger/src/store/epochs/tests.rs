use genesis::Parameters;

use super::super::tests::{Fixture, assert_names_row};
use super::*;
use crate::samples::{added, created, genesis, proposed, voted};
use crate::{Change, Code, Transaction};

/// A block in which three of the four founders make a change pending.
fn decision(number: u64, change: Change) -> Vec<Transaction> {
    let proposal = proposed(0, number, change);
    let votes = [1, 2].map(|member| voted(member, number, proposal.id(), true));
    std::iter::once(proposal).chain(votes).collect()
}

fn removed(index: u8) -> Change {
    Change::RemoveValidator { name: format!("node{index}") }
}

/// Commits a block that makes a change pending; its digest.
fn decide(fixture: &Fixture, number: u64, change: Change) -> Digest {
    let (_, changes) = fixture.commit(&decision(number, change));
    assert!(changes.receipts.iter().all(|receipt| receipt.code == Code::Applied));
    changes.outcome.pending.unwrap()
}

#[test]
fn a_new_ledger_has_the_genesis_documents_validators_and_outcome() {
    let fixture = Fixture::new();
    let store = fixture.store();
    assert_eq!(*store.governance(), Governance::of(&genesis()));
    assert_eq!(store.outcome(), Outcome::genesis(&genesis()));
    assert_eq!(store.outcome_of(Height(0)).unwrap(), Some(store.outcome()));
    assert_eq!(store.outcome_of(Height(1)).unwrap(), None);
    assert_eq!(store.configuration_of(Epoch(0)).unwrap(), Some(Configuration::of(&genesis())));
    assert_eq!(store.configuration_of(Epoch(1)).unwrap(), None);
    assert_eq!((store.epoch_of_height(Height(0)), store.epoch_of_height(Height(9))), (Epoch(0), Epoch(0)));
    assert_eq!(store.closing_heights(Epoch(0), 9), []);
}

#[test]
fn governance_outcomes_and_epochs_are_the_same_after_reopening() {
    let mut fixture = Fixture::new();
    fixture.commit(&[created(1)]);
    let second = decide(&fixture, 0, added(4));
    let open = proposed(3, 7, removed(0));
    let (_, closing) = fixture.close_epoch(second, std::slice::from_ref(&open));
    let (_, later) = fixture.commit(&[created(2)]);
    let third = {
        let proposal =
            proposed(0, 1, Change::SetParameters(Parameters { delta_ms: 500, ..Parameters::default() }));
        let votes = [1, 2, 4].map(|member| voted(member, 1, proposal.id(), true));
        let block: Vec<Transaction> = std::iter::once(proposal).chain(votes).collect();
        fixture.commit(&block).1.outcome.pending.unwrap()
    };
    for _ in 0..2 {
        let store = fixture.store();
        let governance = store.governance();
        assert_eq!((governance.epoch, governance.began), (Epoch(1), Height(3)));
        assert_eq!(governance.configuration.digest(), second);
        assert_eq!(governance.pending.as_ref().map(Configuration::digest), Some(third));
        assert_eq!(governance.proposals.keys().copied().collect::<Vec<_>>(), [open.id()]);
        assert_eq!(store.outcome_of(Height(3)).unwrap(), Some(closing.outcome));
        assert_eq!(store.outcome_of(Height(4)).unwrap(), Some(later.outcome));
        assert_eq!((store.outcome().configuration, store.outcome().pending), (second, Some(third)));
        assert_eq!(store.configuration(&third).unwrap(), governance.pending);
        let of_epoch = |epoch| store.configuration_of(Epoch(epoch)).unwrap().map(|it| it.digest());
        assert_eq!(of_epoch(0), Some(Configuration::of(&genesis()).digest()));
        assert_eq!((of_epoch(1), of_epoch(2)), (Some(second), None));
        assert_eq!(store.closing_heights(Epoch(0), 9), [(Epoch(0), Height(3))]);
        fixture.reopen();
    }
    // The ledger goes on from there.
    fixture.close_epoch(third, &[]);
    assert_eq!(fixture.store().governance().configuration.parameters.delta_ms, 500);
    assert_eq!(
        fixture.store().epoch_start(Epoch(2)),
        Some(EpochStart { began: Height(6), configuration: third })
    );
}

#[test]
fn every_height_belongs_to_the_epoch_whose_validators_made_it() {
    let fixture = Fixture::new();
    let first = decide(&fixture, 0, added(4));
    fixture.close_epoch(first, &[]);
    let votes = |proposal: Transaction, number| {
        let votes = [1, 2, 4].map(|member| voted(member, number, proposal.id(), true));
        std::iter::once(proposal).chain(votes).collect::<Vec<_>>()
    };
    let (_, changes) = fixture.commit(&votes(proposed(0, 1, removed(4)), 1));
    fixture.close_epoch(changes.outcome.pending.unwrap(), &[]);
    let store = fixture.store();
    let epochs = [0, 1, 2, 3, 4, 5, 99].map(|height| store.epoch_of_height(Height(height)).0);
    assert_eq!(epochs, [0, 0, 0, 1, 1, 2, 2], "blocks 2 and 4 close their epochs");
    assert_eq!(store.closing_heights(Epoch(0), 9), [(Epoch(0), Height(2)), (Epoch(1), Height(4))]);
    assert_eq!(store.closing_heights(Epoch(0), 1), [(Epoch(0), Height(2))]);
    assert_eq!(store.closing_heights(Epoch(1), 9), [(Epoch(1), Height(4))]);
    assert_eq!(store.closing_heights(Epoch(2), 9), []);
    // The founders are in charge again: their configuration was never given up.
    assert_eq!(store.configuration_of(Epoch(2)).unwrap(), store.configuration_of(Epoch(0)).unwrap());
}

#[test]
fn what_was_announced_and_never_in_charge_goes_when_the_epoch_ends() {
    let mut fixture = Fixture::new();
    let founders = Configuration::of(&genesis()).digest();
    let never = decide(&fixture, 0, added(4));
    let next = decide(&fixture, 1, added(5));
    fixture.reopen();
    assert_eq!(fixture.store().governance().announced.len(), 2);
    for digest in [founders, never, next] {
        assert!(fixture.store().configuration(&digest).unwrap().is_some());
    }
    fixture.close_epoch(next, &[]);
    let there =
        [founders, never, next].map(|digest| fixture.store().configuration(&digest).unwrap().is_some());
    assert_eq!(there, [true, false, true]);
}

#[test]
fn a_closing_by_a_configuration_that_came_before_is_found_after_reopening() {
    let mut fixture = Fixture::new();
    let cited = decide(&fixture, 0, added(4));
    let aim = decide(&fixture, 1, added(5));
    fixture.reopen();
    let (_, changes) = fixture.close_epoch(cited, &[]);
    assert_eq!((changes.outcome.configuration, changes.outcome.pending), (cited, Some(aim)));
    fixture.reopen();
    let (_, changes) = fixture.close_epoch(aim, &[]);
    assert_eq!((changes.outcome.configuration, changes.outcome.pending), (aim, None));
}

#[test]
fn damaged_governance_is_named_and_never_in_charge() {
    let damage = |family: &str, key: &[u8], value: &[u8], row: &str| {
        let mut fixture = Fixture::new();
        decide(&fixture, 0, added(4));
        assert_names_row(fixture.reopen_damaged(family, key, value).unwrap_err(), row);
    };
    damage("meta", b"governance", b"garbage", "meta[governance]");
    let other =
        Governance::of(&crate::samples::genesis_with(Parameters { delta_ms: 401, ..Parameters::default() }));
    damage("meta", b"governance", &genesis::encoding::encode(&other), "meta[governance]");
    damage("epochs", &rows::epoch_key(Epoch(1)), b"garbage", "epochs[0000000000000001]");
    damage("outcomes", &rows::height_key(Height(1)), &[], "outcomes[0000000000000001]");

    let mut fixture = Fixture::new();
    let founders = Configuration::of(&genesis()).digest();
    let next = decide(&fixture, 0, added(4));
    let bytes = genesis::encoding::encode(&fixture.store().configuration(&next).unwrap().unwrap());
    fixture.damage("configurations", founders.as_bytes(), &bytes);
    assert_names_row(fixture.store().configuration_of(Epoch(0)).unwrap_err(), "another row's value");
}
