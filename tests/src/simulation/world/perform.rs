//! What a replica asks for is done, and letters are carried.

use std::rc::Rc;
use std::time::Duration;

use consensus::message::{Fetch, VoteKind};
use consensus::{Action, Message, Recipient};
use genesis::{Digest, Domain, Epoch};

use super::{Body, Event, HostId, Letter, Sent, World};
use crate::say::say;
use crate::simulation::Failure;
use crate::simulation::machine::Final;

/// How many checked messages are remembered, so that one sent again is not checked again.
const CHECKED: usize = 20_000;

impl World {
    pub(super) fn perform(&mut self, host: HostId, actions: Vec<Action>) -> Result<(), Failure> {
        for action in actions {
            match action {
                Action::Send(to, message) => self.send(host, to, &message)?,
                Action::Judge(block) => {
                    self.machines[host.0].judging = Some(block);
                    let delay = self.chance.duration(self.plan.judge);
                    self.schedule(delay, host, Event::Judge);
                }
                Action::Finalize { block, certificate, closes } => {
                    let machine = &self.machines[host.0];
                    self.witness
                        .finalized(host, machine, &block, certificate.as_ref(), closes)
                        .map_err(|what| self.failure(what))?;
                    if !machine.byzantine && block.payload.iter().any(|item| self.garbage.contains(item)) {
                        return Err(self.failure(format!("P2: {host} finalises garbage: {block:?}")));
                    }
                    if self.plan.narrate {
                        say(format_args!(
                            "{:?} {host} finalises {} {block:?} {closes:?}",
                            self.now(),
                            block.height
                        ));
                    }
                    let machine = &mut self.machines[host.0];
                    machine.final_height = block.height;
                    machine.to_execute.push_back(Final { block, commit: certificate, closes });
                    if machine.to_execute.len() == 1 {
                        self.execute_next(host);
                    }
                }
                Action::Certified(certificate) => {
                    self.witness.certified(&certificate).map_err(|what| self.failure(what))?;
                    self.machines[host.0].store.put_checkpoint(certificate);
                }
                Action::Begin { epoch, configuration, opening } => {
                    self.begin(host, epoch, &configuration, opening)?;
                }
                Action::Accuse(evidence) => self.accused(host, evidence)?,
                Action::Synchronize { after } => self.want_blocks(host, after),
                Action::Halt(why) => return Err(self.failure(format!("{host} halts: {why}"))),
            }
        }
        Ok(())
    }

    fn send(&mut self, host: HostId, to: Recipient, message: &Message) -> Result<(), Failure> {
        let bytes = message.encode();
        let machine = &self.machines[host.0];
        if !machine.byzantine {
            self.witness.sent(host, machine, message, bytes.len()).map_err(|what| self.failure(what))?;
        }
        if self.plan.narrate {
            say(format_args!("{:?} {host} to {to:?}: {message:?}", self.now()));
        }
        let (epoch, network) = (self.machines[host.0].epoch, self.machines[host.0].network);
        let name = Digest::of(Domain::Batch, &bytes);
        self.note(&name.as_bytes()[..8]);
        if let Some(log) = &mut self.log {
            log.push(Sent { at: self.now, by: host, what: kind(message) });
        }
        if self.machines[host.0].adversary.is_some() {
            return self.send_by_adversary(host, to, message);
        }
        if self.machines[host.0].byzantine {
            self.note_twin(host, message);
        }
        let body = self.body(host, epoch, message, bytes, name)?;
        for other in self.meant(epoch, to) {
            let same = self.machines[other.0].network == network;
            let dropped = self.filter.as_mut().is_some_and(|drops| drops(host, other, message));
            if !same && !dropped {
                self.post(host, other, Letter::Consensus(epoch, body.clone()));
            }
        }
        Ok(())
    }

    /// The machines that `to` means in `epoch`, in the order of the machines.
    pub(super) fn meant(&self, epoch: Epoch, to: Recipient) -> Vec<HostId> {
        let validators = &self.contexts[epoch.0 as usize].validators;
        let meant = |host: &HostId| match (to, validators.by_network_key(&self.machines[host.0].network)) {
            (Recipient::All, index) => index.is_some(),
            (Recipient::One(peer), index) => index == Some(peer),
        };
        self.hosts().into_iter().filter(meant).collect()
    }

    /// What a message that must be right is carried as.
    pub(super) fn body(
        &mut self,
        host: HostId,
        epoch: Epoch,
        message: &Message,
        bytes: Vec<u8>,
        name: Digest,
    ) -> Result<Body, Failure> {
        if self.plan.as_bytes {
            return Ok(Body::Bytes(bytes.into()));
        }
        match self.check(epoch, name, message) {
            Some(checked) => Ok(Body::Checked(checked)),
            None => Err(self.failure(format!("{host} sends what does not verify: {message:?}"))),
        }
    }

    /// Checks a message of `epoch`, which has begun, once for all receivers.
    pub(super) fn check(
        &mut self,
        epoch: Epoch,
        name: Digest,
        message: &Message,
    ) -> Option<Rc<consensus::Verified<Message>>> {
        if let Some(checked) = self.checked.get(&(epoch, name)) {
            return checked.clone();
        }
        if self.checked.len() >= CHECKED {
            self.checked.clear();
        }
        let context = self.contexts.get(epoch.0 as usize)?;
        let checked = message.clone().verify(context).ok().map(Rc::new);
        self.checked.insert((epoch, name), checked.clone());
        checked
    }

    /// Puts a letter under way.
    pub(super) fn post(&mut self, from: HostId, to: HostId, letter: Letter) {
        self.post_after(Duration::ZERO, from, to, letter);
    }

    /// Puts a letter under way, held back by its sender for a while.
    pub(super) fn post_after(&mut self, after: Duration, from: HostId, to: HostId, letter: Letter) {
        if self.cut.contains(&(from, to)) {
            return;
        }
        let mut copies = 1;
        if self.faulty_links {
            if self.chance.percent(self.plan.loss_percent) {
                copies = 0;
            } else if self.chance.percent(self.plan.twice_percent) {
                copies = 2;
            }
        }
        for _ in 0..copies {
            let late = self.faulty_links && self.chance.percent(self.plan.late_percent);
            let range = if late { self.plan.late } else { self.plan.delay };
            let delay = self.chance.duration(range).max(Duration::from_micros(1));
            self.schedule(after + delay, to, Event::Deliver { from, letter: letter.clone() });
        }
    }
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::PrePrepare(_) => "pre-prepare",
        Message::Vote(vote) => match vote.kind {
            VoteKind::Prepare => "prepare",
            VoteKind::Commit => "commit",
            VoteKind::ViewChange => "view-change",
        },
        Message::Certificate(_) => "certificate",
        Message::Fetch(Fetch::Newest { .. }) => "fetch newest",
        Message::Fetch(Fetch::Candidate(_)) => "fetch candidate",
        Message::Fetch(Fetch::Certificates { .. }) => "fetch certificates",
        Message::Fetch(Fetch::Checkpoint(_)) => "fetch checkpoint",
        Message::Fetch(Fetch::OwnVotes) => "fetch own vote",
        Message::Fetch(Fetch::Attestation(_)) => "fetch attestation",
        Message::Checkpoint(_) => "checkpoint",
        Message::CheckpointCertificate(_) => "checkpoint certificate",
        Message::OwnVotes(_) => "own vote",
        Message::Attestation(_) => "attestation",
    }
}
