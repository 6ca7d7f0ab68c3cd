//! The loop that drives a replica, as `node::driver` has it: input → step → persist → perform.
//!
//! A turn takes what is here by its beginning, up to [`BURST`] of a kind. Its steps cost time on the driver's core; then its
//! records take a sync, in which the core is free for others and the driver waits; then its actions are performed. What these
//! ask for in turn goes the same way, until nothing follows.

use std::time::Instant;

use consensus::{Action, Input, Message, Recipient, Verdict};
use genesis::ValidatorIndex;

use super::Nanos;
use super::costs::us;
use super::holders::{BatchId, Payload};
use super::machine::{Final, Lane, Letter, News, Work};
use super::network::{Event, Network};

/// How many inputs of a kind share one sync at most.
const BURST: usize = 128;
/// How many blocks one answer has at most.
const BLOCKS_AN_ANSWER: usize = 128;

impl Network {
    /// Plans the driver's next turn, unless one is under way or planned that is early enough.
    pub(super) fn plan_turn(&mut self, index: ValidatorIndex) {
        let now = self.now;
        let machine = self.machine(index);
        let driver = &machine.driver;
        if driver.is_busy {
            return;
        }
        let frame = machine.inbox.front().map(|(here, ..)| *here);
        let something = !machine.news.is_empty() || !driver.output.is_empty();
        let wanted = [frame, something.then_some(now), driver.deadline];
        let Some(at) = wanted.into_iter().flatten().min() else { return };
        let at = at.max(driver.busy_until).max(now);
        if driver.turn_at.is_none_or(|planned| at < planned) {
            machine.driver.turn_at = Some(at);
            self.schedule(at, index, Event::Turn);
        }
    }

    pub(super) fn turn(&mut self, index: ValidatorIndex) {
        let now = self.now;
        let machine = self.machine(index);
        if machine.driver.turn_at != Some(now) || machine.driver.is_busy {
            return; // An earlier one was planned instead.
        }
        machine.driver.turn_at = None;
        machine.driver.is_busy = true;
        machine.driver.since = now;
        for _ in 0..BURST {
            let inbox = &mut self.machine(index).inbox;
            if inbox.front().is_none_or(|(here, ..)| *here > now) {
                break;
            }
            let Some((_, from, letter, bytes)) = inbox.pop_front() else { break };
            let cost = self.plan.costs.frame(bytes);
            self.spend(index, Work::Receive, cost);
            self.read(index, from, &letter);
        }
        for _ in 0..BURST {
            let Some(news) = self.machine(index).news.pop_front() else { break };
            self.hear(index, news);
        }
        if self.machine(index).driver.deadline.is_some_and(|deadline| deadline <= now) {
            self.step(index, Input::Tick);
        }
        self.compute_turn(index);
    }

    /// The steps so far take their time.
    fn compute_turn(&mut self, index: ValidatorIndex) {
        let now = self.now;
        let machine = self.machine(index);
        let cost = std::mem::take(&mut machine.driver.cost);
        let core = machine.core_of(Lane::Driver);
        let done = machine.cores[core].urgent(now, cost);
        if machine.driver.output.is_empty() && machine.driver.acknowledge.is_empty() {
            return self.rest(index, done);
        }
        self.schedule(done, index, Event::Computed);
    }

    /// Acknowledges, and makes durable what the steps asked for.
    pub(super) fn computed(&mut self, index: ValidatorIndex) {
        self.acknowledge(index);
        let output = std::mem::take(&mut self.machine(index).driver.output);
        let mut records = 0;
        let append = |new: &[consensus::Record]| {
            records = new.len();
            Ok::<(), std::convert::Infallible>(())
        };
        let actions = output.persist(append).unwrap_or_else(|never| match never {});
        self.machine(index).driver.actions = actions;
        if records > 0 {
            let sync = us(self.plan.costs.sync_us);
            return self.schedule(self.now + sync, index, Event::Synced);
        }
        self.synced(index);
    }

    pub(super) fn synced(&mut self, index: ValidatorIndex) {
        for action in std::mem::take(&mut self.machine(index).driver.actions) {
            self.perform(index, action);
        }
        if self.machine(index).driver.output.is_empty() {
            // What was gathered to be acknowledged waits for the next turn.
            let now = self.now;
            let machine = self.machine(index);
            let cost = std::mem::take(&mut machine.driver.cost);
            let core = machine.core_of(Lane::Driver);
            let done = machine.cores[core].urgent(now, cost);
            return self.rest(index, done);
        }
        self.compute_turn(index);
    }

    /// The turn ends at `done`.
    fn rest(&mut self, index: ValidatorIndex, done: Nanos) {
        let clock = self.clock();
        let gather = Nanos::from(self.plan.gather_acknowledgements);
        let machine = self.machine(index);
        let deadline = machine.replica.deadline(clock).map(Nanos::from);
        let driver = &mut machine.driver;
        driver.is_busy = false;
        driver.busy_until = done;
        let since = driver.since;
        driver.occupied += done.since(since);
        let flush = (!driver.acknowledge.is_empty()).then(|| driver.acknowledged_at + gather);
        driver.deadline = deadline.into_iter().chain(flush).min();
        self.plan_turn(index);
    }

    pub(super) fn step(&mut self, index: ValidatorIndex, input: Input) {
        let (clock, cost) = (self.clock(), self.plan.costs.step_us);
        let started = Instant::now();
        let machine = self.machine(index);
        let output = machine.replica.step(clock, input);
        machine.driver.output.merge(output);
        self.tally.stepped += started.elapsed();
        self.tally.steps += 1;
        self.spend(index, Work::Steps, us(cost));
    }

    /// A frame is read.
    fn read(&mut self, index: ValidatorIndex, from: ValidatorIndex, letter: &Letter) {
        match letter {
            Letter::Consensus(message) => {
                let (work, cost) = self.check_cost(message);
                self.spend(index, work, cost);
                self.step(index, Input::Received { from, message: message.clone() });
            }
            Letter::Held(batches) => {
                let cost = self.plan.costs.held(batches.len(), usize::from(self.plan.validators));
                let now = self.now;
                self.spend(index, Work::Held, cost);
                let holders = &mut self.machine(index).holders;
                let mut offers = Vec::new();
                for batch in batches {
                    if holders.held_by(from, *batch, now) {
                        offers.push(*batch);
                    }
                }
                self.available(index, &offers);
            }
            Letter::Want(batches) => {
                let held: Vec<_> = batches
                    .iter()
                    .copied()
                    .filter(|it| self.machines[usize::from(index.0)].holders.holds(*it))
                    .collect();
                for batch in held {
                    self.push(index, &[from], batch, true);
                }
            }
            Letter::WantBlocks(after) => {
                if let Some(answer) = self.blocks_after(index, *after) {
                    self.send(index, &[from], answer);
                }
            }
            Letter::Blocks(candidates, finality, cited) => {
                let signatures = 2 * self.founding.context.validators.quorum();
                let cost = us(self.plan.costs.certificate_check_us * signatures as f64);
                self.spend(index, Work::Certificates, cost);
                let (candidates, finality, cited) = (candidates.clone(), finality.clone(), cited.clone());
                self.step(index, Input::Synced { candidates, finality, cited });
            }
        }
    }

    /// What checking a message's signatures costs.
    fn check_cost(&self, message: &Message) -> (Work, Nanos) {
        let costs = &self.plan.costs;
        let single = |count: usize| (Work::Signatures, us(costs.signature_check_us * count as f64));
        let many = |count: usize| (Work::Certificates, us(costs.certificate_check_us * count as f64));
        match message {
            Message::PrePrepare(_) | Message::Vote(_) | Message::Checkpoint(_) => single(1),
            Message::Certificate(certificate) => many(certificate.signatures.len()),
            Message::CheckpointCertificate(certificate) => many(certificate.signatures.len()),
            Message::OwnVotes(votes) => single(votes.len()),
            // The answer's own signature beside those of its certificate.
            Message::Attestation(answer) => {
                many(1 + answer.entry.as_ref().map_or(0, |entry| entry.signatures.len()))
            }
            Message::Fetch(_) => single(0),
        }
    }

    fn hear(&mut self, index: ValidatorIndex, news: News) {
        match news {
            News::Held(batches) => {
                let now = self.now;
                let machine = self.machine(index);
                machine.driver.acknowledge.extend(&batches);
                let mut offers = Vec::new();
                for batch in batches {
                    machine.driver.wanted.remove(&batch);
                    if machine.holders.hold(batch, now) {
                        offers.push(batch);
                    }
                }
                self.available(index, &offers);
                self.judge_again(index);
            }
            News::Again(batch) => self.machine(index).driver.acknowledge.push(batch),
            News::Executed(checkpoint) => {
                self.step(index, Input::Executed(consensus::Executed { checkpoint, next: None }));
            }
        }
    }

    fn available(&mut self, index: ValidatorIndex, offers: &[BatchId]) {
        if !offers.is_empty() {
            let offers = offers.iter().map(|batch| self.batch(*batch).digest.into()).collect();
            self.step(index, Input::Available(offers));
        }
    }

    fn perform(&mut self, index: ValidatorIndex, action: Action) {
        match action {
            Action::Send(to, message) => self.say(index, to, message),
            Action::Judge(block) => {
                self.machine(index).driver.judging = Some(block);
                self.judge_again(index);
            }
            Action::Finalize { block, certificate, .. } => {
                let batches = self.named_by(&block.payload);
                let now = self.now;
                self.machine(index).holders.order(&batches, now);
                if !batches.is_empty() {
                    self.step(index, Input::Withdrawn(block.payload.clone()));
                }
                self.note_final(index, &block, certificate, &batches);
                self.machine(index).finals.push_back(Final { block, batches });
                self.execute(index);
            }
            Action::Certified(certificate) => {
                self.checkpoints.entry(certificate.checkpoint.height).or_insert(certificate);
            }
            Action::Synchronize { after } => {
                self.tally.synchronized += 1;
                let peers = self.others(index, 0);
                if let Some(peer) = self.chance.pick(&peers) {
                    self.send(index, &[peer], Letter::WantBlocks(after));
                }
            }
            Action::Begin { .. } | Action::Accuse(_) | Action::Halt(_) => {
                panic!("{index:?} among the honest, with one epoch: {action:?}")
            }
        }
    }

    /// Sends a replica's message.
    fn say(&mut self, index: ValidatorIndex, to: Recipient, message: Message) {
        let receivers = match to {
            Recipient::All => self.others(index, 0),
            Recipient::One(peer) => vec![peer],
        };
        let signs = match &message {
            Message::PrePrepare(_) | Message::Vote(_) | Message::Checkpoint(_) => to == Recipient::All,
            Message::Attestation(_) => true,
            _ => false,
        };
        if signs {
            let cost = us(self.plan.costs.sign_us);
            self.spend(index, Work::Signatures, cost);
        }
        if let Message::Vote(vote) = &message
            && vote.kind == consensus::message::VoteKind::ViewChange
            && self.is_measured()
        {
            self.tally.given_up += 1;
        }
        let checked = message.verify(&self.founding.context);
        let checked =
            checked.unwrap_or_else(|error| panic!("an honest replica's message is refused: {error}"));
        self.send(index, &receivers, Letter::Consensus(checked));
    }

    /// Answers the replica's question about a payload, if it can be answered now; else asks the leader for what is missing.
    pub(super) fn judge_again(&mut self, index: ValidatorIndex) {
        let machine = self.machine(index);
        let view = machine.replica.status().view;
        let Some(block) = machine.driver.judging.clone().filter(|block| block.view == view) else {
            machine.driver.judging = None;
            return;
        };
        let batches = self.named_by(&block.payload);
        let verdict = match self.machine(index).holders.judge(&batches) {
            Payload::Ready => Verdict::Valid,
            Payload::Invalid => Verdict::Invalid,
            Payload::Missing(missing) => {
                let leader = self.founding.context.validators.leader(block.view);
                return self.want(index, leader, missing);
            }
        };
        self.machine(index).driver.judging = None;
        self.step(index, Input::Judged { digest: block.digest(), verdict });
    }

    pub(super) fn named_by(&self, payload: &[genesis::Digest]) -> Vec<BatchId> {
        let name = |digest| *self.names.get(digest).unwrap_or_else(|| panic!("nobody made batch {digest}"));
        payload.iter().map(name).collect()
    }

    /// Final blocks after `after`, up to the last one here that has a certificate of its own.
    fn blocks_after(&self, index: ValidatorIndex, after: genesis::Height) -> Option<Letter> {
        let tip = self.machines[usize::from(index.0)].replica.status().tip.height;
        let from = after.0 as usize;
        let to = (tip.0 as usize).min(self.chain.len()).min(from + BLOCKS_AN_ANSWER);
        let range = self.chain.get(from..to)?;
        let proven = range.iter().rposition(|(_, certificate)| certificate.is_some())?;
        let (last, certificate) = &range[proven];
        let finality = consensus::Finality::Commit(certificate.clone()?);
        let finality = finality.verify(&self.founding.context).ok()?;
        let cited = self.checkpoints.get(&last.cites.height).cloned();
        let cited = cited.and_then(|cited| cited.verify(&self.founding.context).ok());
        let candidates = range[..=proven].iter().map(|(block, _)| block.candidate().clone()).collect();
        Some(Letter::Blocks(candidates, finality, cited))
    }
}
