//! Each rule with a replica driven by hand: validator 0 of four, who leads view 4; the others are the test's puppets.

mod checkpoints;
mod epochs;
mod evidence;
mod journal;
mod recovery;
mod results;
mod standing;
mod timing;
mod verification;
mod voting;
mod waiting;

use std::time::Duration;

use genesis::{
    Configuration, Digest, Domain, Epoch, Genesis, Height, Parameters, SecretKey, UnixMillis, Validator,
    ValidatorIndex, View,
};

use super::{Config, Executed, Input, Memory, Now, Replica, Start, Verdict};
use crate::candidate::{Block, Candidate, Parent, Tip};
use crate::certificate::Certificate;
use crate::checkpoint::{Checkpoint, CheckpointCertificate, Cited};
use crate::evidence::Evidence;
use crate::message::{Context, Fetch, Message, VoteKind};
use crate::output::{Action, Output, Record};

const ME: u16 = 0;
const DELTA: u64 = 400;

fn key(role: u8, index: u16) -> SecretKey {
    let mut seed = [role; 32];
    seed[..2].copy_from_slice(&index.to_le_bytes());
    SecretKey::from_seed(seed)
}

fn founded(validators: u16) -> Genesis {
    let list = (0..validators).map(|index| Validator {
        name: format!("node{index}"),
        consensus_key: key(1, index).public(),
        network_key: key(2, index).public(),
        governance_key: key(3, index).public(),
        address: format!("127.0.0.1:{}", 1_000 + index),
    });
    let time = UnixMillis(1_000_000);
    Genesis::new("test".into(), time, Parameters::default(), list.collect()).unwrap()
}

fn context() -> Context {
    let genesis = founded(4);
    Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators: genesis.validators().clone() }
}

fn item(number: u64) -> Digest {
    Digest::of(Domain::Batch, &number.to_le_bytes())
}

fn at(milliseconds: u64) -> Now {
    let genesis = UnixMillis(1_000_000);
    Now { elapsed: Duration::from_millis(milliseconds), clock: genesis.plus(milliseconds) }
}

fn vote(voter: u16, kind: VoteKind, view: u64, digest: Digest) -> Message {
    Message::Vote(context().vote((ValidatorIndex(voter), &key(1, voter)), kind, View(view), digest))
}

fn certificate(kind: VoteKind, view: u64, digest: Digest) -> Certificate {
    let signatures = (1..4).map(|voter| {
        let Message::Vote(vote) = vote(voter, kind, view, digest) else { unreachable!() };
        (vote.voter, vote.signature)
    });
    Certificate { kind, view: View(view), digest, signatures: signatures.collect() }
}

fn failed(view: u64) -> Message {
    Message::Certificate(certificate(VoteKind::ViewChange, view, Digest::ZERO))
}

fn genesis_parent() -> Parent {
    Parent { view: View::ZERO, digest: context().chain }
}

fn parent(block: &Block) -> Parent {
    Parent { view: block.view, digest: block.digest() }
}

/// A block of `view` at `height`, a little later than its height asks for.
fn block(view: u64, height: u64, parent: Parent, payload: &[Digest]) -> Block {
    Block::new(Candidate {
        epoch: Epoch::ZERO,
        view: View(view),
        height: Height(height),
        parent,
        time: UnixMillis(1_000_000 + height),
        cites: Cited::genesis(&founded(4)),
        nonces: Vec::new(),
        payload: payload.to_vec(),
    })
}

fn proposal(block: &Block) -> Message {
    let leader = context().validators.leader(block.view);
    Message::PrePrepare(context().propose(&key(1, leader.0), block))
}

/// What executing `block` led to; the same for all who do it right.
fn result_of(block: &Block, pending: Option<Digest>) -> Checkpoint {
    Checkpoint {
        epoch: block.epoch,
        height: block.height,
        block: block.digest(),
        time: block.time,
        state_root: item(1_000 + block.height.0),
        receipts_root: item(2_000 + block.height.0),
        configuration: Configuration::of(&founded(4)).digest(),
        pending,
    }
}

/// The validators of `epoch`, where it has the same ones.
fn context_of(epoch: u64) -> Context {
    Context { epoch: Epoch(epoch), ..context() }
}

fn signed_result(voter: u16, result: &Checkpoint) -> Message {
    let signer = (ValidatorIndex(voter), &key(1, voter));
    Message::Checkpoint(context_of(result.epoch.0).checkpoint_vote(signer, result.clone()))
}

/// The certificate of `result`, by validators 1 to 3.
fn certified(result: &Checkpoint) -> CheckpointCertificate {
    let signatures = (1..4).map(|voter| {
        let Message::Checkpoint(vote) = signed_result(voter, result) else { unreachable!() };
        (vote.voter, vote.signature)
    });
    CheckpointCertificate { checkpoint: result.clone(), signatures: signatures.collect() }
}

/// `block`, citing `result`.
fn citing(block: &Block, result: &Checkpoint) -> Block {
    Block::new(Candidate { cites: result.cited(), ..block.candidate().clone() })
}

/// One replica, with everything that it ever asked for.
struct Driven {
    replica: Replica,
    records: Vec<Record>,
    sent: Vec<Message>,
    judged: Vec<Digest>,
    finalized: Vec<Block>,
    certified: Vec<CheckpointCertificate>,
    accused: Vec<Evidence>,
    begun: Vec<Epoch>,
    closes: Vec<Digest>,
    halted: Option<crate::output::Halt>,
}

impl Driven {
    fn new() -> Self {
        Self::from(Vec::new(), Tip::genesis(&founded(4)))
    }

    fn config() -> Config {
        Config {
            chain: context().chain,
            origin: genesis::Height::ZERO,
            epoch: Epoch::ZERO,
            configuration: Configuration::of(&founded(4)),
            opening: None,
            secret: key(1, ME),
            memory: Memory::Whole,
            nonce: item(999),
        }
    }

    /// A replica that two others told, at once, that they know of no vote of its own.
    fn from(records: Vec<Record>, tip: Tip) -> Self {
        let mut driven = Self::start(Self::config(), records, tip);
        for peer in [1, 2] {
            driven.hear(0, peer, Message::OwnVotes(Vec::new()));
        }
        driven.sent.retain(|message| !matches!(message, Message::Fetch(Fetch::OwnVotes)));
        driven
    }

    /// A replica that nobody has told anything yet.
    fn start(config: Config, records: Vec<Record>, tip: Tip) -> Self {
        let start = Start { tip, certificate: None, executed: None, certified: Vec::new() };
        let (replica, output) = Replica::recover(config, at(0), start, records.clone()).unwrap();
        let mut driven = Self {
            replica,
            records,
            sent: Vec::new(),
            judged: Vec::new(),
            finalized: Vec::new(),
            certified: Vec::new(),
            accused: Vec::new(),
            begun: Vec::new(),
            closes: Vec::new(),
            halted: None,
        };
        driven.take(output);
        driven
    }

    fn take(&mut self, output: Output) {
        let append = |records: &[Record]| {
            self.records.extend_from_slice(records);
            Ok::<(), std::convert::Infallible>(())
        };
        for action in output.persist(append).unwrap() {
            match action {
                Action::Send(_, message) => self.sent.push(message),
                Action::Judge(block) => self.judged.push(block.digest()),
                Action::Finalize { block, closes, .. } => {
                    self.finalized.push(block);
                    self.closes.extend(closes);
                }
                Action::Certified(certificate) => self.certified.push(certificate),
                Action::Begin { epoch, .. } => self.begun.push(epoch),
                Action::Accuse(evidence) => self.accused.push(evidence),
                Action::Synchronize { .. } => {}
                Action::Halt(why) => self.halted = Some(why),
            }
        }
    }

    fn step(&mut self, now: u64, input: Input) {
        let output = self.replica.step(at(now), input);
        self.take(output);
    }

    fn hear(&mut self, now: u64, from: u16, message: Message) {
        let message = message.verify(&context()).unwrap();
        self.step(now, Input::Received { from: ValidatorIndex(from), message });
    }

    /// A message of the validators of a later epoch, who are the same.
    fn hear_in(&mut self, epoch: u64, now: u64, from: u16, message: Message) {
        let message = message.verify(&context_of(epoch)).unwrap();
        self.step(now, Input::Received { from: ValidatorIndex(from), message });
    }

    /// `block` is proposed, prepared and committed by all.
    fn hear_final(&mut self, now: u64, block: &Block) {
        self.hear_valid(now, block);
        self.hear_two(now, VoteKind::Prepare, block.view.0, block.digest());
        self.hear_two(now, VoteKind::Commit, block.view.0, block.digest());
        assert_eq!(self.replica.status().tip.digest, block.digest(), "it is final");
    }

    fn execute(&mut self, now: u64, result: &Checkpoint) {
        self.step(now, Input::Executed(Executed { checkpoint: result.clone(), next: None }));
    }

    fn hear_certified(&mut self, now: u64, result: &Checkpoint) {
        self.hear(now, 1, Message::CheckpointCertificate(certified(result)));
    }

    /// The own checkpoints that were sent, each once.
    fn results(&self) -> Vec<Checkpoint> {
        let mut results: Vec<Checkpoint> = Vec::new();
        for message in &self.sent {
            if let Message::Checkpoint(vote) = message
                && !results.contains(&vote.checkpoint)
            {
                results.push(vote.checkpoint.clone());
            }
        }
        results
    }

    fn fetched(&self, fetch: &Fetch) -> usize {
        self.sent.iter().filter(|message| matches!(message, Message::Fetch(asked) if asked == fetch)).count()
    }

    /// The leader's proposal, judged valid.
    fn hear_valid(&mut self, now: u64, block: &Block) {
        let leader = context().validators.leader(block.view);
        self.hear(now, leader.0, proposal(block));
        self.step(now, Input::Judged { digest: block.digest(), verdict: Verdict::Valid });
    }

    /// The votes of validators 1 and 2, who make a quorum with this one.
    fn hear_two(&mut self, now: u64, kind: VoteKind, view: u64, digest: Digest) {
        for voter in [1, 2] {
            self.hear(now, voter, vote(voter, kind, view, digest));
        }
    }

    /// The own votes of `kind` in `view` that were sent, each counted once however often it was sent again.
    fn voted(&self, kind: VoteKind, view: u64) -> Vec<Digest> {
        let mut digests: Vec<Digest> = Vec::new();
        for message in &self.sent {
            if let Message::Vote(vote) = message
                && (vote.kind, vote.view) == (kind, View(view))
                && !digests.contains(&vote.digest)
            {
                digests.push(vote.digest);
            }
        }
        digests
    }

    fn proposed(&self) -> Vec<Block> {
        let own = |message: &Message| match message {
            Message::PrePrepare(proposal) => Some(Block::new(proposal.candidate.clone())),
            _ => None,
        };
        self.sent.iter().filter_map(own).collect()
    }

    fn view(&self) -> u64 {
        self.replica.status().view.0
    }
}
