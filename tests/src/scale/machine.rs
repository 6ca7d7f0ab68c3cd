//! One validator: its links, its cores, what waits for each of its parts, and its replica.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use consensus::{
    Action, Block, Candidate, Checkpoint, CheckpointCertificate, Finality, Message, Output, Replica, Verified,
};
use genesis::{Digest, Height, ValidatorIndex};

use super::Nanos;
use super::author::{Author, Run};
use super::figures::{Sent, Spent};
use super::holders::{BatchId, Holders};
use super::server::Server;

/// A batch of transactions, known by its number; its bytes are not made.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Whose.
    pub author: ValidatorIndex,
    /// How blocks name it.
    pub digest: Digest,
    /// Which of its author's transactions.
    pub run: Run,
    /// Its bytes.
    pub bytes: u64,
}

/// A frame on the votes channel, or a small one beside it.
#[derive(Debug)]
pub enum Letter {
    /// A replica's message; its signatures were checked once for all receivers.
    Consensus(Verified<Message>),
    /// "These batches are here."
    Held(Vec<BatchId>),
    /// "Send me these batches."
    Want(Vec<BatchId>),
    /// "Send me the final blocks after this height."
    WantBlocks(Height),
    /// Final blocks, and what proves them.
    Blocks(Vec<Candidate>, Verified<Finality>, Option<Verified<CheckpointCertificate>>),
}

/// What kind of traffic a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A leader's proposal.
    Proposal,
    /// A vote, or a signed checkpoint.
    Vote,
    /// A certificate, of votes or of checkpoints.
    Certificate,
    /// Who holds which batches.
    Acknowledgement,
    /// A batch.
    Batch,
    /// Questions, and answers that are none of the above.
    Other,
}

impl Letter {
    /// What kind it is.
    pub fn traffic(&self) -> Traffic {
        match self {
            Self::Held(_) => Traffic::Acknowledgement,
            Self::Want(_) | Self::WantBlocks(_) | Self::Blocks(..) => Traffic::Other,
            Self::Consensus(message) => match &**message {
                Message::PrePrepare(_) => Traffic::Proposal,
                Message::Vote(_) | Message::Checkpoint(_) => Traffic::Vote,
                Message::Certificate(_) | Message::CheckpointCertificate(_) => Traffic::Certificate,
                Message::Fetch(_) | Message::OwnVotes(_) | Message::Attestation(_) => Traffic::Other,
            },
        }
    }
}

/// A batch on a link. Of the sender's link, `other` is the receiver; of the receiver's, the sender.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    /// The other end.
    pub other: ValidatorIndex,
    /// Which.
    pub batch: BatchId,
    /// Whether it was asked for.
    pub is_fetched: bool,
}

/// What a core does beside driving the replica.
#[derive(Clone, Copy, Debug)]
pub enum Job {
    /// Checks what its clients handed in, and seals it.
    Seal(Run),
    /// Takes in the next batch of the intake's run.
    Check,
    /// Executes the oldest final block.
    Execute,
}

/// What the driver is told by the other parts.
#[derive(Debug)]
pub enum News {
    /// These batches are here, checked and durable.
    Held(Vec<BatchId>),
    /// A batch came again: its author misses the acknowledgement.
    Again(BatchId),
    /// A block is executed.
    Executed(Checkpoint),
}

/// What the driver is at.
#[derive(Debug, Default)]
pub struct Driver {
    /// Whether a turn is under way.
    pub is_busy: bool,
    /// When the last turn's work is done.
    pub busy_until: Nanos,
    /// When the next turn is planned.
    pub turn_at: Option<Nanos>,
    /// When the replica wants to be called.
    pub deadline: Option<Nanos>,
    /// What the steps of this turn cost so far.
    pub cost: Nanos,
    /// What they ask for.
    pub output: Output,
    /// What is to be performed once the records are durable.
    pub actions: Vec<Action>,
    /// What is to be acknowledged.
    pub acknowledge: Vec<BatchId>,
    /// When acknowledgements were last sent.
    pub acknowledged_at: Nanos,
    /// When what waits was last acknowledged again.
    pub again_at: Nanos,
    /// The block whose payload is not here in full.
    pub judging: Option<Block>,
    /// Batches that were asked for.
    pub wanted: BTreeSet<BatchId>,
    /// How long it was busy, or waited for the journal, so far.
    pub occupied: Nanos,
    /// Since when the turn under way is.
    pub since: Nanos,
}

/// What a driver spends its core's time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// To receive frames.
    Receive,
    /// To send them.
    Send,
    /// To check single signatures, and to sign.
    Signatures,
    /// To check certificates.
    Certificates,
    /// To note who holds which batches.
    Held,
    /// The replica's steps.
    Steps,
}

/// A final block that waits for its execution.
#[derive(Debug)]
pub struct Final {
    /// The block.
    pub block: Block,
    /// Its batches.
    pub batches: Vec<BatchId>,
}

/// A validator.
#[derive(Debug)]
pub struct Machine {
    /// Its place.
    pub index: ValidatorIndex,
    /// Its state machine.
    pub replica: Replica,
    /// Who holds what.
    pub holders: Holders,
    /// What its clients hand in.
    pub author: Author,
    /// Whether a batch is being sealed.
    pub is_sealing: bool,
    /// When the next look at what clients handed in is planned.
    pub seal_at: Option<Nanos>,
    /// Own batches that no final block names, in order.
    pub own: BTreeSet<BatchId>,
    /// All batches before this one are named by final blocks.
    pub open_from: BatchId,
    /// Outgoing.
    pub uplink: Server<Parcel>,
    /// Incoming.
    pub downlink: Server<Parcel>,
    /// The lanes share these, see [`Lane`].
    pub cores: Vec<Server<Job>>,
    /// Frames, by when they are here.
    pub inbox: VecDeque<(Nanos, ValidatorIndex, Rc<Letter>, u64)>,
    /// What the other parts tell the driver.
    pub news: VecDeque<News>,
    /// The driver.
    pub driver: Driver,
    /// Batches that wait for the intake.
    pub arrived: VecDeque<BatchId>,
    /// Those among them and in the run.
    pub coming: BTreeSet<BatchId>,
    /// Those that the intake has taken together, the ones that are not checked yet first.
    pub run: VecDeque<BatchId>,
    /// Those of the run that are checked.
    pub checked: Vec<BatchId>,
    /// Final blocks that wait for their execution.
    pub finals: VecDeque<Final>,
    /// Whether one is being executed.
    pub is_executing: bool,
    /// What was sent, in the time that is measured.
    pub sent: Sent,
    /// What the driver computed, in that time.
    pub spent: Spent,
}

/// What a validator does at the same time, a thread each. With `k` cores, lane `i` runs on core `i mod k`; the driver comes
/// before what shares its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Votes, the replica, what is sent.
    Driver = 0,
    /// Takes batches in.
    Intake = 1,
    /// Executes.
    Executor = 2,
    /// Checks what clients hand in.
    Author = 3,
}

impl Machine {
    /// Which core a lane runs on.
    pub fn core_of(&self, lane: Lane) -> usize {
        lane as usize % self.cores.len()
    }

    /// How long all its cores together were busy so far.
    pub fn computed(&self) -> Nanos {
        self.cores.iter().fold(Nanos::ZERO, |sum, core| sum + core.busy())
    }
}
