//! What a scenario can do to the network, and ask of it.

use std::time::Duration;

use consensus::{Input, Message, Replica, Status, Verified};
use genesis::Digest;

use super::{Body, Event, HostId, Letter, Loss, World};
use crate::simulation::Failure;
use crate::simulation::journal::Disk;
use crate::simulation::store::Store;

impl World {
    /// Lets time pass.
    ///
    /// # Errors
    /// When a rule is broken.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.now + time;
        while self.turn(until)? {}
        Ok(())
    }

    /// Lets time pass until `reached`, and says how long that took.
    ///
    /// # Errors
    /// When a rule is broken, or `limit` passes first.
    pub fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut reached: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, Failure> {
        let begin = self.now;
        while !reached(self) {
            if !self.turn(begin + limit)? {
                let stands = self.describe();
                return Err(self.failure(format!("not within {limit:?}: {what}\n{stands}")));
            }
        }
        Ok(self.now - begin)
    }

    /// Where everybody stands, a line each.
    pub fn describe(&self) -> String {
        let line = |host: HostId| match self.status(host) {
            Some(s) => format!(
                "  {host} ({:?}, {:?}): epoch {}, view {}, height {} of view {}, certified {}, Δ {:?}, armed since {:?}, waiting {}, executed {}\n",
                self.machines[host.0].index.map(|index| index.0),
                s.standing,
                s.epoch,
                s.view,
                s.tip.height,
                s.tip.view,
                s.certified,
                s.delta,
                s.armed,
                s.waiting,
                self.machines[host.0].store.blocks.len()
            ),
            None => format!("  {host} is down\n"),
        };
        self.hosts().into_iter().map(line).collect()
    }

    /// A replica's status, unless it is down.
    pub fn status(&self, host: HostId) -> Option<Status> {
        self.machines[host.0].replica.as_ref().map(Replica::status)
    }

    /// The process dies; what was not synced is lost, from some record on.
    pub fn crash(&mut self, host: HostId) {
        let chance = &mut self.chance;
        self.machines[host.0].crash(chance);
    }

    /// Starts the process again, if it is down.
    ///
    /// # Errors
    /// When its first step breaks a rule.
    pub fn restart(&mut self, host: HostId) -> Result<(), Failure> {
        if self.machines[host.0].replica.is_none() { self.boot(host) } else { Ok(()) }
    }

    /// Copies a machine's disk, for [`Loss::SinceBackup`].
    pub fn back_up(&mut self, host: HostId) {
        let backup = self.machines[host.0].backup();
        self.backups.insert(host, backup);
    }

    /// Whether there is a copy of a machine's disk.
    pub fn has_backup(&self, host: HostId) -> bool {
        self.backups.contains_key(&host)
    }

    /// The process dies, and what `loss` says is gone from its disk.
    pub fn lose(&mut self, host: HostId, loss: Loss) {
        self.crash(host);
        let empty = Store::new(&self.genesis);
        let backup = self.backups.get(&host).cloned();
        let machine = &mut self.machines[host.0];
        match (loss, backup) {
            (Loss::Journal, _) => machine.journal.disk = Disk::default(),
            (Loss::Disk, _) => (machine.journal.disk, machine.store) = (Disk::default(), empty),
            (Loss::Ledger, _) => machine.store = empty,
            (Loss::SinceBackup, Some(backup)) => {
                (machine.journal.disk, machine.store) = (backup.journal, backup.store);
                machine.restored = true;
            }
            (Loss::SinceBackup, None) => {}
        }
        machine.lost_votes |= loss != Loss::Ledger;
    }

    /// Nothing gets from `from` to `to` any more.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.cut.insert((from, to));
    }

    /// Nothing gets to `host` or from it any more.
    pub fn isolate(&mut self, host: HostId) {
        for other in self.hosts() {
            self.cut(host, other);
            self.cut(other, host);
        }
    }

    /// Everything gets everywhere again; who was cut off is connected anew.
    pub fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.connect(from, to);
        }
    }

    /// Drops every message for which `drops` says so, until the next call.
    pub fn drop_messages(&mut self, drops: impl FnMut(HostId, HostId, &Message) -> bool + 'static) {
        self.filter = Some(Box::new(drops));
    }

    /// Drops nothing any more.
    pub fn drop_nothing(&mut self) {
        self.filter = None;
    }

    /// Tells two machines that they are connected, if they can talk.
    pub fn connect(&mut self, one: HostId, other: HostId) {
        for (host, peer) in [(one, other), (other, one)] {
            let up = |host: HostId| self.machines[host.0].replica.is_some();
            let distinct = self.machines[host.0].member != self.machines[peer.0].member;
            if distinct && up(host) && up(peer) && !self.cut.contains(&(peer, host)) {
                let delay = self.chance.duration((Duration::from_millis(1), Duration::from_millis(20)));
                self.schedule(delay, host, Event::Connected(peer));
            }
        }
    }

    /// An item reaches a quorum of the machines that are up, and the others later. Returns whether there are
    /// enough.
    ///
    /// # Errors
    /// When a rule is broken.
    pub fn announce(&mut self, item: Digest) -> Result<bool, Failure> {
        // Those who have a seat in the newest epoch, whether they know of it yet or not.
        let validators = &self.context().validators;
        let seated = |host: &HostId| validators.by_network_key(&self.machines[host.0].network).is_some();
        let (mut holders, faulty): (Vec<_>, Vec<_>) =
            self.hosts().into_iter().filter(seated).partition(|host| !self.machines[host.0].byzantine);
        let faulty = faulty.len();
        holders.retain(|host| self.machines[host.0].replica.is_some());
        let enough = self.context().validators.quorum().saturating_sub(faulty).max(1);
        if holders.len() < enough {
            return Ok(false);
        }
        self.chance.shuffle(&mut holders);
        holders.truncate(enough);
        self.announced.insert(item, self.now);
        for host in self.hosts() {
            if holders.contains(&host) {
                self.machines[host.0].items.insert(item);
                self.schedule(self.plan.delay.0, host, Event::Arrive(item));
            } else {
                let slow = self.faulty_links && self.chance.percent(self.plan.late_items_percent);
                let most = if slow { Duration::from_secs(10) } else { self.plan.delay.1 * 2 };
                let delay = self.chance.duration((self.plan.delay.0, most));
                self.schedule(delay, host, Event::Arrive(item));
            }
        }
        Ok(true)
    }

    /// Hands `message` to `to` as if the validator of `from` had sent it.
    pub fn inject(&mut self, from: HostId, to: HostId, message: Verified<Message>) {
        let letter = Letter::Consensus(message.epoch(), Body::Checked(std::rc::Rc::new(message)));
        self.schedule(Duration::from_micros(1), to, Event::Deliver { from, letter });
    }

    /// Puts an input into a replica directly.
    ///
    /// # Errors
    /// When a rule is broken.
    pub fn put_in(&mut self, host: HostId, input: Input) -> Result<(), Failure> {
        self.feed(host, input)
    }

    /// Whether every honest machine is up, has executed every announced item, and has the same tip as the others.
    pub fn is_settled(&self) -> bool {
        let honest = || self.machines.iter().filter(|machine| !machine.byzantine);
        let all =
            |machine: &super::Machine| self.announced.keys().all(|item| machine.store.ordered.contains(item));
        let height = self.witness.chain().len();
        let newest = self.context().epoch;
        let in_time = |machine: &super::Machine| {
            let replica = machine.replica.as_ref();
            replica.is_some_and(|replica| replica.status().epoch == newest) && machine.epoch == newest
        };
        honest().all(|machine| in_time(machine) && machine.store.blocks.len() == height && all(machine))
    }

    /// Whether every honest machine with a seat votes.
    pub fn all_vote(&self) -> bool {
        let votes = |machine: &super::Machine| {
            let standing = machine.replica.as_ref().map(|replica| replica.status().standing);
            matches!(standing, Some(consensus::Report::Voting | consensus::Report::Observing))
        };
        self.machines.iter().filter(|machine| !machine.byzantine).all(votes)
    }

    /// The most that Δ may be in any epoch.
    pub fn cap(&self) -> Duration {
        Duration::from_millis(self.plan.most_delta_cap_ms())
    }
}
