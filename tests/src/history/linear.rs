//! Is there an order of a DID's writes that agrees with what each client was told, and when?
//!
//! Nothing that the nodes claim about heights is used: only calls, answers and the test's own clock.

use std::collections::BTreeSet;
use std::time::Duration;

use client::api::Receipt;

use super::{Anomaly, Change, History, State, Write};

/// How many orders are tried for a DID, before the answer is "undecided". Histories of real networks need about as many as
/// they have calls.
const MAX_TRIES: usize = 1_000_000;

/// Searches an order for the writes of each DID.
pub fn check(history: &History) -> Vec<Anomaly> {
    let searched = history.dids().into_iter().filter_map(|did| {
        let calls: Vec<_> = history.writes.iter().filter(|write| write.did == did).map(Call::new).collect();
        match search(&calls) {
            Found::Order => None,
            Found::None { explained } => Some(Anomaly::NoOrder { did, calls: calls.len(), explained }),
            Found::TooMany => Some(Anomaly::Undecided { did }),
        }
    });
    searched.collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Order,
    None { explained: usize },
    TooMany,
}

/// A call as the search sees it.
struct Call<'a> {
    change: Change,
    invoked: Duration,
    /// When it was over and what it came to; none where it may take effect at any time, or never.
    told: Option<(Duration, &'a Receipt)>,
}

/// How far an order has come: which calls are in it, and what they made of the DID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    done: Vec<bool>,
    state: State,
}

impl<'a> Call<'a> {
    fn new(write: &'a Write) -> Self {
        let told = write.told.as_ref().map(|told| (told.at, &told.receipt));
        Self { change: write.change, invoked: write.invoked, told }
    }
}

fn search(calls: &[Call<'_>]) -> Found {
    let known = calls.iter().filter(|call| call.told.is_some()).count();
    let mut explained = 0;
    let mut seen = BTreeSet::new();
    let mut open = vec![Place { done: vec![false; calls.len()], state: State::Absent }];
    while let Some(mut place) = open.pop() {
        place.take_without_effect(calls);
        let done = calls.iter().zip(&place.done).filter(|(call, done)| **done && call.told.is_some()).count();
        explained = explained.max(done);
        if done == known {
            return Found::Order;
        }
        if !seen.insert(place.clone()) {
            continue;
        }
        if seen.len() > MAX_TRIES {
            return Found::TooMany;
        }
        for (index, call) in place.next(calls) {
            let fits = call.told.is_none_or(|(_, receipt)| place.state.explains(call.change, receipt));
            if let Ok(state) = place.state.after(call.change)
                && fits
            {
                let mut done = place.done.clone();
                done[index] = true;
                open.push(Place { done, state });
            }
        }
    }
    Found::None { explained }
}

impl Place {
    /// The calls that may come next: those that began before any other that is left was over.
    fn next<'c, 'a>(&self, calls: &'c [Call<'a>]) -> Vec<(usize, &'c Call<'a>)> {
        let left = || calls.iter().enumerate().filter(|(index, _)| !self.done[*index]);
        let first_end = left().filter_map(|(_, call)| call.told.map(|(at, _)| at)).min();
        left().filter(|(_, call)| first_end.is_none_or(|end| call.invoked <= end)).collect()
    }

    /// Takes all calls that may come next and changed nothing. That never spoils an order: whatever could follow before
    /// can follow after.
    fn take_without_effect(&mut self, calls: &[Call<'_>]) {
        loop {
            let idle: Vec<_> = self
                .next(calls)
                .into_iter()
                .filter(|(_, call)| {
                    call.told.is_some_and(|(_, receipt)| {
                        !receipt.is_applied() && self.state.explains(call.change, receipt)
                    })
                })
                .map(|(index, _)| index)
                .collect();
            if idle.is_empty() {
                return;
            }
            for index in idle {
                self.done[index] = true;
            }
        }
    }
}
