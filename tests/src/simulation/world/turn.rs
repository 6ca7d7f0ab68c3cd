//! The earliest event happens: one machine makes one step, and the witness looks at it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use consensus::{Input, Message, Verified};

use super::{Body, Event, HostId, Letter, World};
use crate::simulation::Failure;
use crate::simulation::fault::Fault;

/// What a sync takes on a slow disk.
const SLOW_SYNC: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

impl World {
    pub(super) fn schedule(&mut self, delay: Duration, host: HostId, event: Event) {
        self.schedule_at(self.now + delay, host, event);
    }

    pub(super) fn schedule_at(&mut self, at: Duration, host: HostId, event: Event) {
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
            Event::Executed => self.execute(host),
            Event::Judge => self.judge(host),
            Event::Arrive(item) => self.arrive(host, item),
            Event::Handed(item) => {
                self.machines[host.0].items.insert(item);
                if self.machines[host.0].has_ordered(&item) {
                    return Ok(());
                }
                self.feed(host, Input::Available(vec![item.into()]))
            }
            Event::Connected(other) => match self.index_of(host, other) {
                Some(index) => self.feed(host, Input::Connected(index)),
                None => Ok(()),
            },
            Event::Follow => {
                self.follow(host);
                Ok(())
            }
        }
    }

    fn deliver(&mut self, host: HostId, from: HostId, letter: Letter) -> Result<(), Failure> {
        if self.cut.contains(&(from, host)) {
            return Ok(());
        }
        match letter {
            Letter::Consensus(epoch, body) => {
                let Some(replica) = &self.machines[host.0].replica else { return Ok(()) };
                let mine = replica.context().epoch;
                if epoch < mine {
                    return self.show_end_of(host, from, epoch);
                }
                if epoch > mine {
                    return self.ask_for_end(host, from);
                }
                let verify = |bytes: &[u8]| {
                    Message::decode(bytes).and_then(|message| message.verify(replica.context()))
                };
                match body {
                    Body::Checked(message) => self.hand(host, from, (*message).clone()),
                    Body::Bytes(bytes) => match verify(&bytes) {
                        Ok(message) => self.hand(host, from, message),
                        Err(error) => self.refuse(from, &error),
                    },
                    Body::Forgery(bytes) => match verify(&bytes) {
                        Ok(message) => {
                            Err(self.failure(format!("{host} takes a forgery for good: {message:?}")))
                        }
                        Err(error) => self.refuse(from, &error),
                    },
                }
            }
            Letter::WantBlocks(after) => {
                if let Some(answer) = self.serve(host, after) {
                    self.post(host, from, Letter::Blocks(after, answer.into()));
                }
                Ok(())
            }
            Letter::Blocks(after, range) => self.take_range(host, from, after, &range),
        }
    }

    /// Observers are served, but have no voice. What proves itself may come from anybody.
    fn hand(&mut self, host: HostId, from: HostId, message: Verified<Message>) -> Result<(), Failure> {
        self.heard(host, &message)?;
        match self.index_of(host, from) {
            Some(from) => self.feed(host, Input::Received { from, message }),
            None => match message.into_checkpoint_certificate() {
                Some(certificate) => self.feed(host, Input::Certified(certificate)),
                None => Ok(()),
            },
        }
    }

    /// The place of `other` among those who have a voice where `host` is.
    fn index_of(&self, host: HostId, other: HostId) -> Option<genesis::ValidatorIndex> {
        let replica = self.machines[host.0].replica.as_ref()?;
        replica.context().validators.by_network_key(&self.machines[other.0].network)
    }

    /// A replica takes a step.
    pub(super) fn feed(&mut self, host: HostId, input: Input) -> Result<(), Failure> {
        let machine = &mut self.machines[host.0];
        let now = machine.clock.read(self.now);
        if !machine.byzantine {
            self.witness.allowed(now.clock.plus(self.plan.most_clock_bound_ms()));
        }
        let Some(replica) = &mut machine.replica else { return Ok(()) };
        let stepped = catch_unwind(AssertUnwindSafe(|| replica.step(now, input)));
        let output = stepped.map_err(|panic| self.failure(format!("{host} panics: {}", said(&*panic))))?;
        self.take(host, output)
    }

    pub(super) fn take(&mut self, host: HostId, output: consensus::Output) -> Result<(), Failure> {
        self.machines[host.0].journal.put(output);
        self.write(host)?;
        let cap = self.cap();
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

pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}
