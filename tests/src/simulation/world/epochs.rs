//! Epochs, as the node's driver handles them: who is in which, and how one that is behind hears of the next (P12).

use std::time::Duration;

use consensus::message::Fetch;
use consensus::{CheckpointCertificate, Context, Message};
use genesis::{Configuration, Digest, Domain, Epoch};

use super::{HostId, Letter, World};
use crate::say::say;
use crate::simulation::Failure;

/// How often one peer is told that an epoch is over, or asked what came after this one.
const EPOCH_PAUSE: Duration = Duration::from_millis(200);

impl World {
    /// `host` is in `epoch`, and takes `configuration` for its own: as everybody does, or that is a failure.
    pub(super) fn note_epoch(
        &mut self,
        host: HostId,
        epoch: Epoch,
        configuration: &Configuration,
    ) -> Result<(), Failure> {
        let noted = self.witness.begins(host, epoch, configuration);
        let is_new = noted.map_err(|what| self.failure(what))?;
        if is_new {
            let validators = configuration.validators.clone();
            self.contexts.push(Context { chain: self.genesis.chain(), epoch, validators });
        }
        Ok(())
    }

    /// A replica says that a new epoch has begun. Whoever had a seat, or has one now, is told what closed the one before.
    pub(super) fn begin(
        &mut self,
        host: HostId,
        epoch: Epoch,
        configuration: &Configuration,
        opening: CheckpointCertificate,
    ) -> Result<(), Failure> {
        self.note_epoch(host, epoch, configuration)?;
        let machine = &mut self.machines[host.0];
        machine.store.put_checkpoint(opening.clone());
        machine.epoch = epoch;
        machine.index = configuration.validators.by_consensus_key(&machine.secret.public());
        machine.about_epochs.clear();
        machine.judging = None;
        if self.plan.narrate {
            say(format_args!("{:?} {host} begins epoch {epoch}", self.now));
        }
        let message = Message::CheckpointCertificate(opening);
        for other in self.hosts().into_iter().filter(|other| *other != host) {
            self.send_aside(host, other, epoch.previous(), &message)?;
        }
        self.follow_later(host);
        Ok(())
    }

    /// Whether `host` may write to `peer` about epochs now.
    fn may_speak_of_epochs(&mut self, host: HostId, peer: HostId) -> bool {
        let now = self.now;
        let about = &mut self.machines[host.0].about_epochs;
        let may = about.get(&peer).is_none_or(|last| now - *last >= EPOCH_PAUSE);
        if may {
            about.insert(peer, now);
        }
        may
    }

    /// Who still speaks of an epoch that is over gets what closed it.
    pub(super) fn show_end_of(&mut self, host: HostId, peer: HostId, epoch: Epoch) -> Result<(), Failure> {
        if !self.may_speak_of_epochs(host, peer) {
            return Ok(());
        }
        match self.machines[host.0].store.closing_of(epoch).cloned() {
            Some(closing) => self.send_aside(host, peer, epoch, &Message::CheckpointCertificate(closing)),
            None => Ok(()),
        }
    }

    /// A peer is in a later epoch: it is asked, in this one, how that ended.
    pub(super) fn ask_for_end(&mut self, host: HostId, peer: HostId) -> Result<(), Failure> {
        if !self.may_speak_of_epochs(host, peer) {
            return Ok(());
        }
        let Some(status) = self.status(host) else { return Ok(()) };
        let newest = Fetch::Newest { view: status.view, finalized: status.tip.view };
        self.send_aside(host, peer, status.epoch, &Message::Fetch(newest))?;
        self.want_blocks(host, status.tip.height);
        Ok(())
    }

    /// The node says something that its replica did not ask for.
    fn send_aside(
        &mut self,
        host: HostId,
        to: HostId,
        epoch: Epoch,
        message: &Message,
    ) -> Result<(), Failure> {
        let machine = &self.machines[host.0];
        let same = machine.member == self.machines[to.0].member;
        let silent = machine.adversary.as_ref().is_some_and(|adversary| adversary.is_mute());
        let dropped = self.filter.as_mut().is_some_and(|drops| drops(host, to, message));
        if same || silent || dropped {
            return Ok(());
        }
        if self.plan.narrate {
            say(format_args!("{:?} {host} to {to}, of epoch {epoch}: {message:?}", self.now));
        }
        let bytes = message.encode();
        let name = Digest::of(Domain::Batch, &bytes);
        let body = self.body(host, epoch, message, bytes, name)?;
        self.post(host, to, Letter::Consensus(epoch, body));
        Ok(())
    }
}
