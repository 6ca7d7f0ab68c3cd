//! The event loop: takes the earliest event, lets one machine make one step, checks the witness.

mod blocks;
mod boot;
mod control;
mod epochs;
mod govern;
mod hostile;
mod items;
mod perform;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use consensus::message::VoteKind;
use consensus::{Context, Finality, Message, Verified};
use genesis::{
    Digest, Domain, Epoch, Genesis, Height, SecretKey, UnixMillis, Validator, ValidatorIndex, View,
};

use super::Failure;
use super::adversary::{Adversary, Deeds};
use super::chance::Chance;
use super::contents::Contents;
use super::fault::Faults;
use super::journal::Journal;
use super::machine::{Backup, Clock, Machine};
use super::plan::Plan;
use super::store::{Range, Store};
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
enum Letter {
    /// A message, and the epoch whose validators it concerns.
    Consensus(Epoch, Body),
    /// "Send me final blocks after this height."
    WantBlocks(Height),
    /// Final blocks after this height, as a peer has them.
    Blocks(Height, Rc<Range>),
}

/// How a message is carried.
#[derive(Clone, Debug)]
enum Body {
    /// Its signatures were checked once for all receivers.
    Checked(Rc<Verified<Message>>),
    /// As bytes.
    Bytes(Rc<[u8]>),
    /// As bytes that must be refused.
    Forgery(Rc<[u8]>),
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
    /// One without a vote looks for new blocks.
    Follow,
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

/// What is gone from a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The voting record.
    Journal,
    /// The voting record and the ledger.
    Disk,
    /// The ledger, as after its deletion by hand.
    Ledger,
    /// What came after the newest backup, as if there had never been anything else.
    SinceBackup,
}

type Filter = Box<dyn FnMut(HostId, HostId, &Message) -> bool>;

/// A simulated network.
pub struct World {
    /// What was fixed before the run.
    pub plan: Plan,
    /// The network's founding document.
    pub genesis: Genesis,
    /// What signatures are bound to, by epoch: one for each that began so far.
    pub contexts: Vec<Context>,
    /// What the items stand for.
    pub contents: Contents,
    /// All machines, by `HostId`.
    pub machines: Vec<Machine>,
    /// What was seen so far.
    pub witness: Witness,
    /// The items that were announced, and when.
    pub announced: BTreeMap<Digest, Duration>,
    /// Whether messages are lost, late or doubled as the plan says.
    pub faulty_links: bool,
    /// Copies of disks.
    backups: BTreeMap<HostId, Backup>,
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
    checked: BTreeMap<(Epoch, Digest), Option<Rc<Verified<Message>>>>,
    /// What proves blocks final, likewise.
    proofs: BTreeMap<(Epoch, Digest), Option<Verified<Finality>>>,
    /// Items whose contents are garbage.
    pub garbage: BTreeSet<Digest>,
    /// What the Byzantine did.
    pub deeds: Deeds,
    /// What went wrong by itself.
    pub faults: Faults,
    /// How many messages were refused.
    pub refused: u64,
    /// Which half of a pair of twins was the first to say something in a view.
    halves: BTreeMap<(Epoch, ValidatorIndex, View, VoteKind), HostId>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World at {:?}, step {}, seed {}", self.now, self.step, self.seed)
    }
}

/// The consensus key of the founder at `index` in every simulated network.
pub fn secret(index: ValidatorIndex) -> SecretKey {
    key(1, usize::from(index.0))
}

fn key(role: u8, member: usize) -> SecretKey {
    let mut seed = [role; 32];
    seed[..8].copy_from_slice(&(member as u64).to_le_bytes());
    SecretKey::from_seed(seed)
}

/// Member `member`, as a validator set lists it. Those from `Plan::validators` on are not founders.
pub fn validator(member: usize) -> Validator {
    Validator {
        name: format!("node{member}"),
        consensus_key: key(1, member).public(),
        network_key: key(2, member).public(),
        governance_key: key(3, member).public(),
        address: format!("127.0.0.1:{}", 1_000 + member),
    }
}

fn found(plan: &Plan) -> Genesis {
    let validators = (0..plan.validators).map(validator);
    let time = UnixMillis(1_700_000_000_000);
    match Genesis::new("sim".to_owned(), time, plan.parameters.clone(), validators.collect()) {
        Ok(genesis) => genesis,
        Err(error) => unreachable!("a plan's network is a valid one: {error}"),
    }
}

/// How many signatures of its own a seed does not check again.
const KNOWN: usize = 200_000;

impl World {
    /// A network whose machines are all up and connected. `again` is the command that runs it again.
    ///
    /// # Errors
    /// When the first steps break a rule already.
    pub fn new(seed: u64, plan: Plan, again: String) -> Result<Self, Failure> {
        genesis::key::known::remember(KNOWN);
        let genesis = found(&plan);
        let context =
            Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators: genesis.validators().clone() };
        let members = plan.validators + plan.observers;
        let longest = 1_000 + 32 * plan.most_block_batches() as usize + 160 * members;
        let mut world = Self {
            witness: Witness::new(&genesis, longest),
            machines: Vec::new(),
            contents: Contents::new(genesis.clone()),
            announced: BTreeMap::new(),
            faulty_links: true,
            backups: BTreeMap::new(),
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
            proofs: BTreeMap::new(),
            garbage: BTreeSet::new(),
            deeds: Deeds::default(),
            faults: Faults::default(),
            refused: 0,
            halves: BTreeMap::new(),
            genesis,
            contexts: vec![context],
            plan,
        };
        world.build_machines();
        for host in world.hosts() {
            world.boot(host)?;
        }
        Ok(world)
    }

    /// The founders, the second halves of the twins, the observers.
    fn build_machines(&mut self) {
        let (n, plan) = (self.plan.validators, self.plan.clone());
        let founders = (0..n).chain(0..plan.twins);
        for (place, member) in founders.chain(n..n + plan.observers).enumerate() {
            let weak = plan.twins + plan.forgetful;
            let kinds = member.checked_sub(weak).and_then(|place| plan.adversaries.get(place));
            let byzantine = member < weak || kinds.is_some();
            let adversary = kinds.map(|kinds| {
                // A stream of its own, so that what it does changes no other draw.
                let chance = Chance::new(self.seed.rotate_left(32) ^ (place as u64 + 1));
                let delta = Duration::from_millis(plan.parameters.delta_ms);
                let context = self.contexts[0].clone();
                Adversary::new(kinds.clone(), key(1, member), context, delta, chance)
            });
            let mad = (n - plan.mad_clocks..n).contains(&member);
            let error = if mad { 60_000 } else { plan.clock_error.as_millis() as u64 };
            let founding = self.genesis.time();
            let origin = UnixMillis(founding.0 + 100_000 - error + self.chance.below(2 * error + 1));
            let drift = if plan.clock_error.is_zero() { 0 } else { self.chance.below(2_001) as i64 - 1_000 };
            self.machines.push(Machine {
                member,
                secret: key(1, member),
                network: key(2, member).public(),
                index: None,
                epoch: Epoch::ZERO,
                byzantine,
                forgetful: (plan.twins..weak).contains(&member),
                first_start: true,
                restored: false,
                lost_votes: false,
                adversary,
                slow_until: Duration::ZERO,
                sync_fails: false,
                replica: None,
                life: 0,
                clock: Clock { origin, drift, stepped: 0, booted: Duration::ZERO },
                wake: None,
                journal: Journal::default(),
                store: Store::new(&self.genesis),
                items: BTreeSet::new(),
                to_execute: std::collections::VecDeque::new(),
                judging: None,
                final_height: Height::ZERO,
                about_epochs: BTreeMap::new(),
            });
        }
    }

    /// What signatures are bound to in the newest epoch.
    pub fn context(&self) -> &Context {
        self.contexts.last().unwrap_or_else(|| unreachable!("the first epoch has begun"))
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
}

/// The name of an item.
pub fn item(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}
