//! The voting record of one machine. What was not synced is lost in a crash, from any record on.
//!
//! An entry of the node's journal is what one sync makes durable, and is read as a whole or not at all, by its
//! checksum. Here it may also be torn between two of its records: that is harsher, and includes the other.

use std::collections::BTreeSet;

use consensus::message::VoteKind;
use consensus::{Action, Output, Record};
use genesis::{Digest, Epoch, Height, View};

use super::chance::Chance;
use super::store::Position;

/// What a replica signed, as far as it can contradict itself.
pub type Signed = (VoteKind, Epoch, View, Digest);

/// One file of records.
#[derive(Clone, Debug)]
struct Segment {
    /// The newest final block when the file was begun: the earlier ones are needed until it is executed.
    tip: Height,
    records: Vec<Record>,
}

/// The files of records, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    segments: Vec<Segment>,
}

impl Disk {
    /// All records, in order.
    pub fn records(&self) -> Vec<Record> {
        self.segments.iter().flat_map(|segment| segment.records.iter().cloned()).collect()
    }

    /// Whether there is a journal at all.
    pub fn exists(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Whether the records go as far as the ledger: each final block left a certificate among them.
    pub fn reaches(&self, position: &Position) -> bool {
        let tip = &position.start.tip;
        let mut of = Epoch::ZERO;
        let mut goes_as_far = |record: &Record| match record {
            Record::Epoch(epoch, _) => {
                of = *epoch;
                of > position.epoch || of == position.epoch && tip.view == View::ZERO
            }
            Record::Certificate(certificate) => of == position.epoch && certificate.view >= tip.view,
            Record::Checkpoint(certificate) => certificate.checkpoint.height >= tip.height,
            _ => false,
        };
        let mut records = self.segments.iter().flat_map(|segment| &segment.records);
        tip.height == Height::ZERO || records.any(&mut goes_as_far)
    }
}

/// The journal of one machine.
#[derive(Debug, Default)]
pub struct Journal {
    /// What is on disk.
    pub disk: Disk,
    /// Every vote that ever was: rewriting the file does not unsay it.
    pub durable_votes: BTreeSet<Signed>,
    /// Every own or prepared proposal that ever was.
    pub durable_proposals: BTreeSet<Digest>,
    /// The epoch of what is written next.
    epoch: Epoch,
    writing: Option<(Vec<Record>, Vec<Action>)>,
    next: Output,
}

impl Journal {
    /// Takes a step's output. What it asks for is released by [`Journal::synced`], never before.
    pub fn put(&mut self, output: Output) {
        self.next.merge(output);
    }

    /// Starts writing what waits, unless the disk is busy. Returns what needed no writing, and whether the disk
    /// is now busy with something new.
    pub fn start(&mut self) -> (Vec<Action>, bool) {
        if self.writing.is_some() || self.next.is_empty() {
            return (Vec::new(), false);
        }
        let (records, actions) = taken(std::mem::take(&mut self.next));
        if records.is_empty() {
            return (actions, false);
        }
        self.writing = Some((records, actions));
        (Vec::new(), true)
    }

    /// The disk has done what it was busy with.
    pub fn synced(&mut self) -> Vec<Action> {
        let (records, actions) = self.writing.take().unwrap_or_default();
        self.keep(records);
        actions
    }

    /// Whether nothing waits for the disk.
    pub fn is_settled(&self) -> bool {
        self.writing.is_none() && self.next.is_empty()
    }

    /// Loses what was not synced; of what was written or about to be, the first few records may have made it.
    pub fn crash(&mut self, chance: &mut Chance) {
        let (mut tail, _) = self.writing.take().unwrap_or_default();
        tail.extend(taken(std::mem::take(&mut self.next)).0);
        tail.truncate(chance.below(tail.len() as u64 + 1) as usize);
        self.keep(tail);
    }

    /// Begins a new file with `state`, all that the replica needs beside what is final at `tip`.
    pub fn begin(&mut self, state: Vec<Record>, tip: Height) {
        self.note(&state);
        self.disk.segments.push(Segment { tip, records: state });
    }

    /// Whether [`Journal::forget_before`] has anything to remove.
    pub fn has_before(&self, executed: Height) -> bool {
        self.disk.segments.iter().skip(1).any(|segment| segment.tip <= executed)
    }

    /// Removes the files that nothing needs once the block at `executed` is in the ledger.
    pub fn forget_before(&mut self, executed: Height) {
        let needed = self.disk.segments.iter().rposition(|segment| segment.tip <= executed).unwrap_or(0);
        self.disk.segments.drain(..needed);
    }

    /// The epoch that the records of a restarted process belong to until one says otherwise.
    pub fn resume(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    fn keep(&mut self, records: Vec<Record>) {
        self.note(&records);
        if let Some(newest) = self.disk.segments.last_mut() {
            newest.records.extend(records);
        }
    }

    fn note(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Vote(vote) => {
                    self.durable_votes.insert((vote.kind, self.epoch, vote.view, vote.digest));
                }
                Record::PrePrepare(proposal) => {
                    self.durable_proposals.insert(proposal.candidate.digest());
                }
                Record::Epoch(epoch, _) => self.epoch = *epoch,
                Record::Certificate(_)
                | Record::Checkpoint(_)
                | Record::Floor(_)
                | Record::Wiped
                | Record::Recovered { .. } => {}
            }
        }
    }
}

fn taken(output: Output) -> (Vec<Record>, Vec<Action>) {
    let mut records = Vec::new();
    let append = |new: &[Record]| {
        records.extend_from_slice(new);
        Ok::<(), std::convert::Infallible>(())
    };
    let actions = output.persist(append).unwrap_or_else(|never| match never {});
    (records, actions)
}
