//! The event loop: takes the earliest event, lets one machine make one step, checks the witness.

mod control;
mod hostile;
mod items;
mod perform;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use consensus::message::VoteKind;
use consensus::{Candidate, Certificate, Config, Context, Input, Message, Replica, Tip, Verified};
use genesis::{
    Digest, Domain, Epoch, Genesis, Height, SecretKey, UnixMillis, Validator, ValidatorIndex, View,
};

use super::Failure;
use super::adversary::{Adversary, Deeds};
use super::chance::Chance;
use super::fault::{Fault, Faults};
use super::machine::{Clock, Journal, Machine, Store};
use super::plan::Plan;
use super::witness::Witness;

/// One machine of the simulation. Twins are two machines of one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "machine {}", self.0)
    }
}

/// What is under way between two machines.
#[derive(Clone, Debug)]
pub enum Letter {
    /// A message whose signatures were checked once for all receivers.
    Checked(Rc<Verified<Message>>),
    /// The bytes of a message.
    Bytes(Rc<[u8]>),
    /// The bytes of a message that must be refused.
    Forgery(Rc<[u8]>),
    /// "Send me final blocks after this height."
    WantBlocks(Height),
    /// Final blocks, the last with its certificate.
    Blocks(Rc<(Vec<Candidate>, Certificate)>),
}

/// Something that happens to one run of one machine's process.
#[derive(Debug)]
enum Event {
    Deliver {
        from: HostId,
        letter: Letter,
    },
    Wake,
    Synced,
    Executed,
    Judge,
    Arrive(Digest),
    /// An item is handed over, and said to be available.
    Handed(Digest),
    Connected(HostId),
}

/// When a message was sent, by whom, and how it is called.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When.
    pub at: Duration,
    /// By whom.
    pub by: HostId,
    /// Its kind.
    pub what: &'static str,
}

/// What a sync takes on a slow disk.
const SLOW_SYNC: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

type Filter = Box<dyn FnMut(HostId, HostId, &Message) -> bool>;

/// A simulated network.
pub struct World {
    /// What was fixed before the run.
    pub plan: Plan,
    /// The network's founding document.
    pub genesis: Genesis,
    /// What signatures are bound to.
    pub context: Context,
    /// All machines, by `HostId`.
    pub machines: Vec<Machine>,
    /// What was seen so far.
    pub witness: Witness,
    /// The items that were announced, and when.
    pub announced: BTreeMap<Digest, Duration>,
    /// Whether messages are lost, late or doubled as the plan says.
    pub faulty_links: bool,
    /// Machines whose disk failed, and that nobody has started again.
    pub stopped: Vec<HostId>,
    /// Every message sent while this is set.
    pub log: Option<Vec<Sent>>,
    pub(crate) chance: Chance,
    seed: u64,
    again: String,
    now: Duration,
    step: u64,
    sequence: u64,
    trace: u64,
    queue: BTreeMap<(Duration, u64), (HostId, u64, Event)>,
    cut: BTreeSet<(HostId, HostId)>,
    filter: Option<Filter>,
    /// By the hash of their bytes, what messages came to when they were checked: `None` where they were refused.
    checked: BTreeMap<Digest, Option<Rc<Verified<Message>>>>,
    /// Items whose contents are garbage.
    pub garbage: BTreeSet<Digest>,
    /// What the Byzantine did.
    pub deeds: Deeds,
    /// What went wrong by itself.
    pub faults: Faults,
    /// How many messages were refused.
    pub refused: u64,
    /// Which half of a pair of twins was the first to say something in a view.
    halves: BTreeMap<(ValidatorIndex, View, VoteKind), HostId>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World at {:?}, step {}, seed {}", self.now, self.step, self.seed)
    }
}

/// The consensus key of the validator at `index` in every simulated network.
pub fn secret(index: ValidatorIndex) -> SecretKey {
    key(1, usize::from(index.0))
}

fn key(role: u8, index: usize) -> SecretKey {
    let mut seed = [role; 32];
    seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
    SecretKey::from_seed(seed)
}

fn found(plan: &Plan) -> Genesis {
    let validators = (0..plan.validators).map(|index| Validator {
        name: format!("node{index}"),
        consensus_key: key(1, index).public(),
        network_key: key(2, index).public(),
        governance_key: key(3, index).public(),
        address: format!("127.0.0.1:{}", 1_000 + index),
    });
    let time = UnixMillis(1_700_000_000_000);
    match Genesis::new("sim".to_owned(), time, plan.parameters.clone(), validators.collect()) {
        Ok(genesis) => genesis,
        Err(error) => unreachable!("a plan's network is a valid one: {error}"),
    }
}

impl World {
    /// A network whose machines are all up and connected. `again` is the command that runs it again.
    ///
    /// # Errors
    /// When the first steps break a rule already.
    pub fn new(seed: u64, plan: Plan, again: String) -> Result<Self, Failure> {
        let genesis = found(&plan);
        let context =
            Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators: genesis.validators().clone() };
        let tip = Tip::genesis(&genesis);
        let longest = 400 + 32 * plan.parameters.max_block_batches as usize + 128 * plan.validators;
        let mut world = Self {
            witness: Witness::new(tip, genesis.validators(), longest),
            machines: Vec::new(),
            announced: BTreeMap::new(),
            faulty_links: true,
            stopped: Vec::new(),
            log: None,
            chance: Chance::new(seed),
            seed,
            again,
            now: Duration::ZERO,
            step: 0,
            sequence: 0,
            trace: 0,
            queue: BTreeMap::new(),
            cut: BTreeSet::new(),
            filter: None,
            checked: BTreeMap::new(),
            garbage: BTreeSet::new(),
            deeds: Deeds::default(),
            faults: Faults::default(),
            refused: 0,
            halves: BTreeMap::new(),
            genesis,
            context,
            plan,
        };
        world.build_machines();
        for host in world.hosts() {
            world.boot(host)?;
        }
        Ok(world)
    }

    fn build_machines(&mut self) {
        let (n, plan) = (self.plan.validators, self.plan.clone());
        let tip = Tip::genesis(&self.genesis);
        for place in 0..n + plan.twins {
            let index = place % n;
            let weak = plan.twins + plan.forgetful;
            let kinds = index.checked_sub(weak).and_then(|place| plan.adversaries.get(place));
            let byzantine = index < weak || kinds.is_some();
            let me = ValidatorIndex(index as u16);
            let adversary = kinds.map(|kinds| {
                // A stream of its own, so that what it does changes no other draw.
                let chance = Chance::new(self.seed.rotate_left(32) ^ (place as u64 + 1));
                let delta = Duration::from_millis(plan.parameters.delta_ms);
                Adversary::new(kinds.clone(), (me, secret(me)), self.context.clone(), delta, chance)
            });
            let mad = (index >= n - plan.mad_clocks) && plan.mad_clocks > 0;
            let error = if mad { 60_000 } else { plan.clock_error.as_millis() as u64 };
            let origin = UnixMillis(tip.time.0 + 100_000 - error + self.chance.below(2 * error + 1));
            let drift = if plan.clock_error.is_zero() { 0 } else { self.chance.below(2_001) as i64 - 1_000 };
            self.machines.push(Machine {
                index: me,
                byzantine,
                forgetful: (plan.twins..weak).contains(&index),
                adversary,
                slow_until: Duration::ZERO,
                sync_fails: false,
                replica: None,
                life: 0,
                clock: Clock { origin, drift, stepped: 0, booted: Duration::ZERO },
                wake: None,
                journal: Journal::default(),
                store: Store::new(tip),
                items: BTreeSet::new(),
                to_execute: std::collections::VecDeque::new(),
                judging: None,
                final_height: Height::ZERO,
            });
        }
    }

    /// Starts a process from its machine's disk.
    fn boot(&mut self, host: HostId) -> Result<(), Failure> {
        let machine = &mut self.machines[host.0];
        machine.clock.booted = self.now;
        let config = Config {
            context: self.context.clone(),
            me: machine.index,
            secret: secret(machine.index),
            parameters: self.plan.parameters.clone(),
        };
        let now = machine.clock.read(self.now);
        let (tip, certificate) = machine.store.tip();
        machine.final_height = tip.height;
        let records = machine.journal.durable.clone();
        let recovered =
            catch_unwind(AssertUnwindSafe(|| Replica::recover(config, now, tip, certificate, records)));
        let recovered =
            recovered.map_err(|panic| self.failure(format!("{host} panics at start: {}", said(&*panic))))?;
        let (replica, output) =
            recovered.map_err(|error| self.failure(format!("{host} cannot start: {error}")))?;
        self.machines[host.0].replica = Some(replica);
        self.take(host, output)?;
        let waiting = self.waiting_at(host);
        if !waiting.is_empty() {
            self.feed(host, Input::Available(waiting.into_iter().map(Into::into).collect()))?;
        }
        for item in self.announced.keys().copied().collect::<Vec<_>>() {
            if !self.machines[host.0].items.contains(&item) {
                let delay = self.chance.duration((Duration::ZERO, Duration::from_secs(2)));
                self.schedule(delay, host, Event::Arrive(item));
            }
        }
        for other in self.hosts() {
            self.connect(host, other);
        }
        Ok(())
    }

    fn waiting_at(&self, host: HostId) -> Vec<Digest> {
        let machine = &self.machines[host.0];
        let waits = |item: &&Digest| machine.items.contains(item) && !machine.has_ordered(item);
        self.announced.keys().filter(waits).copied().collect()
    }

    /// All machines.
    pub fn hosts(&self) -> Vec<HostId> {
        (0..self.machines.len()).map(HostId).collect()
    }

    /// The simulated time.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many events have happened.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// A hash of all that has happened so far.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// A failure here and now.
    pub fn failure(&self, what: String) -> Failure {
        Failure { what, step: self.step, at: self.now, seed: self.seed, again: self.again.clone() }
    }

    fn note(&mut self, bytes: &[u8]) {
        // FNV-1a: any change anywhere in a run changes what follows.
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn schedule(&mut self, delay: Duration, host: HostId, event: Event) {
        self.schedule_at(self.now + delay, host, event);
    }

    fn schedule_at(&mut self, at: Duration, host: HostId, event: Event) {
        self.sequence += 1;
        // A letter reaches whatever process runs when it arrives; all else concerns one run of it.
        let life = self.machines[host.0].life;
        self.queue.insert((at.max(self.now), self.sequence), (host, life, event));
    }

    /// Handles the next event, unless it lies after `until`. Returns whether there was one.
    ///
    /// # Errors
    /// When a rule is broken.
    pub fn turn(&mut self, until: Duration) -> Result<bool, Failure> {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        if next.is_none_or(|at| at > until) {
            self.now = self.now.max(until);
            return Ok(false);
        }
        let Some(((at, _), (host, life, event))) = self.queue.pop_first() else { return Ok(false) };
        self.now = at;
        self.step += 1;
        let machine = &self.machines[host.0];
        let is_letter = matches!(event, Event::Deliver { .. });
        if machine.replica.is_some() && (is_letter || machine.life == life) {
            self.note(&(at.as_micros() as u64).to_le_bytes());
            self.note(&[host.0 as u8]);
            self.happen(host, event)?;
        }
        Ok(true)
    }

    fn happen(&mut self, host: HostId, event: Event) -> Result<(), Failure> {
        match event {
            Event::Deliver { from, letter } => self.deliver(host, from, letter),
            Event::Wake => {
                if self.machines[host.0].wake == Some(self.now) {
                    self.machines[host.0].wake = None;
                    self.feed(host, Input::Tick)?;
                }
                Ok(())
            }
            Event::Synced if self.machines[host.0].sync_fails => {
                // The node stops; somebody starts it again.
                self.faults.count(Fault::FailedSync);
                self.crash(host);
                self.stopped.push(host);
                Ok(())
            }
            Event::Synced => {
                let actions = self.machines[host.0].journal.synced();
                self.perform(host, actions)?;
                self.write(host)
            }
            Event::Executed => {
                let machine = &mut self.machines[host.0];
                if let Some((block, certificate)) = machine.to_execute.pop_front() {
                    machine.store.push(block, certificate);
                }
                if !machine.to_execute.is_empty() {
                    self.execute_next(host);
                } else if self.plan.rewrite_journals && self.chance.percent(20) {
                    self.machines[host.0].rewrite_journal();
                }
                Ok(())
            }
            Event::Judge => self.judge(host),
            Event::Arrive(item) => self.arrive(host, item),
            Event::Handed(item) => {
                self.machines[host.0].items.insert(item);
                if self.machines[host.0].has_ordered(&item) {
                    return Ok(());
                }
                self.feed(host, Input::Available(vec![item.into()]))
            }
            Event::Connected(other) => {
                let index = self.machines[other.0].index;
                self.feed(host, Input::Connected(index))
            }
        }
    }

    fn deliver(&mut self, host: HostId, from: HostId, letter: Letter) -> Result<(), Failure> {
        if self.cut.contains(&(from, host)) {
            return Ok(());
        }
        let sender = self.machines[from.0].index;
        match letter {
            Letter::Checked(message) => {
                self.heard(host, &message)?;
                self.feed(host, Input::Received { from: sender, message: (*message).clone() })
            }
            Letter::Bytes(bytes) => {
                let message = Message::decode(&bytes).and_then(|message| message.verify(&self.context));
                let message = match message {
                    Ok(message) => message,
                    Err(error) => return self.refuse(from, &error),
                };
                self.heard(host, &message)?;
                self.feed(host, Input::Received { from: sender, message })
            }
            Letter::Forgery(bytes) => {
                match Message::decode(&bytes).and_then(|message| message.verify(&self.context)) {
                    Ok(message) => Err(self.failure(format!("{host} takes a forgery for good: {message:?}"))),
                    Err(error) => self.refuse(from, &error),
                }
            }
            Letter::WantBlocks(after) => {
                if let Some(answer) = self.serve(host, after) {
                    self.post(host, from, Letter::Blocks(Rc::new(answer)));
                }
                Ok(())
            }
            Letter::Blocks(answer) => {
                let (candidates, certificate) = (*answer).clone();
                let commit = certificate.verify(&self.context);
                match commit {
                    Ok(commit) => self.feed(host, Input::Synced { candidates, commit }),
                    Err(error) => self.refuse(from, &error),
                }
            }
        }
    }

    /// A replica takes a step.
    fn feed(&mut self, host: HostId, input: Input) -> Result<(), Failure> {
        let machine = &mut self.machines[host.0];
        let now = machine.clock.read(self.now);
        if !machine.byzantine {
            self.witness.allowed(now.clock.plus(self.plan.parameters.clock_bound_ms));
        }
        let Some(replica) = &mut machine.replica else { return Ok(()) };
        let stepped = catch_unwind(AssertUnwindSafe(|| replica.step(now, input)));
        let output = stepped.map_err(|panic| self.failure(format!("{host} panics: {}", said(&*panic))))?;
        self.take(host, output)
    }

    fn take(&mut self, host: HostId, output: consensus::Output) -> Result<(), Failure> {
        self.machines[host.0].journal.put(output);
        self.write(host)?;
        let cap = Duration::from_millis(self.plan.parameters.delta_cap_ms);
        self.witness.stepped(host, &self.machines[host.0], cap).map_err(|what| self.failure(what))?;
        let machine = &self.machines[host.0];
        let now = machine.clock.read(self.now);
        let due = machine.replica.as_ref().and_then(|replica| replica.deadline(now));
        let wake = due.map(|elapsed| machine.clock.moment(elapsed));
        if wake != machine.wake {
            self.machines[host.0].wake = wake;
            if let Some(at) = wake {
                self.schedule_at(at, host, Event::Wake);
            }
        }
        Ok(())
    }

    /// Performs what needs no sync, and starts the sync of what does.
    fn write(&mut self, host: HostId) -> Result<(), Failure> {
        let (actions, busy) = self.machines[host.0].journal.start();
        if busy {
            let slow = self.machines[host.0].slow_until > self.now;
            let range = if slow { SLOW_SYNC } else { self.plan.sync };
            let delay = self.chance.duration(range);
            self.schedule(delay, host, Event::Synced);
        }
        self.perform(host, actions)
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The name of an item.
pub fn item(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}
