//! What clients saw of a network, call by call, and whether one order of all writes explains it.
//!
//! - [`calls`]: what is written down of a call
//! - [`load`]: clients that make calls while things go wrong, and the questions that are asked at the end
//! - [`linear`]: the black box: is there an order of a DID's writes that agrees with what each client was told, and when?
//!   (Wing & Gong's search with Lowe's memory.) A write whose outcome no client learnt may stand anywhere after its start,
//!   or nowhere.
//! - [`chain`]: the order that the receipts claim, held against the rules, against real time and against every read
//!
//! A read is answered from one node's newest executed block, which may be older than what another node has: it is not
//! linearizable in real time, and does not claim to be. It must be exact at its height ([`Anomaly::Read`]), and what a node
//! showed once it never takes back ([`Anomaly::TakenBack`]), whatever happened to it in between.

pub mod calls;
pub mod chain;
pub mod linear;
pub mod load;

use std::collections::BTreeSet;
use std::fmt;

use client::api::Receipt;
use genesis::{Digest, Height};
use ledger::DidId;

pub use calls::{Answer, Change, Read, State, Told, Write};
pub use load::Load;

/// All calls of a test.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Transactions that were submitted, once or again and again.
    pub writes: Vec<Write>,
    /// Resolutions that were answered.
    pub reads: Vec<Read>,
    /// Calls that got no answer, or "try another node".
    pub failed: usize,
}

/// What no honest network shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Anomaly {
    /// No order of the writes of a DID agrees with what its clients were told.
    NoOrder {
        /// Whose writes.
        did: DidId,
        /// How many there are.
        calls: usize,
        /// How many of them the longest order explains.
        explained: usize,
    },
    /// The search for an order grew beyond its bound: nothing is known, which is not good enough.
    Undecided {
        /// Whose writes.
        did: DidId,
    },
    /// Two receipts of one transaction.
    TwoReceipts {
        /// One.
        one: Receipt,
        /// The other.
        other: Receipt,
    },
    /// A receipt that a client saw is not there in the end.
    Lost {
        /// The receipt.
        receipt: Receipt,
        /// Who does not have it.
        node: usize,
    },
    /// Two writes at one place of the chain.
    OnePlace {
        /// One.
        one: Receipt,
        /// The other.
        other: Receipt,
    },
    /// In the chain's order, the rules give another outcome.
    Rule {
        /// What the chain says.
        receipt: Receipt,
        /// The state before it.
        before: State,
        /// What the rules say.
        expected: Result<State, ledger::Code>,
    },
    /// A write was done before another began, and stands behind it in the chain.
    Order {
        /// The earlier one.
        earlier: Receipt,
        /// The later one.
        later: Receipt,
    },
    /// A read shows what its DID was not at any height that the node had during the call.
    Read {
        /// The read.
        read: Read,
        /// What the DID was at those heights.
        possible: Vec<State>,
    },
    /// A node showed a version, and later an older one.
    TakenBack {
        /// The earlier read.
        earlier: Read,
        /// The later one.
        later: Read,
    },
    /// A node was at a height, and later at a lower one.
    HeightTakenBack {
        /// Which.
        node: usize,
        /// The height before.
        before: Height,
        /// The height after.
        after: Height,
    },
}

/// What a history without anomalies consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Writes that took effect and whose client knew.
    pub applied: usize,
    /// Writes that were ordered and refused.
    pub refused: usize,
    /// Writes whose client never learnt what became of them.
    pub unknown: usize,
    /// Of those, how many took effect.
    pub unknown_applied: usize,
    /// Reads that were answered.
    pub reads: usize,
    /// Calls that failed.
    pub failed: usize,
    /// DIDs that anything was called for.
    pub dids: usize,
}

impl History {
    /// Looks for anomalies.
    ///
    /// # Errors
    /// All that there are.
    pub fn check(&self) -> Result<Summary, Vec<Anomaly>> {
        let mut anomalies = chain::check(self);
        anomalies.extend(linear::check(self));
        if anomalies.is_empty() { Ok(self.summary()) } else { Err(anomalies) }
    }

    /// The DIDs that anything was called for.
    fn dids(&self) -> BTreeSet<DidId> {
        let read = self.reads.iter().map(|read| read.did);
        self.writes.iter().map(|write| write.did).chain(read).collect()
    }

    fn summary(&self) -> Summary {
        let told = |applied: bool| {
            let told = self.writes.iter().filter_map(|write| write.told.as_ref());
            told.filter(|told| told.receipt.is_applied() == applied).count()
        };
        let unknown = || self.writes.iter().filter(|write| write.told.is_none());
        let took_effect = |write: &&Write| write.receipt().is_some_and(Receipt::is_applied);
        Summary {
            applied: told(true),
            refused: told(false),
            unknown: unknown().count(),
            unknown_applied: unknown().filter(took_effect).count(),
            reads: self.reads.len(),
            failed: self.failed,
            dids: self.dids().len(),
        }
    }

    /// Checks, and ends the test with everything that there is to know if something is wrong.
    ///
    /// # Panics
    /// When there is an anomaly.
    pub fn assert_sound(&self) -> Summary {
        self.check().unwrap_or_else(|anomalies| {
            let shown = anomalies.iter().take(20).map(|anomaly| format!("\n- {anomaly:?}"));
            panic!("{} anomalies:{}", anomalies.len(), shown.collect::<String>())
        })
    }

    /// The ids of all writes.
    fn ids(&self) -> Vec<Digest> {
        self.writes.iter().map(|write| write.id).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, refused, unknown, unknown_applied, reads, failed, dids } = self;
        write!(
            f,
            "{dids} DIDs: {applied} writes applied, {refused} refused, {unknown} of unknown outcome (of which \
             {unknown_applied} took effect), {reads} reads, {failed} calls failed"
        )
    }
}

#[cfg(test)]
mod tests;
