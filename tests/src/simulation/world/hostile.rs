//! What Byzantine machines see, and how what they send is carried.

use std::fmt::Display;
use std::time::Duration;

use consensus::{Evidence, Message, Recipient};
use genesis::{Digest, Domain, Height};

use super::{Body, Event, HostId, Letter, World};
use crate::say::say;
use crate::simulation::Failure;
use crate::simulation::adversary::{Adversary, Content, Deeds, Kind, Parcel, Scene};
use crate::simulation::store::Range;

impl World {
    /// What the machine sees; `None` while it is down.
    fn scene(&self, host: HostId) -> Option<Scene> {
        let status = self.status(host)?;
        let me = self.machines[host.0].network;
        let validators = &self.contexts[self.machines[host.0].epoch.0 as usize].validators;
        let others = self.machines.iter().enumerate().filter(|(_, machine)| machine.network != me);
        let peers = others.filter_map(|(place, machine)| {
            Some((HostId(place), validators.by_network_key(&machine.network)?))
        });
        let peers = peers.collect();
        Some(Scene { now: self.now, view: status.view, tip: status.tip, peers })
    }

    /// Lets the adversary of `host`, if it has one, act.
    fn act<T>(&mut self, host: HostId, act: impl FnOnce(&mut Adversary, &Scene) -> T) -> Option<T> {
        let scene = self.scene(host)?;
        let machine = &mut self.machines[host.0];
        let adversary = machine.adversary.as_mut()?;
        adversary.enter(&self.contexts[machine.epoch.0 as usize]);
        let result = act(adversary, &scene);
        for item in std::mem::take(&mut adversary.garbage) {
            self.garbage.insert(item);
            // Whoever asks for it gets it.
            self.machines[host.0].items.insert(item);
        }
        Some(result)
    }

    /// The replica of a Byzantine machine wants to send `message`.
    pub(super) fn send_by_adversary(
        &mut self,
        host: HostId,
        to: Recipient,
        message: &Message,
    ) -> Result<(), Failure> {
        let parcels = self.act(host, |adversary, scene| adversary.sends(scene, to, message));
        self.dispatch(host, parcels.unwrap_or_default());
        Ok(())
    }

    /// `message` has reached `host`.
    pub(super) fn heard(&mut self, host: HostId, message: &Message) -> Result<(), Failure> {
        let machine = &self.machines[host.0];
        let same = machine.replica.as_ref().is_some_and(|replica| replica.context().epoch == machine.epoch);
        if same && machine.adversary.is_some() {
            let parcels = self.act(host, |adversary, scene| adversary.hears(scene, message));
            self.dispatch(host, parcels.unwrap_or_default());
        }
        Ok(())
    }

    /// What `host` answers to who wants the blocks after `after`.
    pub(super) fn serve(&mut self, host: HostId, after: Height) -> Option<Range> {
        let honest = self.machines[host.0].store.after(after);
        let early = self.machines[host.0].store.after(Height::ZERO);
        if self.machines[host.0].adversary.is_none() {
            return Some(honest);
        }
        self.act(host, |adversary, scene| adversary.serves(scene, honest, early))?
    }

    fn dispatch(&mut self, host: HostId, parcels: Vec<Parcel>) {
        for Parcel { to, after, content } in parcels {
            if self.plan.narrate {
                say(format_args!("{:?} {host}, Byzantine, to {to} after {after:?}: {content:?}", self.now));
            }
            let epoch = self.machines[host.0].epoch;
            let body = match content {
                Content::Batch(item) => {
                    self.machines[host.0].items.insert(item);
                    if !self.cut.contains(&(host, to)) {
                        self.schedule(after + self.plan.delay.1, to, Event::Handed(item));
                    }
                    continue;
                }
                Content::Forgery(message) => Body::Forgery(message.encode().into()),
                Content::Message(message) => {
                    let dropped = self.filter.as_mut().is_some_and(|drops| drops(host, to, &message));
                    if dropped {
                        continue;
                    }
                    let bytes = message.encode();
                    if self.plan.as_bytes {
                        Body::Bytes(bytes.into())
                    } else {
                        match self.check(epoch, Digest::of(Domain::Batch, &bytes), &message) {
                            Some(checked) => Body::Checked(checked),
                            None => {
                                self.refused += 1;
                                continue;
                            }
                        }
                    }
                }
            };
            self.post_after(after, host, to, Letter::Consensus(epoch, body));
        }
    }

    /// A receiver refuses what `from` sent. Of an honest machine that is a failure.
    pub(super) fn refuse(&mut self, from: HostId, error: &dyn Display) -> Result<(), Failure> {
        if !self.machines[from.0].byzantine {
            return Err(self.failure(format!("what {from} sends is refused: {error}")));
        }
        self.refused += 1;
        Ok(())
    }

    /// A machine accuses a validator of having contradicted itself (P13): only those may be who did.
    pub(super) fn accused(&mut self, host: HostId, evidence: Evidence) -> Result<(), Failure> {
        let key = evidence.validator;
        let context = self.contexts.get(evidence.epoch.0 as usize).cloned();
        let holds = context.is_some_and(|context| evidence.clone().verify(&context).is_ok());
        if !holds {
            return Err(self.failure(format!("P13: {host} shows evidence that proves nothing: {evidence:?}")));
        }
        self.witness.accused(&evidence);
        let accused = self.machines.iter().find(|machine| machine.secret.public() == key);
        if accused.is_none_or(|machine| !machine.byzantine && !machine.restored) {
            return Err(self.failure(format!("P13: {host} accuses an honest validator: {evidence:?}")));
        }
        Ok(())
    }

    /// Counts where the second half of a pair of twins votes in a view.
    pub(super) fn note_twin(&mut self, host: HostId, message: &Message) {
        let Message::Vote(vote) = message else { return };
        let machine = &self.machines[host.0];
        if machine.member >= self.plan.twins {
            return;
        }
        let place = (machine.epoch, vote.voter, vote.view, vote.kind);
        let first = *self.halves.entry(place).or_insert(host);
        if first != host {
            self.deeds.count(Kind::Double);
        }
    }

    /// What all Byzantine machines did, by kind.
    pub fn all_deeds(&self) -> Deeds {
        let mut all = self.deeds;
        for adversary in self.machines.iter().filter_map(|machine| machine.adversary.as_ref()) {
            all.add(&adversary.deeds);
        }
        all
    }

    /// A machine's disk is slow for `time`.
    pub fn slow_disk(&mut self, host: HostId, time: Duration) {
        self.machines[host.0].slow_until = self.now + time;
    }
}
