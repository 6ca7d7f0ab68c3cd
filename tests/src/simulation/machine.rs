//! One validator's process, and the disk that outlives it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use consensus::message::VoteKind;
use consensus::{Action, Block, Candidate, Certificate, Now, Output, Record, Replica, Tip};
use genesis::{Digest, Height, UnixMillis, ValidatorIndex, View};

use super::adversary::Adversary;
use super::chance::Chance;

/// The most blocks in one answer about what is final, unless the next certificate is further away.
const BLOCKS_AN_ANSWER: usize = 16;

/// A machine's idea of time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the wall clock shows at the start of the simulation.
    pub origin: UnixMillis,
    /// By how many millionths it runs fast, or slow.
    pub drift: i64,
    /// By how many milliseconds somebody has set the wall clock forward, or back. What has elapsed does not follow it.
    pub stepped: i64,
    /// When the process was started.
    pub booted: Duration,
}

impl Clock {
    fn drifted(&self, time: Duration) -> Duration {
        let micros = i128::try_from(time.as_micros()).unwrap_or(i128::MAX);
        let micros = micros + micros * i128::from(self.drift) / 1_000_000;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// What a step at `time` is told.
    pub fn read(&self, time: Duration) -> Now {
        let clock = self.origin.plus(self.drifted(time).as_millis() as u64);
        let clock = UnixMillis(clock.0.saturating_add_signed(self.stepped));
        Now { elapsed: self.drifted(time.saturating_sub(self.booted)), clock }
    }

    /// The first simulated moment at which this machine's `elapsed` has been reached.
    pub fn moment(&self, elapsed: Duration) -> Duration {
        let rate = i128::from(1_000_000 + self.drift);
        let micros = elapsed.as_micros() as i128 * 1_000_000 / rate;
        let mut moment = self.booted + Duration::from_micros(micros as u64);
        while self.read(moment).elapsed < elapsed {
            moment += Duration::from_micros(1);
        }
        moment
    }
}

/// What a replica signed, as far as it can contradict itself.
pub type Signed = (VoteKind, View, Digest);

/// The file of records. What was not synced is lost in a crash, from any record on.
///
/// An entry of the node's journal is what one sync makes durable, and is read as a whole or not at all, by its
/// checksum. Here it may also be torn between two of its records: that is harsher, and includes the other.
#[derive(Debug, Default)]
pub struct Journal {
    /// What is on disk.
    pub durable: Vec<Record>,
    /// Every vote that ever was: rewriting the file does not unsay it.
    pub durable_votes: BTreeSet<Signed>,
    /// Every own or prepared proposal that ever was.
    pub durable_proposals: BTreeSet<Digest>,
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

    /// Loses everything.
    pub fn wipe(&mut self) {
        self.durable.clear();
    }

    fn keep(&mut self, records: Vec<Record>) {
        for record in &records {
            match record {
                Record::Vote(vote) => {
                    self.durable_votes.insert((vote.kind, vote.view, vote.digest));
                }
                Record::PrePrepare(proposal) => {
                    self.durable_proposals.insert(proposal.candidate.digest());
                }
                Record::Certificate(_) => {}
            }
        }
        self.durable.extend(records);
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

/// The executed blocks: durable.
#[derive(Debug)]
pub struct Store {
    /// In order of height, from 1.
    pub blocks: Vec<(Block, Option<Certificate>)>,
    /// All that they name.
    pub ordered: BTreeSet<Digest>,
    genesis: Tip,
}

impl Store {
    /// A store with nothing but genesis.
    pub fn new(genesis: Tip) -> Self {
        Self { blocks: Vec::new(), ordered: BTreeSet::new(), genesis }
    }

    /// The newest block, with its certificate if it has one of its own.
    pub fn tip(&self) -> (Tip, Option<Certificate>) {
        self.blocks
            .last()
            .map_or((self.genesis, None), |(block, certificate)| (Tip::of(block), certificate.clone()))
    }

    /// Adds the next block.
    pub fn push(&mut self, block: Block, certificate: Option<Certificate>) {
        self.ordered.extend(&block.payload);
        self.blocks.push((block, certificate));
    }

    /// Blocks after `after`, the last with its certificate: a bounded number, or up to the next certificate.
    pub fn after(&self, after: Height) -> Option<(Vec<Candidate>, Certificate)> {
        let later = self.blocks.get(after.0 as usize..)?;
        let certified = |(_, certificate): &(Block, Option<Certificate>)| certificate.is_some();
        let within = later.iter().take(BLOCKS_AN_ANSWER).rposition(certified);
        let last = within.or_else(|| later.iter().position(certified))?;
        let certificate = later[last].1.clone()?;
        let candidates = later[..=last].iter().map(|(block, _)| block.candidate().clone()).collect();
        Some((candidates, certificate))
    }
}

/// One process with its disk.
#[derive(Debug)]
pub struct Machine {
    /// Which validator's key it has.
    pub index: ValidatorIndex,
    /// Whether it may break the rules: a twin, one that forgets, or one with an adversary.
    pub byzantine: bool,
    /// What stands between its replica and the links, if it is Byzantine by more than having a twin.
    pub adversary: Option<Adversary>,
    /// Until when its disk is slow.
    pub slow_until: Duration,
    /// Whether its disk fails at the next sync.
    pub sync_fails: bool,
    /// Whether a crash takes its disk along.
    pub forgetful: bool,
    /// `None` while it is down.
    pub replica: Option<Replica>,
    /// Which run of the process this is: what an earlier one had under way is void.
    pub life: u64,
    /// Its time.
    pub clock: Clock,
    /// When it wants to be called again.
    pub wake: Option<Duration>,
    /// Its votes.
    pub journal: Journal,
    /// Its chain.
    pub store: Store,
    /// Payload that is here, valid and durable.
    pub items: BTreeSet<Digest>,
    /// Blocks that are final and not executed.
    pub to_execute: VecDeque<(Block, Option<Certificate>)>,
    /// The block that is to be judged.
    pub judging: Option<Block>,
    /// The newest height that this process has finalised.
    pub final_height: Height,
}

impl Machine {
    /// Whether the block of an item was already finalised here.
    pub fn has_ordered(&self, item: &Digest) -> bool {
        self.store.ordered.contains(item)
            || self.to_execute.iter().any(|(block, _)| block.payload.contains(item))
    }

    /// The process dies.
    pub fn crash(&mut self, chance: &mut Chance) {
        self.replica = None;
        self.life += 1;
        self.wake = None;
        self.sync_fails = false;
        self.judging = None;
        self.to_execute.clear();
        self.journal.crash(chance);
        if self.forgetful {
            self.journal.wipe();
        }
    }

    /// Rewrites the journal from the replica's state. Only when all that it finalised is executed: what is final
    /// and not yet in the store stands in the journal alone.
    pub fn rewrite_journal(&mut self) {
        let Some(replica) = &self.replica else { return };
        if self.journal.is_settled() && replica.status().tip.height == self.store.tip().0.height {
            self.journal.durable = replica.records();
        }
    }
}
