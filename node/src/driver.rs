//! The loop that drives the replica: input → step → persist → perform.
//!
//! Invariants:
//! - What a step asks for is performed only after its records are synced ([`consensus::Output::persist`]); several
//!   steps share one sync.
//! - Nothing here waits for a client, a peer or the executor: whatever cannot be queued at once is dropped, and sent
//!   again by the replica's own timers. Only the journal's disk is waited for.
//! - Votes come before everything else.

mod batches;
mod epochs;
mod figures;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consensus::{
    Action, Block, Candidate, CheckpointCertificate, Executed, Finality, Halt, Input, Message, Now, Offer,
    Output, Recipient, Replica, Report, Status, Verified,
};
use genesis::encoding::encode;
use genesis::{Digest, Epoch, Height, PublicKey, UnixMillis, ValidatorIndex};
use ledger::HOW_TO_REPLACE;
use p2p::{Channel, Network, PeerEvent};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::figures::{Phases, failed};
use self::refusals::Refusals;
use crate::availability::{Availability, Held};
use crate::clocks::Clocks;
use crate::executor::Final;
use crate::fetcher::Want;
use crate::journal::{Journal, JournalError};
use crate::membership::Membership;
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::quota::Quotas;
use crate::wire::{Gossip, MAX_DIGESTS, encode_checkpoint};

/// How many inputs of a kind share one sync at most.
const BURST: usize = 128;
/// How often one peer is told that an epoch is over, or asked what came after this one.
const EPOCH_PAUSE: Duration = Duration::from_millis(200);
/// How often what time brings is looked after: lost pushes, expired batches.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// How often batches that wait are acknowledged again, for peers that missed it.
const ACKNOWLEDGE_AGAIN: Duration = Duration::from_secs(1);
/// How many own batches are pushed again at a time.
const PUSH_AGAIN: usize = 16;

/// Something for the driver from another part of the node.
#[derive(Debug)]
pub enum Event {
    /// These batches are here, valid and durable.
    Held(Vec<Held>),
    /// So are these, which were fetched because final blocks name them: nobody waits for this node's word on them.
    Caught(Vec<Held>),
    /// A peer pushed a batch that is here already.
    Again(Digest),
    /// This batch can never be valid.
    Invalid(Digest),
    /// A block is executed and durable in the ledger.
    Executed(Executed),
    /// Final blocks from a peer, what proves them, and the checkpoint that the last one cites.
    Synced(Vec<Candidate>, Verified<Finality>, Option<Verified<CheckpointCertificate>>),
    /// A checkpoint from a peer's store.
    Certified(Verified<CheckpointCertificate>),
    /// A peer came or went.
    Peer(PeerEvent),
}

/// Where the node stands, for whoever asks.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// The replica's position.
    pub status: Status,
    /// The newest executed block.
    pub executed: Height,
    /// When the newest block became final here.
    pub final_at: Option<Instant>,
}

/// Why the driver stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// What is signed could not be made durable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Safety was lost, or this node's ledger is not the others'.
    #[error("{0}{way_out}", way_out = way_out(.0))]
    Halt(Halt),
    /// The ledger can not be written or read.
    #[error(transparent)]
    Store(#[from] ledger::StoreError),
}

/// What an operator can do about it, where the message itself does not say: consensus knows of no files.
fn way_out(halt: &Halt) -> String {
    match halt {
        Halt::Diverged { .. } => {
            format!(". If it is this node (its disk, its memory, its version): {HOW_TO_REPLACE}")
        }
        Halt::Fork { .. } | Halt::OtherBlock { .. } => String::new(),
    }
}

/// What the driver holds.
pub struct Driver {
    /// The state machine.
    pub replica: Replica,
    /// Its memory.
    pub journal: Journal,
    /// The batches.
    pub availability: Availability,
    /// The others.
    pub network: Network,
    /// Who is in charge, for the other parts.
    pub membership: Membership,
    /// This node's network key.
    pub me: PublicKey,
    /// The store, for pushing own batches again.
    pub store: Arc<ledger::Store>,
    /// The executor. Blocks wait there while it is slow; how many, P6 bounds.
    pub finals: std::sync::mpsc::Sender<Final>,
    /// The fetcher.
    pub fetch: mpsc::Sender<Want>,
    /// The block sync: "get what is after this height".
    pub sync: mpsc::Sender<Height>,
    /// What authors have waiting.
    pub quotas: Arc<Quotas>,
    /// Where expired batches are reported.
    pub mempool: Arc<Mempool>,
    /// For status and readiness.
    pub snapshot: watch::Sender<Snapshot>,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// What the others' clocks say.
    pub clocks: Clocks,
    /// What `Now::elapsed` counts from.
    pub started: Instant,
}

/// The driver at work.
struct Work {
    driver: Driver,
    /// The epoch whose messages the actions are that are performed next.
    epoch: Epoch,
    /// The validators' network keys, by index.
    keys: Vec<PublicKey>,
    /// Whom the validators aim at, as of the newest executed block.
    pending: Option<Digest>,
    /// When a peer was last written to about epochs.
    about_epochs: BTreeMap<PublicKey, Instant>,
    /// What was last logged about whether this replica may vote.
    standing: Report,
    output: Output,
    acknowledge: Vec<Digest>,
    /// The block whose payload is not here in full, or waits for the executor.
    judging: Option<Block>,
    executed: Height,
    final_at: Option<Instant>,
    acknowledged_at: Instant,
    /// Where the last round of acknowledging and pushing again ended.
    place: Digest,
    looked_after: Instant,
    /// Who sends what is refused.
    refusals: Refusals,
    /// When a message was last refused aloud.
    refused_at: Option<Instant>,
    phases: Phases,
}

impl Driver {
    /// The time now, as the replica takes it.
    pub fn now(started: Instant) -> Now {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Now { elapsed: started.elapsed(), clock: UnixMillis(clock.as_millis() as u64) }
    }

    /// Drives until `stop`, or until something fails that must not be survived. `first` is what recovery asked for.
    ///
    /// # Errors
    /// When the journal fails, or safety was lost.
    pub async fn run(
        self,
        first: Output,
        mut votes: mpsc::Receiver<p2p::Incoming>,
        mut events: mpsc::Receiver<Event>,
        stop: CancellationToken,
    ) -> Result<(), DriverError> {
        let executed = self.store.tip().height;
        let members = self.membership.now();
        let keys = members.keys();
        let mut work = Work {
            // What the first output holds may be of this epoch, and of the next after its `Begin`.
            epoch: members.context.epoch,
            keys,
            pending: self.store.governance().pending.as_ref().map(genesis::Configuration::digest),
            about_epochs: BTreeMap::new(),
            standing: Report::Voting,
            output: first,
            acknowledge: Vec::new(),
            judging: None,
            executed,
            final_at: None,
            acknowledged_at: Instant::now(),
            place: Digest::ZERO,
            looked_after: Instant::now(),
            refusals: Refusals::default(),
            refused_at: None,
            phases: Phases::new(),
            driver: self,
        };
        work.settle()?;
        loop {
            let housekeeping = work.looked_after + HOUSEKEEPING;
            let deadline = work.driver.replica.deadline(work.now()).map(|at| work.driver.started + at);
            let wake = deadline.map_or(housekeeping, |deadline| deadline.min(housekeeping));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(frame) = votes.recv() => work.frame(&frame),
                Some(event) = events.recv() => work.event(event),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            for _ in 0..BURST {
                let Ok(frame) = votes.try_recv() else { break };
                work.frame(&frame);
            }
            for _ in 0..BURST {
                let Ok(event) = events.try_recv() else { break };
                work.event(event);
            }
            // Looked at on every turn: no flood of messages keeps time from passing.
            let now = Instant::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                work.step(Input::Tick);
            }
            if housekeeping <= now {
                work.look_after()?;
            }
            work.settle()?;
        }
    }
}

impl Work {
    fn now(&self) -> Now {
        Driver::now(self.driver.started)
    }

    fn step(&mut self, input: Input) {
        let now = self.now();
        let output = self.driver.replica.step(now, input);
        self.output.merge(output);
    }

    fn frame(&mut self, incoming: &p2p::Incoming) {
        let from = self.seat(&incoming.from);
        match Gossip::decode(&incoming.frame) {
            Ok(Gossip::Consensus(epoch, _)) if epoch < self.context_epoch() => {
                self.show_end_of(epoch, &incoming.from);
            }
            Ok(Gossip::Consensus(epoch, _)) if epoch > self.context_epoch() => {
                self.ask_for_end(&incoming.from)
            }
            Ok(Gossip::Consensus(_, message)) => match message.verify(self.driver.replica.context()) {
                // Observers are served, but have no voice. What proves itself may come from anybody.
                Ok(message) => match from {
                    Some(from) => {
                        if let Message::PrePrepare(proposal) = &*message {
                            self.note_clock(from, proposal);
                        }
                        self.step(Input::Received { from, message });
                    }
                    None => {
                        if let Some(certificate) = message.into_checkpoint_certificate() {
                            self.step(Input::Certified(certificate));
                        }
                    }
                },
                Err(error) => self.refuse(&incoming.from, &error),
            },
            Ok(Gossip::Held(_)) if from.is_none() => {}
            Ok(Gossip::Held(digests)) => {
                let now = Instant::now();
                let known = &mut self.driver.availability;
                let from = incoming.from;
                let offers =
                    digests.into_iter().filter_map(|digest| known.held_by(from, digest, now)).collect();
                self.available(offers);
            }
            Err(error) => self.refuse(&incoming.from, &error),
        }
    }

    fn refuse(&mut self, from: &PublicKey, error: &dyn std::fmt::Display) {
        self.driver.metrics.messages_refused.inc();
        // All are counted; a line a second is enough, and no member can fill the disk with lines.
        let now = Instant::now();
        if self.refused_at.is_none_or(|last| now.duration_since(last) >= Duration::from_secs(1)) {
            self.refused_at = Some(now);
            tracing::warn!(from = %self.name(from), %error, "a message was refused");
        }
        if self.refusals.add(*from, now) {
            tracing::warn!(
                peer = %self.name(from), %error,
                "too many messages of a peer were refused: closing its connections. It is broken, hostile, or of another version"
            );
            // Where the network has too much to do, the next ones do it.
            let _ = self.driver.network.disconnect(from);
        }
    }

    fn available(&mut self, offers: Vec<Offer>) {
        if !offers.is_empty() {
            self.step(Input::Available(offers));
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Held(held) => {
                self.acknowledge.extend(held.iter().map(|held| held.digest));
                self.hold(held);
            }
            Event::Caught(held) => self.hold(held),
            Event::Again(digest) => self.acknowledge.push(digest),
            Event::Invalid(digest) => {
                self.driver.availability.condemn(digest);
                self.judge_again();
            }
            Event::Executed(executed) => {
                self.executed = executed.checkpoint.height;
                self.phases.executed(self.executed, &self.driver.metrics.phase_seconds);
                self.aim_at(executed.checkpoint.pending);
                self.step(Input::Executed(executed));
            }
            Event::Synced(candidates, finality, cited) => {
                self.step(Input::Synced { candidates, finality, cited });
            }
            Event::Certified(certificate) => self.step(Input::Certified(certificate)),
            Event::Peer(PeerEvent::Connected(key)) => self.greet(&key),
            Event::Peer(PeerEvent::Disconnected(key)) => {
                tracing::info!(peer = %self.name(&key), "disconnected");
            }
            Event::Peer(PeerEvent::Double { peer, hosts: [first, second] }) => {
                self.driver.metrics.doubles.inc();
                tracing::error!(
                    peer = %self.name(&peer),
                    first = %first.address, first_boot = %first.boot,
                    second = %second.address, second_boot = %second.boot,
                    "runs on two hosts with one key: its operator must stop one of them, and change the key if the \
                     other is not theirs"
                );
            }
        }
    }

    /// The place of the validator with this network key, in the epoch that the replica is in: several steps share one
    /// [`settle`](Self::settle), so it may have begun only just now.
    fn seat(&self, key: &PublicKey) -> Option<ValidatorIndex> {
        self.driver.replica.context().validators.by_network_key(key)
    }

    fn name(&self, key: &PublicKey) -> String {
        let validator = self.seat(key).and_then(|index| self.driver.replica.context().validators.get(index));
        validator.map_or_else(|| key.to_string(), |validator| validator.name.clone())
    }

    fn greet(&mut self, key: &PublicKey) {
        tracing::info!(peer = %self.name(key), "connected");
        let Some(index) = self.seat(key) else { return };
        let waiting = self.driver.availability.waiting_after(Digest::ZERO);
        let waiting: Vec<_> = waiting.map(|(held, _)| held.digest).collect();
        for digests in waiting.chunks(MAX_DIGESTS).filter(|_| !self.is_behind()) {
            self.send_to(key, &Gossip::Held(digests.to_vec()));
        }
        self.step(Input::Connected(index));
    }

    /// Makes what the steps asked for durable and performs it, until nothing more follows.
    fn settle(&mut self) -> Result<(), DriverError> {
        self.acknowledge();
        while !self.output.is_empty() {
            let output = std::mem::take(&mut self.output);
            let mut failed_views = Vec::new();
            let (journal, metrics) = (&mut self.driver.journal, &self.driver.metrics);
            let actions = output.persist(|records| {
                failed_views.extend(failed(records));
                let _timer = metrics.journal_seconds.start_timer();
                journal.append(records)
            })?;
            self.driver.count_failed_views(&failed_views);
            for action in actions {
                self.perform(action)?;
            }
            if self.driver.journal.is_long() {
                let (state, tip) = (self.driver.replica.records(), self.driver.replica.status().tip);
                self.driver.journal.begin(&state, tip.height)?;
            }
        }
        let status = self.driver.replica.status();
        self.phases.enter(status.view);
        if self.judging.as_ref().is_some_and(|block| block.view != status.view) {
            self.judging = None; // Nobody waits for the verdict any more.
        }
        self.driver.metrics.observe(&status, self.executed);
        self.tell_standing(status.standing);
        self.driver.snapshot.send_replace(Snapshot {
            status,
            executed: self.executed,
            final_at: self.final_at,
        });
        Ok(())
    }

    fn perform(&mut self, action: Action) -> Result<(), DriverError> {
        match action {
            Action::Send(Recipient::All, message) => {
                self.note_vote(&message);
                self.broadcast(&Gossip::Consensus(self.epoch, message));
            }
            Action::Send(Recipient::One(to), message) => {
                if let Some(key) = self.keys.get(usize::from(to.0)).copied() {
                    self.send_to(&key, &Gossip::Consensus(self.epoch, message));
                }
            }
            Action::Judge(block) => {
                self.judging = Some(block);
                self.judge_again();
            }
            Action::Finalize { block, certificate, closes } => {
                self.driver.availability.order(&block.payload, block.height);
                self.driver.quotas.release(&block.payload);
                // One of them may have been offered between the step that made the block final and now.
                if !block.payload.is_empty() {
                    self.step(Input::Withdrawn(block.payload.clone()));
                }
                self.final_at = Some(Instant::now());
                self.phases.finalized(block.view, block.height, &self.driver.metrics.phase_seconds);
                tracing::debug!(height = %block.height, view = %block.view, batches = block.payload.len(), "final");
                // The executor is gone only when the node stops.
                let _ = self.driver.finals.send(Final { block, certificate, closes });
            }
            Action::Certified(certificate) => {
                let height = certificate.checkpoint.height;
                self.phases.certified(height, &self.driver.metrics.phase_seconds);
                self.driver.store.put_checkpoint(height, &encode_checkpoint(&certificate))?;
            }
            Action::Begin { epoch, configuration, opening } => self.begin(epoch, &configuration, opening)?,
            Action::Accuse(evidence) => self.accuse(&evidence)?,
            Action::Synchronize { after } => {
                // One that is under way goes on by itself.
                let _ = self.driver.sync.try_send(after);
            }
            Action::Halt(why) => return Err(DriverError::Halt(why)),
        }
        Ok(())
    }

    fn broadcast(&self, gossip: &Gossip) {
        self.count(gossip);
        self.driver.network.broadcast(Channel::Votes, encode(gossip));
    }

    fn send_to(&self, to: &PublicKey, gossip: &Gossip) {
        self.count(gossip);
        // What is not sent now is sent again: by the replica's timers, or when the peer connects.
        let _ = self.driver.network.send(to, Channel::Votes, encode(gossip));
    }
}

#[cfg(test)]
mod tests {
    use consensus::Checkpoint;

    use super::*;

    #[test]
    fn a_node_whose_state_differs_says_how_its_ledger_is_replaced() {
        let checkpoint = Checkpoint {
            epoch: Epoch::ZERO,
            height: Height(1),
            block: Digest::ZERO,
            time: UnixMillis(1),
            state_root: Digest::ZERO,
            receipts_root: Digest::ZERO,
            configuration: Digest::ZERO,
            pending: None,
        };
        let mine = Box::new(checkpoint.clone());
        let halt = Halt::Diverged { mine, theirs: Box::new(checkpoint), signers: 3 };
        let text = DriverError::Halt(halt).to_string();
        assert!(text.contains("3 validators signed") && text.ends_with(HOW_TO_REPLACE), "{text}");
    }
}
