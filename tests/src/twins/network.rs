//! Runs one case. Deterministic: every message takes the same time, hosts act in the order of what reaches them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use consensus::message::Fetch;
use consensus::message::VoteKind;
use consensus::output::Recipient;
use consensus::{
    Action, Block, Certificate, Checkpoint, CheckpointCertificate, Evidence, Executed, Finality, Input,
    Message, Now, Output, Replica, Tip, Verdict, Verified,
};
use genesis::{Configuration, Digest, Domain, Height, Parameters, ValidatorIndex, View};

use super::scenario::{Proposers, Scenario, VALIDATORS};
use crate::founding::{Founding, item};

/// How long a message takes.
const DELAY: Duration = Duration::from_millis(20);
/// When the network heals at the latest: after the time-outs of as many views as there are rounds.
const LAST_ROUND: Duration = Duration::from_secs(40);
/// How long a healed network has at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// In how many views a healed network must order something new: the leaders' turns, twice over, and what it takes to
/// come together.
pub const VIEWS_TO_HEAL: u64 = 10;
/// Of how many messages the signatures are remembered as checked.
const REMEMBERED: usize = 100_000;

/// What became of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many views a healed network took to order something new, or what does not hold.
    pub result: Result<u64, String>,
    /// How many steps the replicas made.
    pub steps: u64,
    /// Whether a block was final before the heal.
    pub final_before_heal: bool,
    /// Whether two different things were signed where one was due.
    pub equivocated: bool,
}

/// Runs cases, one after the other.
#[derive(Debug)]
pub struct Network {
    founding: Founding,
    checked: BTreeMap<Digest, Rc<Verified<Message>>>,
}

#[derive(Debug)]
enum Event {
    Deliver { from: ValidatorIndex, message: Rc<Verified<Message>> },
    Wake,
    Synchronize,
}

#[derive(Debug)]
struct Host {
    index: ValidatorIndex,
    replica: Replica,
    wake: Option<Duration>,
    chain: Vec<(Block, Option<Certificate>)>,
    ordered: BTreeSet<Digest>,
    /// What the blocks came to: a running hash.
    state: Digest,
    certified: BTreeMap<Height, CheckpointCertificate>,
}

/// One case under way.
struct Run<'a> {
    network: &'a mut Network,
    scenario: &'a Scenario,
    hosts: Vec<Host>,
    queue: BTreeMap<(Duration, u64), (usize, Event)>,
    now: Duration,
    sequence: u64,
    steps: u64,
    healed: bool,
    /// The one chain.
    chain: Vec<Digest>,
    /// What each host, and each validator, said first of each kind in each view.
    said: BTreeMap<(usize, VoteKind, View), Digest>,
    signed: BTreeMap<(ValidatorIndex, VoteKind, View), Digest>,
    equivocated: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// Four validators.
    pub fn new() -> Self {
        genesis::key::known::remember(REMEMBERED);
        let founding = Founding::new(u16::from(VALIDATORS), Parameters::default());
        Self { founding, checked: BTreeMap::new() }
    }

    /// Runs a case from its start.
    pub fn run(&mut self, scenario: &Scenario) -> Outcome {
        let mut run = Run {
            network: self,
            scenario,
            hosts: Vec::new(),
            queue: BTreeMap::new(),
            now: Duration::ZERO,
            sequence: 0,
            steps: 0,
            healed: false,
            chain: Vec::new(),
            said: BTreeMap::new(),
            signed: BTreeMap::new(),
            equivocated: false,
        };
        let mut final_before_heal = false;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run.start()?;
            run.rounds()?;
            final_before_heal = !run.chain.is_empty();
            run.heal()
        }));
        let result = ran.unwrap_or_else(|_| Err("a replica panics".to_owned()));
        Outcome { result, steps: run.steps, final_before_heal, equivocated: run.equivocated }
    }

    /// Checks a message's signatures, once for all who get it.
    fn check(&mut self, message: Message) -> Rc<Verified<Message>> {
        let digest = Digest::of(Domain::StateValue, &message.encode());
        if let Some(checked) = self.checked.get(&digest) {
            return Rc::clone(checked);
        }
        if self.checked.len() > REMEMBERED {
            self.checked.clear();
        }
        let checked = Rc::new(message.verify(&self.founding.context).expect("a replica sends what is valid"));
        self.checked.insert(digest, Rc::clone(&checked));
        checked
    }
}

impl Run<'_> {
    fn start(&mut self) -> Result<(), String> {
        let tip = Tip::genesis(&self.network.founding.genesis);
        for host in 0..self.scenario.hosts() {
            let index = match host.checked_sub(usize::from(VALIDATORS)) {
                None => host as u16,
                Some(twin) => u16::from(self.scenario.twinned[twin]),
            };
            let index = ValidatorIndex(index);
            let now = self.read(host);
            let (replica, output) = self.network.founding.replica(index, now, tip, Vec::new());
            self.hosts.push(Host {
                index,
                replica,
                wake: None,
                chain: Vec::new(),
                ordered: BTreeSet::new(),
                state: Digest::ZERO,
                certified: BTreeMap::new(),
            });
            self.take(host, output)?;
        }
        // P7: all start at once, and nothing is signed: the answers come before the rounds, and are true.
        for host in 0..self.hosts.len() {
            let answerers: Vec<_> = self.network.founding.answerers(self.hosts[host].index).collect();
            for from in answerers {
                let message = self.network.founding.no_vote();
                self.feed(host, Input::Received { from, message })?;
            }
        }
        for host in 0..self.hosts.len() {
            // Twins propose different things: each has something of its own.
            let offers = vec![item(0).into(), item(1 + host as u64).into()];
            self.feed(host, Input::Available(offers))?;
        }
        Ok(())
    }

    /// Until all hosts have left the last round.
    fn rounds(&mut self) -> Result<(), String> {
        let last = self.scenario.rounds.len() as u64;
        while self.hosts.iter().any(|host| host.replica.status().view.0 <= last) && self.turn(LAST_ROUND)? {}
        Ok(())
    }

    /// The network heals; something new waits.
    fn heal(&mut self) -> Result<u64, String> {
        self.healed = true;
        let new = item(1_000);
        let until = self.now + PATIENCE;
        let from = self.highest_view();
        for host in 0..self.hosts.len() {
            self.feed(host, Input::Available(vec![new.into()]))?;
        }
        // Final everywhere, and its result certified.
        let done = |host: &Host| {
            let status = host.replica.status();
            host.ordered.contains(&new) && status.certified == status.tip.height
        };
        while !self.honest().all(done) {
            let views = self.highest_view() - from;
            if views > VIEWS_TO_HEAL || !self.turn(until)? {
                let positions: Vec<_> = self.hosts.iter().map(|host| host.replica.status()).collect();
                return Err(format!(
                    "{views} views and {:?} after the heal something new is not final: {positions:?}",
                    self.now
                ));
            }
        }
        Ok(self.highest_view() - from)
    }

    fn honest(&self) -> impl Iterator<Item = &Host> {
        self.hosts
            .iter()
            .filter(|host| !self.scenario.twinned.iter().any(|twin| u16::from(*twin) == host.index.0))
    }

    fn highest_view(&self) -> u64 {
        self.hosts.iter().map(|host| host.replica.status().view.0).max().unwrap_or(0)
    }

    fn read(&self, host: usize) -> Now {
        // Clocks differ, so that twins do not even agree on a block's time.
        let clock = self.network.founding.genesis.time().plus(1_000 + 3 * host as u64);
        Now { elapsed: self.now, clock: clock.plus(self.now.as_millis() as u64) }
    }

    /// Handles the next event; says whether there was one before `until`.
    fn turn(&mut self, until: Duration) -> Result<bool, String> {
        if self.queue.first_key_value().is_none_or(|((at, _), _)| *at > until) {
            self.now = self.now.max(until);
            return Ok(false);
        }
        let Some(((at, _), (host, event))) = self.queue.pop_first() else { return Ok(false) };
        self.now = at;
        match event {
            Event::Deliver { from, message } => {
                self.feed(host, Input::Received { from, message: (*message).clone() })?;
            }
            Event::Wake if self.hosts[host].wake == Some(at) => {
                self.hosts[host].wake = None;
                self.feed(host, Input::Tick)?;
            }
            Event::Wake => {}
            Event::Synchronize => self.synchronize(host)?,
        }
        Ok(true)
    }

    fn schedule(&mut self, at: Duration, host: usize, event: Event) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (host, event));
    }

    fn feed(&mut self, host: usize, input: Input) -> Result<(), String> {
        self.steps += 1;
        let now = self.read(host);
        let output = self.hosts[host].replica.step(now, input);
        self.take(host, output)
    }

    fn take(&mut self, host: usize, output: Output) -> Result<(), String> {
        let actions = output.persist(|_| Ok::<(), std::convert::Infallible>(()));
        for action in actions.unwrap_or_else(|never| match never {}) {
            match action {
                Action::Send(to, message) => self.send(host, to, message)?,
                Action::Judge(block) => {
                    let ordered = &self.hosts[host].ordered;
                    let repeats = block.payload.iter().any(|item| ordered.contains(item));
                    let verdict = if repeats { Verdict::Invalid } else { Verdict::Valid };
                    self.feed(host, Input::Judged { digest: block.digest(), verdict })?;
                }
                Action::Finalize { closes: Some(_), .. } | Action::Begin { .. } => {
                    return Err("P12: an epoch ends, but nobody voted for a change".to_owned());
                }
                Action::Finalize { block, certificate, closes: None } => {
                    self.finalize(host, block, certificate)?;
                }
                Action::Certified(certificate) => {
                    let certified = &mut self.hosts[host].certified;
                    certified.insert(certificate.checkpoint.height, certificate);
                }
                Action::Accuse(evidence) => self.accused(host, evidence)?,
                Action::Synchronize { .. } => self.schedule(self.now + DELAY, host, Event::Synchronize),
                Action::Halt(fork) => return Err(format!("FORK, as host {host} notices: {fork}")),
            }
        }
        let (now, replica) = (self.read(host), &self.hosts[host].replica);
        let wake = replica.deadline(now);
        if wake != self.hosts[host].wake {
            self.hosts[host].wake = wake;
            if let Some(at) = wake {
                self.schedule(at, host, Event::Wake);
            }
        }
        Ok(())
    }

    fn send(&mut self, host: usize, to: Recipient, message: Message) -> Result<(), String> {
        let from = self.hosts[host].index;
        let round = match &message {
            Message::PrePrepare(proposal) => proposal.candidate.view,
            Message::Vote(vote) => vote.view,
            Message::Certificate(certificate) => certificate.view,
            // Answered before the rounds began.
            Message::Fetch(Fetch::OwnVotes) => return Ok(()),
            Message::Fetch(_)
            | Message::Checkpoint(_)
            | Message::CheckpointCertificate(_)
            | Message::OwnVotes(_)
            | Message::Attestation(_) => self.hosts[host].replica.status().view,
        };
        if let Message::Vote(vote) = &message {
            self.witness(host, vote.kind, vote.view, vote.digest)?;
        }
        if let Message::PrePrepare(proposal) = &message
            && self.network.founding.context.validators.leader(proposal.candidate.view) == from
            && !self.may_propose(host, round)
        {
            return Ok(());
        }
        let message = self.network.check(message);
        for other in 0..self.hosts.len() {
            let index = self.hosts[other].index;
            let meant = match to {
                Recipient::All => index != from,
                Recipient::One(one) => index == one,
            };
            if meant && other != host && self.hears(other, host, round) {
                let message = Rc::clone(&message);
                self.schedule(self.now + DELAY, other, Event::Deliver { from, message });
            }
        }
        Ok(())
    }

    /// Whether `host` hears what `other` says about a view.
    fn hears(&self, host: usize, other: usize, view: View) -> bool {
        let round = view.0.checked_sub(1).and_then(|place| self.scenario.rounds.get(place as usize));
        self.healed || round.is_none_or(|round| round.groups[host] == round.groups[other])
    }

    /// Whether the proposal of this host in a round that it leads is heard.
    fn may_propose(&self, host: usize, view: View) -> bool {
        let round = view.0.checked_sub(1).and_then(|place| self.scenario.rounds.get(place as usize));
        let has_twin = self.scenario.twinned.iter().any(|twin| u16::from(*twin) == self.hosts[host].index.0);
        let first = host < usize::from(VALIDATORS);
        self.healed
            || !has_twin
            || round.is_none_or(|round| match round.proposers {
                Proposers::Both => true,
                Proposers::First => first,
                Proposers::Second => !first,
            })
    }

    /// No host contradicts itself; twins contradict each other.
    fn witness(&mut self, host: usize, kind: VoteKind, view: View, digest: Digest) -> Result<(), String> {
        let first = *self.said.entry((host, kind, view)).or_insert(digest);
        if first != digest {
            return Err(format!("P2: host {host} says {kind:?} twice in view {view}"));
        }
        let said = |kind| self.said.contains_key(&(host, kind, view));
        if said(VoteKind::Commit) && said(VoteKind::ViewChange) {
            return Err(format!("P3, P5: host {host} says COMMIT and VIEW-CHANGE in view {view}"));
        }
        let signed = *self.signed.entry((self.hosts[host].index, kind, view)).or_insert(digest);
        self.equivocated |= signed != digest;
        Ok(())
    }

    fn finalize(
        &mut self,
        host: usize,
        block: Block,
        certificate: Option<Certificate>,
    ) -> Result<(), String> {
        let (height, digest) = (block.height, block.digest());
        let machine = &mut self.hosts[host];
        if height != Height(machine.chain.len() as u64 + 1) {
            return Err(format!("host {host} finalises height {height} after {}", machine.chain.len()));
        }
        if block.payload.iter().any(|item| !machine.ordered.insert(*item)) {
            return Err(format!("P2: host {host} orders something twice, again at height {height}"));
        }
        machine.chain.push((block.clone(), certificate));
        match self.chain.get(height.0 as usize - 1) {
            Some(first) if *first != digest => {
                return Err(format!(
                    "FORK: host {host} finalises {digest} at height {height}, where {first} is final"
                ));
            }
            Some(_) => {}
            None => self.chain.push(digest),
        }
        self.execute(host, &block)
    }

    /// The host has executed a final block, at once.
    fn execute(&mut self, host: usize, block: &Block) -> Result<(), String> {
        let state = [self.hosts[host].state.as_bytes().as_slice(), block.digest().as_bytes()].concat();
        let state = Digest::of(Domain::StateValue, &state);
        self.hosts[host].state = state;
        let checkpoint = Checkpoint {
            epoch: block.epoch,
            height: block.height,
            block: block.digest(),
            time: block.time,
            state_root: state,
            receipts_root: Digest::ZERO,
            configuration: Configuration::of(&self.network.founding.genesis).digest(),
            pending: None,
        };
        self.feed(host, Input::Executed(Executed { checkpoint, next: None }))
    }

    /// Evidence proves something, and only against twins (P13).
    fn accused(&self, host: usize, evidence: Evidence) -> Result<(), String> {
        let context = &self.network.founding.context;
        let accused = context.validators.by_consensus_key(&evidence.validator);
        evidence.verify(context).map_err(|error| format!("P13: an accusation proves nothing: {error}"))?;
        match accused {
            Some(index) if self.scenario.twinned.iter().any(|twin| u16::from(*twin) == index.0) => Ok(()),
            _ => Err(format!("P13: host {host} accuses {accused:?}, which keeps the rules")),
        }
    }

    /// Hands over final blocks from the first host within reach that has more.
    fn synchronize(&mut self, host: usize) -> Result<(), String> {
        let after = self.hosts[host].chain.len();
        let view = self.hosts[host].replica.status().view;
        let others = (0..self.hosts.len()).filter(|other| self.hears(host, *other, view));
        let answer = others.into_iter().find_map(|other| {
            let other = &self.hosts[other];
            let later = other.chain.get(after..)?;
            let finality = |(block, certificate): &(Block, Option<Certificate>)| {
                let commit = certificate.clone().map(Finality::Commit);
                let executed = || {
                    let certificate = other.certified.get(&block.height)?;
                    Some(Finality::Checkpoint(certificate.clone()))
                };
                commit.or_else(executed)
            };
            let (last, finality) =
                later.iter().enumerate().rev().find_map(|(place, entry)| Some((place, finality(entry)?)))?;
            let candidates = later[..=last].iter().map(|(block, _)| block.candidate().clone()).collect();
            let cited = other.certified.get(&later[last].0.cites.height).cloned();
            Some((candidates, finality, cited))
        });
        let Some((candidates, finality, cited)) = answer else { return Ok(()) };
        let context = &self.network.founding.context;
        let wrong = |error| format!("a stored certificate proves nothing: {error}");
        let finality = finality.verify(context).map_err(wrong)?;
        let cited = cited.map(|cited| cited.verify(context)).transpose().map_err(wrong)?;
        self.feed(host, Input::Synced { candidates, finality, cited })
    }
}
