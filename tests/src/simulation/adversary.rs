//! Byzantine replicas, by name. A Byzantine machine runs the production replica; its [`Adversary`] stands between
//! the replica and the links, and there alters, withholds, delays, doubles or adds what goes out, and signs with
//! the machine's key what an honest replica would not.
//!
//! Invariant: an adversary has the key of its own machine and what others sent it, nothing else. It acts for as long as
//! the run lasts, also when the other faults are over. Every deed is counted by its [`Kind`].
//!
//! The world and an adversary know one another by [`Scene`] (what it sees), [`Parcel`] (what it sends) and the three
//! calls [`Adversary::sends`], [`Adversary::hears`] and [`Adversary::serves`].
//!
//! - [`leading`]: kinds that act in their own views
//! - [`voting`]: kinds that contradict or withhold their votes
//! - [`sending`]: kinds that send what is right, but not to all, not now, or again
//! - [`forging`]: kinds that make up messages
//! - [`attesting`]: kinds that say wrong things of results, or to those who lost their records
//! - [`serving`]: kinds that answer wrongly, or hand out batches

pub mod attesting;
pub mod forging;
pub mod leading;
pub mod sending;
pub mod serving;
pub mod voting;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use consensus::{Context, Message, Recipient, Tip};
use genesis::{Digest, Domain, SecretKey, ValidatorIndex, View};

use super::chance::Chance;
use super::world::HostId;

/// The place of one without a seat.
const NOBODY: ValidatorIndex = ValidatorIndex(u16::MAX);
/// How many messages an adversary remembers.
const REMEMBERED: usize = 512;
/// How far apart made-up messages of one adversary are at least: more would only cost time.
const PAUSE: Duration = Duration::from_millis(40);

/// Declares the kinds with their names, in the order in which they are counted.
macro_rules! kinds {
    ($($(#[$what:meta])* $kind:ident = $name:literal,)*) => {
        /// The ways to be Byzantine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$what])* $kind,)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its name, which stays.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Proposes two blocks in one view, each to a part of the network, and prepares both.
    EquivocatingLeader = "equivocating leader",
    /// Votes for one block to some, and for another to the rest.
    EquivocatingVoter = "equivocating voter",
    /// Says nothing.
    Silent = "silent",
    /// Says what is right to some, and nothing to the rest.
    SelectiveSender = "selective sender",
    /// Says what is right, too late.
    LateSender = "late sender",
    /// Shows certificates with too few signers, one signer for many, foreign signers, or of something else.
    ForgedCertificates = "forged certificates",
    /// Signs for another epoch.
    WrongEpoch = "wrong epoch",
    /// Signs in views that are long over.
    StaleView = "stale view",
    /// Signs in views that nobody will ever reach.
    FarFutureView = "far-future view",
    /// Proposes blocks that break a rule: height, parent, time, or an item that is ordered already.
    InvalidBlock = "invalid block",
    /// Proposes an item that nobody else has, and does not hand it out.
    WithheldBatch = "withheld batch",
    /// Proposes an item whose contents are garbage.
    GarbageBatch = "garbage batch",
    /// Answers those who are behind with wrong, garbled, stale or no blocks.
    LyingSyncPeer = "lying sync peer",
    /// Sends again whatever it ever heard or said.
    Replayer = "replayer",
    /// Proposes times far ahead.
    ClockRunner = "clock runner",
    /// Shows its votes, and with them the certificate that they complete, to one replica only.
    CertificateHoarder = "certificate hoarder",
    /// Gives items to the leader only.
    BatchToLeader = "batch to the leader only",
    /// Two unmodified replicas with one key.
    Double = "double of a key",
    /// Gives up every view that it votes in: also sends COMMIT and VIEW-CHANGE in one view.
    VoteThenDeny = "vote-then-deny",
    /// Signs checkpoints with another root, or of another set.
    WrongCheckpoint = "wrong checkpoint",
    /// Votes, but tells nobody what became of lost records.
    SilentAttester = "silent attester",
    /// Tells them less than the truth, or more, as far as it has certificates for it.
    FalseAttester = "false attester",
}

impl Kind {
    /// The kinds that an [`Adversary`] plays; twins need none.
    pub fn played() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| *kind != Self::Double)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind acted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds([u64; Kind::ALL.len()]);

impl Deeds {
    /// One more.
    pub fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    /// How often `kind` acted.
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// Takes in another's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

/// What a Byzantine machine sees when something happens to it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The simulated time.
    pub now: Duration,
    /// Its replica's view.
    pub view: View,
    /// Its replica's newest final block.
    pub tip: Tip,
    /// The machines of the other validators.
    pub peers: Vec<(HostId, ValidatorIndex)>,
}

impl Scene {
    /// The machines that `to` means.
    fn meant(&self, to: Recipient) -> impl Iterator<Item = HostId> + '_ {
        let meant = move |index: ValidatorIndex| match to {
            Recipient::All => true,
            Recipient::One(peer) => peer == index,
        };
        self.peers.iter().filter(move |(_, index)| meant(*index)).map(|(host, _)| *host)
    }
}

/// What is in a parcel.
#[derive(Clone, Debug)]
pub enum Content {
    /// A message. Where it does not verify, its receiver refuses it.
    Message(Message),
    /// A message that its receiver must refuse: if it does not, that is a failure.
    Forgery(Message),
    /// An item, handed to this machine alone.
    Batch(Digest),
}

/// Something that a Byzantine machine sends.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// To which machine.
    pub to: HostId,
    /// How long after now.
    pub after: Duration,
    /// What.
    pub content: Content,
}

impl Parcel {
    fn now(to: HostId, content: Content) -> Self {
        Self { to, after: Duration::ZERO, content }
    }
}

/// The Byzantine part of one machine.
#[derive(Debug)]
pub struct Adversary {
    /// How it is Byzantine.
    pub kinds: Vec<Kind>,
    /// What it did.
    pub deeds: Deeds,
    /// Items that it named whose contents are garbage.
    pub garbage: Vec<Digest>,
    /// Its place in the epoch; past the end of the set where it has no seat.
    me: ValidatorIndex,
    secret: SecretKey,
    context: Context,
    delta: Duration,
    chance: Chance,
    /// What it heard and said, newest last.
    memory: VecDeque<Message>,
    /// What it proposed instead of its replica's blocks, by view.
    stages: BTreeMap<View, leading::Stage>,
    items: u64,
    busy_until: Duration,
}

impl Adversary {
    /// The adversary of the machine with this consensus key, with a stream of chance of its own. `delta` is the
    /// network's Δ.
    pub fn new(
        kinds: Vec<Kind>,
        secret: SecretKey,
        context: Context,
        delta: Duration,
        chance: Chance,
    ) -> Self {
        let me = context.validators.by_consensus_key(&secret.public()).unwrap_or(NOBODY);
        Self {
            kinds,
            deeds: Deeds::default(),
            garbage: Vec::new(),
            me,
            secret,
            context,
            delta,
            chance,
            memory: VecDeque::new(),
            stages: BTreeMap::new(),
            items: 0,
            busy_until: Duration::ZERO,
        }
    }

    /// Its machine is in the epoch of `context`.
    pub fn enter(&mut self, context: &Context) {
        if context.epoch != self.context.epoch {
            self.me = context.validators.by_consensus_key(&self.secret.public()).unwrap_or(NOBODY);
            self.context = context.clone();
            self.memory.clear();
            self.stages.clear();
        }
    }

    /// Whether it says nothing at all.
    pub fn is_mute(&self) -> bool {
        self.kinds == [Kind::Silent]
    }

    fn is(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Its replica wants to send `message`: what goes out instead.
    pub fn sends(&mut self, scene: &Scene, to: Recipient, message: &Message) -> Vec<Parcel> {
        self.remember(message);
        let hosts: Vec<HostId> = scene.meant(to).collect();
        let mut parcels: Vec<_> =
            hosts.iter().map(|host| Parcel::now(*host, Content::Message(message.clone()))).collect();
        if self.me == NOBODY {
            return parcels;
        }
        self.lead(scene, message, &mut parcels);
        self.vote_twice(&mut parcels);
        self.deny(&mut parcels);
        self.hoard(scene, &mut parcels);
        self.mislead(to, &mut parcels);
        self.miscalculate(&mut parcels);
        self.attest(&mut parcels);
        self.make_up(scene, &mut parcels);
        self.send_badly(scene, &mut parcels);
        parcels
    }

    /// It heard `message`: what it sends upon that, beside what its replica will say.
    pub fn hears(&mut self, scene: &Scene, message: &Message) -> Vec<Parcel> {
        self.remember(message);
        let mut parcels = Vec::new();
        if self.me == NOBODY {
            return parcels;
        }
        self.make_up(scene, &mut parcels);
        self.hand_out(scene, &mut parcels);
        self.send_badly(scene, &mut parcels);
        parcels
    }

    fn remember(&mut self, message: &Message) {
        if self.memory.len() >= REMEMBERED {
            self.memory.pop_front();
        }
        self.memory.push_back(message.clone());
    }

    /// Whether something may be made up now, which happens in `percent` of 100 cases.
    fn may_act(&mut self, kind: Kind, percent: u64) -> bool {
        self.is(kind) && self.chance.percent(percent)
    }

    /// An item that nobody else has.
    fn new_item(&mut self) -> Digest {
        self.items += 1;
        let mut name = b"an adversary's".to_vec();
        name.extend(self.me.0.to_le_bytes());
        name.extend(self.items.to_le_bytes());
        Digest::of(Domain::Batch, &name)
    }

    /// A digest of nothing.
    fn noise(&mut self) -> Digest {
        Digest::of(Domain::Candidate, &self.chance.below(u64::MAX).to_le_bytes())
    }

    fn somebody(&mut self, scene: &Scene) -> Option<HostId> {
        self.chance.pick(&scene.peers).map(|(host, _)| host)
    }
}
