//! The event loop: takes the earliest event, lets one part of one validator do one thing.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use consensus::{Block, Input, Message};
use consensus::{Certificate, CheckpointCertificate, Now, Tip};
use genesis::encoding::encode;
use genesis::{Configuration, Digest, Domain, Epoch, Height, UnixMillis, ValidatorIndex};
use node::wire::Gossip;

use super::Nanos;
use super::author::{Author, Sealing};
use super::figures::{Busy, Figures, Tally};
use super::holders::{BatchId, Holders};
use super::machine::{Batch, Driver, Job, Lane, Letter, Machine, Parcel, Traffic, Work};
use super::plan::{Load, Plan, PlanError};
use super::server::Server;
use crate::founding::Founding;
use crate::simulation::chance::Chance;

/// How many signatures of its own a run does not check again. (What the check costs a validator is counted all the same.)
const KNOWN: usize = 200_000;
/// How often a validator looks after what time brings, as the node does.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// The wall clock of all validators at the beginning, in milliseconds after the founding.
const CLOCK: u64 = 100_000;

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame is at the receiver's downlink.
    Arrive { from: ValidatorIndex, letter: Rc<Letter>, bytes: u64 },
    /// So is a batch.
    Parcel(Parcel),
    /// The driver begins a turn.
    Turn,
    /// It has computed.
    Computed,
    /// What it wrote is durable.
    Synced,
    /// Something that is not urgent may be through the uplink.
    Uplink,
    /// Or through the downlink.
    Downlink,
    /// A core may be done with something.
    Core(usize),
    /// A batch may be due.
    Seal,
    /// The intake's run is durable.
    Kept,
    /// Time has passed.
    Housekeeping,
    /// What is measured begins.
    Begin,
}

/// An event's place in the order of events.
struct Planned {
    at: Nanos,
    sequence: u64,
    machine: ValidatorIndex,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// A network while it runs.
pub struct Network {
    pub(super) plan: Plan,
    pub(super) founding: Founding,
    pub(super) machines: Vec<Machine>,
    pub(super) batches: Vec<Batch>,
    pub(super) names: BTreeMap<Digest, BatchId>,
    /// The configuration's hash, which checkpoints name.
    pub(super) configuration: Digest,
    /// Final blocks, in order of height, with their own certificates.
    pub(super) chain: Vec<(Block, Option<Certificate>)>,
    pub(super) checkpoints: BTreeMap<Height, CheckpointCertificate>,
    pub(super) chance: Chance,
    pub(super) now: Nanos,
    pub(super) tally: Tally,
    /// Of each validator to each before it.
    delays: Vec<Vec<Nanos>>,
    queue: BinaryHeap<Reverse<Planned>>,
    sequence: u64,
}

impl Network {
    /// Runs `plan` to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    ///
    /// # Panics
    /// When a replica halts or accuses another: all are honest.
    pub fn run(plan: Plan) -> Result<Figures, PlanError> {
        plan.check()?;
        let mut network = Self::new(plan);
        let end = network.plan.end();
        while let Some(Reverse(next)) = network.queue.pop() {
            if next.at > end {
                break;
            }
            network.now = next.at;
            network.tally.events += 1;
            network.happen(next.machine, next.event);
        }
        network.now = end;
        Ok(network.figures())
    }

    fn new(plan: Plan) -> Self {
        genesis::key::known::remember(KNOWN);
        let founding = Founding::new(plan.validators, plan.parameters());
        let mut chance = Chance::new(plan.seed);
        let indices = || (0..plan.validators).map(ValidatorIndex);
        let pair = |chance: &mut Chance| chance.duration(plan.delay).into();
        let delays = (0..usize::from(plan.validators))
            .map(|later| std::iter::repeat_with(|| pair(&mut chance)).take(later).collect());
        let delays = delays.collect();
        let parameters = plan.parameters();
        let mut sealing = Sealing::of_node(
            plan.transaction_bytes,
            parameters.max_batch_bytes,
            parameters.max_batch_transactions,
        );
        if let Some(age) = plan.batch_age {
            (sealing.age, sealing.always_waits) = (age.into(), true);
        }
        let machines = indices().map(|index| {
            let rate = match plan.load {
                Load::All => plan.rate / f64::from(plan.validators),
                Load::One if index.0 == 0 => plan.rate,
                Load::One => 0.0,
            };
            let start = Nanos::of_seconds(chance.below(1_000_000) as f64 / 1e6 / rate.max(1.0));
            machine(&plan, &founding, index, Author::new(rate, start, sealing))
        });
        let machines = machines.collect();
        let configuration = Configuration::of(&founding.genesis).digest();
        let mut network = Self {
            founding,
            machines,
            batches: Vec::new(),
            names: BTreeMap::new(),
            configuration,
            chain: Vec::new(),
            checkpoints: BTreeMap::new(),
            chance,
            now: Nanos::ZERO,
            tally: Tally::default(),
            delays,
            queue: BinaryHeap::new(),
            sequence: 0,
            plan,
        };
        for index in (0..network.plan.validators).map(ValidatorIndex) {
            let first = Nanos(network.chance.below(Nanos::from(HOUSEKEEPING).0));
            network.schedule(first, index, Event::Housekeeping);
            network.plan_seal(index);
            network.plan_turn(index);
        }
        let begin = network.plan.warm_up.into();
        network.schedule(begin, ValidatorIndex(0), Event::Begin);
        network
    }

    pub(super) fn machine(&mut self, index: ValidatorIndex) -> &mut Machine {
        &mut self.machines[usize::from(index.0)]
    }

    pub(super) fn batch(&self, batch: BatchId) -> &Batch {
        &self.batches[batch.0 as usize]
    }

    pub(super) fn schedule(&mut self, at: Nanos, machine: ValidatorIndex, event: Event) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.queue.push(Reverse(Planned { at: at.max(self.now), sequence, machine, event }));
    }

    /// What a replica is told of the time.
    pub(super) fn clock(&self) -> Now {
        clock(&self.founding, self.now)
    }

    /// Whether what happens now is measured.
    pub(super) fn is_measured(&self) -> bool {
        self.now >= self.plan.warm_up.into()
    }

    fn happen(&mut self, index: ValidatorIndex, event: Event) {
        match event {
            Event::Arrive { from, letter, bytes } => {
                let (now, work) = (self.now, self.plan.on_link(bytes));
                let machine = self.machine(index);
                let here = machine.downlink.urgent(now, work);
                machine.inbox.push_back((here, from, letter, bytes));
                self.plan_turn(index);
            }
            Event::Parcel(parcel) => {
                let (now, work) = (self.now, self.plan.on_link(self.batch(parcel.batch).bytes));
                self.machine(index).downlink.ordinary(now, work, parcel);
                self.plan_downlink(index);
            }
            Event::Turn => self.turn(index),
            Event::Computed => self.computed(index),
            Event::Synced => self.synced(index),
            Event::Uplink => {
                let now = self.now;
                if let Some(parcel) = self.machine(index).uplink.done(now) {
                    let delay = self.delay(index, parcel.other);
                    let bytes = self.batch(parcel.batch).bytes;
                    self.count(index, Traffic::Batch, bytes);
                    let arrives = Parcel { other: index, ..parcel };
                    self.schedule(now + delay, parcel.other, Event::Parcel(arrives));
                }
                self.plan_uplink(index);
            }
            Event::Downlink => {
                let now = self.now;
                if let Some(parcel) = self.machine(index).downlink.done(now) {
                    self.arrived(index, parcel);
                }
                self.plan_downlink(index);
            }
            Event::Core(core) => {
                let now = self.now;
                match self.machine(index).cores[core].done(now) {
                    Some(Job::Seal(run)) => self.sealed(index, run),
                    Some(Job::Check) => self.checked(index),
                    Some(Job::Execute) => self.executed(index),
                    None => {}
                }
                self.plan_core(index, core);
            }
            Event::Seal => self.seal(index),
            Event::Kept => self.kept(index),
            Event::Housekeeping => {
                self.look_after(index);
                self.schedule(self.now + HOUSEKEEPING.into(), index, Event::Housekeeping);
            }
            Event::Begin => self.begin(),
        }
    }

    fn delay(&self, from: ValidatorIndex, to: ValidatorIndex) -> Nanos {
        self.delays[usize::from(from.0.max(to.0))][usize::from(from.0.min(to.0))]
    }

    fn plan_uplink(&mut self, index: ValidatorIndex) {
        if let Some(at) = self.machine(index).uplink.plan() {
            self.schedule(at, index, Event::Uplink);
        }
    }

    fn plan_downlink(&mut self, index: ValidatorIndex) {
        if let Some(at) = self.machine(index).downlink.plan() {
            self.schedule(at, index, Event::Downlink);
        }
    }

    fn plan_core(&mut self, index: ValidatorIndex, core: usize) {
        if let Some(at) = self.machine(index).cores[core].plan() {
            self.schedule(at, index, Event::Core(core));
        }
    }

    /// Gives a core something to do that takes `work`.
    pub(super) fn compute(&mut self, index: ValidatorIndex, lane: Lane, work: Nanos, job: Job) {
        let now = self.now;
        let machine = self.machine(index);
        let core = machine.core_of(lane);
        machine.cores[core].ordinary(now, work, job);
        self.plan_core(index, core);
    }

    /// All validators but `index`, from the `turn`th after it on.
    pub(super) fn others(&self, index: ValidatorIndex, turn: u64) -> Vec<ValidatorIndex> {
        let n = self.plan.validators;
        let turn = (turn % u64::from(n - 1)) as u16;
        let place = |step: u16| ValidatorIndex((index.0 + 1 + (turn + step) % (n - 1)) % n);
        (0..n - 1).map(place).collect()
    }

    /// Sends a frame to each of `to`, a copy after the other. Its sender's driver pays for it.
    pub(super) fn send(&mut self, from: ValidatorIndex, to: &[ValidatorIndex], letter: Letter) {
        let bytes = self.length(&letter);
        let traffic = letter.traffic();
        let letter = Rc::new(letter);
        let (work, cost) = (self.plan.on_link(bytes), self.plan.costs.frame(bytes));
        for receiver in to {
            let now = self.now;
            let through = self.machine(from).uplink.urgent(now, work);
            let arrives = through + self.delay(from, *receiver);
            let event = Event::Arrive { from, letter: Rc::clone(&letter), bytes };
            self.schedule(arrives, *receiver, event);
            self.count(from, traffic, bytes);
        }
        self.spend(from, Work::Send, cost.times(to.len() as u64));
    }

    /// Sends a batch to each of `to`, when nothing urgent is to be sent.
    pub(super) fn push(
        &mut self,
        from: ValidatorIndex,
        to: &[ValidatorIndex],
        batch: BatchId,
        is_fetched: bool,
    ) {
        let (now, work) = (self.now, self.plan.on_link(self.batch(batch).bytes));
        for receiver in to {
            let parcel = Parcel { other: *receiver, batch, is_fetched };
            self.machine(from).uplink.ordinary(now, work, parcel);
        }
        self.plan_uplink(from);
    }

    /// The driver of `index` computes for so long.
    pub(super) fn spend(&mut self, index: ValidatorIndex, work: Work, cost: Nanos) {
        let is_measured = self.is_measured();
        let machine = self.machine(index);
        machine.driver.cost += cost;
        if is_measured {
            machine.spent.add(work, cost);
        }
    }

    fn count(&mut self, from: ValidatorIndex, traffic: Traffic, bytes: u64) {
        if self.is_measured() {
            let bytes = bytes + self.plan.frame_overhead_bytes;
            self.machine(from).sent.add(traffic, bytes);
        }
    }

    /// The bytes of a frame, in its real encoding.
    fn length(&self, letter: &Letter) -> u64 {
        let digests = |ids: &[BatchId]| ids.iter().map(|id| self.batch(*id).digest).collect::<Vec<_>>();
        let bytes = match letter {
            Letter::Consensus(message) => {
                encode(&Gossip::Consensus(Epoch::ZERO, Message::clone(&**message))).len()
            }
            Letter::Held(ids) => encode(&Gossip::Held(digests(ids))).len(),
            Letter::Want(ids) => encode(&node::wire::Ask::Batches(digests(ids))).len(),
            Letter::WantBlocks(_) => 4 + 2 * 8,
            Letter::Blocks(candidates, finality, cited) => {
                encode(candidates).len()
                    + encode(&**finality).len()
                    + cited.as_ref().map_or(1, |it| encode(&**it).len())
            }
        };
        bytes as u64
    }

    fn begin(&mut self) {
        self.tally.at_begin = self.machines.iter().map(Busy::of).collect();
    }
}

fn clock(founding: &Founding, now: Nanos) -> Now {
    let clock = UnixMillis(founding.genesis.time().0 + CLOCK + now.0 / 1_000_000);
    Now { elapsed: now.into(), clock }
}

/// A validator at the beginning: its replica has heard from a quorum that it signed nothing before.
fn machine(plan: &Plan, founding: &Founding, index: ValidatorIndex, author: Author) -> Machine {
    let now = clock(founding, Nanos::ZERO);
    let (mut replica, asks) = founding.replica(index, now, Tip::genesis(&founding.genesis), Vec::new());
    let mut output = consensus::Output::default();
    drop(asks); // It is answered below.
    for from in founding.answerers(index) {
        output.merge(replica.step(now, Input::Received { from, message: founding.no_vote() }));
    }
    let quorum = founding.context.validators.quorum();
    Machine {
        index,
        replica,
        holders: Holders::new(index, quorum),
        author,
        is_sealing: false,
        seal_at: None,
        own: Default::default(),
        open_from: BatchId(0),
        uplink: Server::default(),
        downlink: Server::default(),
        cores: std::iter::repeat_with(Server::default).take(plan.cores).collect(),
        inbox: Default::default(),
        news: Default::default(),
        driver: Driver { output, ..Driver::default() },
        arrived: Default::default(),
        coming: Default::default(),
        run: Default::default(),
        checked: Vec::new(),
        finals: Default::default(),
        is_executing: false,
        sent: Default::default(),
        spent: Default::default(),
    }
}

/// How blocks name the batch with this number.
pub(super) fn digest_of(batch: BatchId) -> Digest {
    Digest::of(Domain::Batch, &batch.0.to_le_bytes())
}

#[cfg(test)]
mod tests;
