//! The order that the receipts claim, held against the rules, against real time and against every read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use client::api::Receipt;
use genesis::Height;
use ledger::DidId;

use super::{Anomaly, History, Read, State, Write};

/// Looks for anomalies in what the chain claims.
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = receipts_agree(history);
    anomalies.extend(places_differ(history));
    for did in history.dids() {
        let writes = in_order(history, did);
        anomalies.extend(real_time_holds(&writes));
        let states = replay(&writes, &mut anomalies);
        let reads: Vec<_> = history.reads.iter().filter(|read| read.did == did).collect();
        anomalies.extend(reads.iter().filter_map(|read| exact(read, &states)));
        anomalies.extend(nothing_is_taken_back(&reads));
    }
    anomalies.extend(heights_grow(history));
    anomalies
}

/// A transaction has one receipt, on all nodes, and none that was seen is lost.
fn receipts_agree(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for write in &history.writes {
        let Some(receipt) = write.receipt() else { continue };
        for answer in &write.answers {
            match &answer.receipt {
                None => anomalies.push(Anomaly::Lost { receipt: receipt.clone(), node: answer.node }),
                Some(other) if other != receipt => {
                    anomalies.push(Anomaly::TwoReceipts { one: receipt.clone(), other: other.clone() });
                }
                Some(_) => {}
            }
        }
    }
    anomalies
}

fn place(receipt: &Receipt) -> (Height, u32) {
    (receipt.height, receipt.index)
}

/// The writes of a DID that have a receipt, in the chain's order.
fn in_order(history: &History, did: DidId) -> Vec<(&Write, &Receipt)> {
    let writes = history.writes.iter().filter(|write| write.did == did);
    let mut ordered: Vec<_> =
        writes.filter_map(|write| write.receipt().map(|receipt| (write, receipt))).collect();
    ordered.sort_by_key(|(_, receipt)| place(receipt));
    ordered
}

/// No place of the chain holds two transactions.
fn places_differ(history: &History) -> Vec<Anomaly> {
    let mut receipts: Vec<_> = history.writes.iter().filter_map(Write::receipt).collect();
    receipts.sort_by_key(|receipt| place(receipt));
    let pairs = receipts.windows(2).filter(|pair| place(pair[0]) == place(pair[1]));
    pairs.map(|pair| Anomaly::OnePlace { one: pair[0].clone(), other: pair[1].clone() }).collect()
}

/// What was over before something else began has a lower height: it was final when the other was first submitted.
fn real_time_holds(ordered: &[(&Write, &Receipt)]) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for (later, receipt) in ordered {
        let before = ordered
            .iter()
            .filter(|(earlier, _)| earlier.told.as_ref().is_some_and(|told| told.at < later.invoked));
        for (_, earlier) in before.filter(|(_, earlier)| earlier.height >= receipt.height) {
            anomalies.push(Anomaly::Order { earlier: (*earlier).clone(), later: (*receipt).clone() });
        }
    }
    anomalies
}

/// Applies the writes in the chain's order. What the DID was from which height on; each outcome that the rules do not give
/// is an anomaly, and the chain's word counts from there on.
fn replay(ordered: &[(&Write, &Receipt)], anomalies: &mut Vec<Anomaly>) -> Vec<(Height, State)> {
    let mut states = vec![(Height::ZERO, State::Absent)];
    let mut state = State::Absent;
    for (write, receipt) in ordered {
        let expected = state.after(write.change);
        if !state.explains(write.change, receipt) {
            anomalies.push(Anomaly::Rule { receipt: (*receipt).clone(), before: state, expected });
        }
        if let (true, Ok(next)) = (receipt.is_applied(), expected) {
            state = next;
            states.push((receipt.height, state));
        }
    }
    states
}

/// A read shows what its DID was at one of the heights that the node had during the call. A node shows what a block made a
/// moment before it counts the block, so it may be one ahead of what it says.
fn exact(read: &Read, states: &[(Height, State)]) -> Option<Anomaly> {
    // Of several in one block only the last was ever shown.
    let by_height: BTreeMap<Height, State> = states.iter().copied().collect();
    let at_first = by_height.range(..=read.from).next_back();
    let during = (Bound::Excluded(read.from), Bound::Included(read.to.max(read.from).next()));
    let later = by_height.range(during);
    let possible: Vec<State> = at_first.into_iter().chain(later).map(|(_, state)| *state).collect();
    (!possible.contains(&read.seen)).then_some(Anomaly::Read { read: *read, possible })
}

/// One that began after another was over, at the same node, shows no older version.
fn nothing_is_taken_back(reads: &[&Read]) -> Vec<Anomaly> {
    let mut by_end = reads.to_vec();
    by_end.sort_by_key(|read| read.returned);
    let mut by_start = reads.to_vec();
    by_start.sort_by_key(|read| read.invoked);
    // By node, the newest of what was seen by then.
    let mut newest: BTreeMap<(usize, usize), Read> = BTreeMap::new();
    let mut ended = by_end.into_iter().peekable();
    let mut anomalies = Vec::new();
    for read in by_start {
        while let Some(earlier) = ended.next_if(|earlier| earlier.returned < read.invoked) {
            let best = newest.entry((earlier.node, earlier.life)).or_insert(*earlier);
            if earlier.seen.version() > best.seen.version() {
                *best = *earlier;
            }
        }
        if let Some(earlier) = newest.get(&(read.node, read.life))
            && earlier.seen.version() > read.seen.version()
        {
            anomalies.push(Anomaly::TakenBack { earlier: *earlier, later: *read });
        }
    }
    anomalies
}

/// Nor does a node's height fall, though it was killed in between.
fn heights_grow(history: &History) -> Vec<Anomaly> {
    let mut reads: Vec<_> = history.reads.iter().collect();
    reads.sort_by_key(|read| read.invoked);
    let mut anomalies = Vec::new();
    for read in &reads {
        if read.to < read.from {
            anomalies.push(Anomaly::HeightTakenBack { node: read.node, before: read.from, after: read.to });
        }
    }
    for (node, life) in reads.iter().map(|read| (read.node, read.life)).collect::<BTreeSet<_>>() {
        let here: Vec<_> = reads.iter().filter(|read| (read.node, read.life) == (node, life)).collect();
        let mut ends: Vec<_> = here.iter().map(|read| (read.returned, read.to)).collect();
        ends.sort();
        let (mut ends, mut highest) = (ends.into_iter().peekable(), Height::ZERO);
        for read in here {
            while let Some((_, height)) = ends.next_if(|(returned, _)| *returned < read.invoked) {
                highest = highest.max(height);
            }
            if read.from < highest {
                anomalies.push(Anomaly::HeightTakenBack { node, before: highest, after: read.from });
            }
        }
    }
    anomalies
}
