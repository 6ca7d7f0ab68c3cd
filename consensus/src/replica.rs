//! The replica: one validator's view of the protocol, as a state machine.
//!
//! [`Replica::step`] is the only mutation. It is total (a bad peer is not an error), and deterministic: the same
//! inputs give the same outputs. It does no I/O and reads no clock; what it wants done stands in its [`Output`],
//! and when it wants to be called again in [`Replica::deadline`].
//!
//! Handlers store facts; [`Replica::progress`] then derives everything that follows from them, until nothing
//! more does. The parts: `receive` (facts from peers), `view` (entering, voting, giving up: P3, P5), `propose`
//! (P1), `prepare` (P2), `finality` (P4), `checkpoint` (P6), `epoch` (P12), `spread` (P8), `timing` (P9, P10), `recover` and
//! `standing` (P7).

mod checkpoint;
mod epoch;
mod finality;
mod fingerprint;
mod prepare;
mod propose;
mod receive;
pub mod recover;
mod spread;
pub mod standing;
mod timing;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use genesis::{
    Configuration, Digest, Epoch, Height, Parameters, SecretKey, Signature, UnixMillis, ValidatorIndex, View,
};

use self::checkpoint::Results;
use self::standing::Standing;
use crate::bug::{Bug, on};
use crate::candidate::{Block, Candidate, Tip};
use crate::certificate::Certificate;
use crate::checkpoint::{Checkpoint, CheckpointCertificate, Finality};
use crate::evidence::Watch;
use crate::message::{Context, Fetch, Message, PrePrepare, Verified, Vote};
use crate::output::{Output, Record};
use crate::pacemaker::Pacemaker;
use crate::pool::{Offer, Pool};
use crate::tally::Tally;

/// How many views above its own a replica counts votes for, so that it need not ask for what overtook its own
/// progress. Bounds the tallies above.
const VIEWS_AHEAD: u64 = 4;
/// How many views below its own a replica still counts votes for. Bounds the tallies below.
const VIEWS_BEHIND: u64 = 64;
/// How many final blocks a replica remembers for peers that missed one.
const RECENT_BLOCKS: usize = 64;
/// How many blocks may be prepared and not final before a leader proposes only empty ones.
const MAX_UNFINAL: usize = 32;

/// Who this replica is, in which network, and in which epoch of it.
#[derive(Debug)]
pub struct Config {
    /// The chain's id.
    pub chain: Digest,
    /// The height that the chain's first block follows: 0, or where the chain that it goes on from ended.
    pub origin: Height,
    /// The epoch of the newest final block; the one after, where that block closed its epoch and its checkpoint has its
    /// certificate.
    pub epoch: Epoch,
    /// The validators and parameters of that epoch.
    pub configuration: Configuration,
    /// What closed the epoch before; none in the first.
    pub opening: Option<CheckpointCertificate>,
    /// The consensus key. A replica whose key is not in the set has no vote: it follows (an observer).
    pub secret: SecretKey,
    /// Whether the records are all that the key ever signed in this chain.
    pub memory: Memory,
    /// A random number, made at this start.
    pub nonce: Digest,
}

/// Whether a replica's records are all that its key ever signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// They are, or nothing was signed yet.
    Whole,
    /// They were lost, or come from a backup: nothing is signed before others told where it may be safe (P7).
    Lost,
}

/// What the ledger knows of the newest final block that it has executed.
#[derive(Clone, Debug)]
pub struct Executed {
    /// What it led to.
    pub checkpoint: Checkpoint,
    /// The configuration of the next epoch, where this block closes one (P12).
    pub next: Option<Configuration>,
}

/// Where a replica begins: the newest final block that is executed and durable.
#[derive(Clone, Debug)]
pub struct Start {
    /// That block; genesis for a new chain.
    pub tip: Tip,
    /// Its commit certificate, where it has one of its own.
    pub certificate: Option<Certificate>,
    /// What it led to; none for genesis.
    pub executed: Option<Executed>,
    /// The newest checkpoint certificates of the epoch that the ledger holds, at least from the one on that the block cites.
    pub certified: Vec<CheckpointCertificate>,
}

/// The time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some fixed moment; never goes back.
    pub elapsed: Duration,
    /// What the wall clock says, right or wrong. Consulted for P11 alone.
    pub clock: UnixMillis,
}

/// What the node found out about a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is here, valid and durable.
    Valid,
    /// It can never be valid.
    Invalid,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer said something.
    Received {
        /// Which peer's connection it came by.
        from: ValidatorIndex,
        /// What it said.
        message: Verified<Message>,
    },
    /// The answer to `Action::Judge`.
    Judged {
        /// The block.
        digest: Digest,
        /// The answer.
        verdict: Verdict,
    },
    /// These digests wait to be ordered: a quorum has their contents, this node too, valid and durable. What the
    /// newest final blocks named is left out here, since the node may not have performed their `Finalize` yet.
    Available(Vec<Offer>),
    /// This node has the contents of these, valid and durable, and does not know of others that do. A leader that has nothing
    /// else to propose proposes them: on an idle chain their contents are on their way to the others. They arm no timer.
    Held(Vec<Offer>),
    /// These no longer do: they expired.
    Withdrawn(Vec<Digest>),
    /// Final blocks of this epoch from a peer's store, each the parent of the next.
    Synced {
        /// In order of height.
        candidates: Vec<Candidate>,
        /// That the last one is final.
        finality: Verified<Finality>,
        /// The checkpoint that the last one cites, unless it is the one that opened the epoch.
        cited: Option<Verified<CheckpointCertificate>>,
    },
    /// A checkpoint's certificate, from a peer's store.
    Certified(Verified<CheckpointCertificate>),
    /// A final block was executed, and what it led to is written, in order of height, each once: after a crash the ledger stands at
    /// one of these blocks, and what [`crate::Record`]s say of later ones is kept until they are durable there.
    Executed(Executed),
    /// A connection to this validator came up.
    Connected(ValidatorIndex),
    /// A deadline passed.
    Tick,
}

/// A block with its leader's signature, so that it can be shown to others.
#[derive(Clone, Debug)]
struct Known {
    block: Block,
    signature: Signature,
}

impl Known {
    fn message(&self) -> Message {
        Message::PrePrepare(PrePrepare {
            candidate: self.block.candidate().clone(),
            signature: self.signature,
        })
    }
}

/// What this replica signed in one view.
#[derive(Clone, Debug, Default)]
struct Own {
    proposal: Option<Digest>,
    prepare: Option<Vote>,
    commit: Option<Vote>,
    view_change: Option<Vote>,
}

impl Own {
    /// Whether it proposed or prepared this block.
    fn is_about(&self, digest: &Digest) -> bool {
        self.proposal == Some(*digest) || self.prepare.as_ref().is_some_and(|vote| vote.digest == *digest)
    }
}

/// How far the current view has come. (A prepare certificate ends the view.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// For the leader's pre-prepare.
    Waiting,
    /// It came, and may not be prepared yet.
    Examining { digest: Digest, verdict: Option<Verdict>, asked: bool },
    /// It can never be prepared.
    Rejected,
    /// PREPARE was sent.
    Prepared,
}

/// What is known of another validator, from what it signed.
#[derive(Clone, Debug)]
struct Peer {
    /// The highest view that it signed something in.
    heard_view: View,
    /// When it last signed something new.
    heard_at: Duration,
    /// The highest view that it has shown to be in.
    shown: View,
    /// When to pass the newest certificate on to it, unless it has shown to hold it (P8).
    spread_at: Option<Duration>,
    /// The highest view that it sent COMMIT in: a second COMMIT there says that it lacks the certificate.
    commit_seen: View,
    /// Its votes in the highest view of this epoch that any was seen in, one of a kind: it may ask for them at its next
    /// start (P7).
    highest: Vec<Vote>,
    /// The height up to which it has shown, by its CHECKPOINT, to know what is final (P8).
    executed: Height,
    /// When it is told next what is final, and the pause after that: it doubles while the peer shows nothing new.
    tell_at: Duration,
    tell_pause: Duration,
    /// When it may next be answered about finality: bounds what repeats can cost.
    answer_after: Duration,
    /// Up to when its share of answers is used up; at most Δ ahead.
    answered_until: Duration,
    /// When it is asked for what leads to the view that it has shown, and the pause after that: it doubles while
    /// the peer answers nothing new.
    ask_at: Duration,
    ask_pause: Duration,
}

/// A validator's replica.
#[derive(Clone, Debug)]
pub struct Replica {
    context: Context,
    /// This validator's place in the set; none for an observer.
    me: Option<ValidatorIndex>,
    secret: SecretKey,
    parameters: Parameters,
    pacemaker: Pacemaker,
    standing: Standing,
    /// What executing the final blocks led to, here and at others.
    results: Results,
    /// The block that closes this epoch, once it is final (P12).
    closed: Option<epoch::Closed>,
    /// Records of epochs that this replica has been in before it was restarted from an older ledger.
    later: BTreeMap<Epoch, Vec<Record>>,
    watch: Watch,

    /// The newest final block.
    tip: Tip,
    /// Its commit certificate, where one is held.
    tip_certificate: Option<Certificate>,
    /// The newest commit certificate above the tip, while blocks below it are missing.
    committed: Option<Certificate>,
    /// Blocks above the tip that were prepared here or are certified, and the current view's.
    blocks: BTreeMap<Digest, Known>,
    /// How many of them were needed when that was last looked into.
    blocks_kept: usize,
    /// Prepare certificates above the tip.
    prepared: BTreeMap<View, Certificate>,
    /// View-change certificates above the tip.
    failed: BTreeMap<View, Certificate>,
    /// All views from here to below the current one have a view-change certificate in `failed`.
    failed_from: View,
    /// What was signed above the tip.
    own: BTreeMap<View, Own>,
    tallies: BTreeMap<View, Tally>,
    /// Pre-prepares of higher views, one a leader.
    early: BTreeMap<ValidatorIndex, Known>,
    recent: VecDeque<Known>,
    /// Digests that wait to be ordered.
    pool: Pool,

    view: View,
    entered: Duration,
    phase: Phase,

    peers: BTreeMap<ValidatorIndex, Peer>,
    /// What was asked for since this view was entered.
    asked_candidates: BTreeSet<Digest>,
    asked_certificates: Option<(View, View)>,
    asked_checkpoint: Option<Height>,
    /// Who last answered: the first to be asked again.
    helper: Option<ValidatorIndex>,

    /// Since when something waits (P10).
    armed: Option<Duration>,
    /// Since when a prepared, non-empty block waits for finality.
    unfinal: Option<Duration>,
    /// When the last block was made: heartbeats count from here.
    last_block_at: Duration,
    resend_at: Option<Duration>,
    catch_up_at: Option<Duration>,
    /// When a block whose time is ahead of the clock may be looked at again.
    time_fits_at: Option<Duration>,
    /// Safety was lost: nothing is signed any more.
    halted: bool,

    output: Output,
    /// A fact was added, so that more may follow.
    stirred: bool,
}

/// A replica's position, for status pages and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The epoch.
    pub epoch: Epoch,
    /// The current view.
    pub view: View,
    /// The newest final block.
    pub tip: Tip,
    /// The leader of the current view.
    pub leader: ValidatorIndex,
    /// Δ at present.
    pub delta: Duration,
    /// Since when something waits, so that view timers run; in the time of `Now::elapsed`.
    pub armed: Option<Duration>,
    /// Whether a newer block is known to be final that is not here yet.
    pub behind: bool,
    /// How many digests wait to be ordered.
    pub waiting: usize,
    /// The newest height whose checkpoint has its certificate.
    pub certified: Height,
    /// The final block that closes this epoch, whose checkpoint has no certificate yet.
    pub closing: Option<Height>,
    /// Whether this replica may vote.
    pub standing: standing::Report,
}

impl Replica {
    /// Takes in one input and says what follows.
    pub fn step(&mut self, now: Now, input: Input) -> Output {
        if self.halted {
            return Output::default();
        }
        match input {
            // What was checked against the validators of another epoch proves nothing here.
            Input::Received { message, .. }
                if message.epoch() != self.context.epoch && !on(Bug::OtherEpochHeard) => {}
            Input::Received { from, message } => self.receive(now, from, message.into_inner()),
            Input::Judged { digest, verdict } => self.judged(digest, verdict),
            Input::Available(offers) => self.pool.insert(offers),
            Input::Held(offers) => self.pool.hold(offers),
            Input::Withdrawn(digests) => self.pool.remove(&digests),
            Input::Synced { finality, .. } if finality.epoch() != self.context.epoch => {}
            Input::Synced { candidates, finality, cited } => {
                let cited = cited.filter(|cited| cited.epoch() == self.context.epoch);
                let cited = cited.map(Verified::into_inner);
                self.synced(now, candidates, finality.into_inner(), cited);
            }
            Input::Certified(certificate) if certificate.epoch() != self.context.epoch => {}
            Input::Certified(certificate) => {
                self.certify_checkpoint(now, certificate.into_inner());
            }
            Input::Executed(executed) => self.executed(executed),
            Input::Connected(peer) => self.greet(peer),
            Input::Tick => {}
        }
        self.progress(now);
        std::mem::take(&mut self.output)
    }

    /// Derives what follows from the facts, until nothing more does.
    fn progress(&mut self, now: Now) {
        loop {
            self.stirred = false;
            self.finalize(now);
            if self.halted {
                return; // Nothing is signed any more.
            }
            self.begin_epoch(now);
            self.advance(now);
            self.regain(now);
            self.sign_results(now);
            self.note_what_waits(now);
            if self.may_sign(self.view) {
                self.examine(now);
                self.propose(now);
                self.give_up(now);
            }
            if !self.stirred {
                break;
            }
        }
        self.spread(now);
        self.resend(now);
        self.catch_up(now);
    }

    /// Where this replica stands.
    pub fn status(&self) -> Status {
        Status {
            epoch: self.context.epoch,
            view: self.view,
            tip: self.tip,
            leader: self.leader(),
            delta: self.pacemaker.delta(),
            armed: self.armed,
            behind: self.committed.is_some(),
            waiting: self.pool.len(),
            certified: self.results.newest_height(),
            closing: self.closed.as_ref().map(|closed| closed.height),
            standing: self.report(),
        }
    }

    /// What signatures are bound to: to verify messages with.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn leader(&self) -> ValidatorIndex {
        self.context.validators.leader(self.view)
    }

    fn quorum(&self) -> usize {
        self.context.quorum()
    }

    /// The blocks from `parent` down to above the tip, newest first.
    fn ancestors(&self, parent: crate::candidate::Parent) -> Result<Vec<&Block>, Broken> {
        let mut ancestors = Vec::new();
        let mut next = parent;
        while next.digest != self.tip.digest {
            if next.view <= self.tip.view {
                return Err(Broken::Conflicts);
            }
            let known = self.blocks.get(&next.digest).ok_or(Broken::Missing(next.digest))?;
            if known.block.view != next.view {
                return Err(Broken::Conflicts);
            }
            ancestors.push(&known.block);
            next = known.block.parent;
        }
        if next.view == self.tip.view { Ok(ancestors) } else { Err(Broken::Conflicts) }
    }

    fn fetch(&mut self, from: Option<ValidatorIndex>, fetch: Fetch) {
        let to = from.or(self.helper).filter(|peer| Some(*peer) != self.me);
        let to = to.map_or(crate::output::Recipient::All, crate::output::Recipient::One);
        self.output.send(to, Message::Fetch(fetch));
    }
}

/// Why the blocks from somewhere do not lead to the tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// This one is not known here.
    Missing(Digest),
    /// They lead past the tip, or name a wrong view.
    Conflicts,
}

#[cfg(test)]
mod tests;
