//! A process starts from its machine's disk, in the same order as a node does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use consensus::{Config, Input, Memory, Replica};
use genesis::{Digest, Domain, SecretKey};

use super::turn::said;
use super::{Event, HostId, World};
use crate::simulation::Failure;
use crate::simulation::store::Position;

impl World {
    pub(super) fn boot(&mut self, host: HostId) -> Result<(), Failure> {
        let nonce = Digest::of(Domain::Batch, &self.chance.below(u64::MAX).to_le_bytes());
        let machine = &mut self.machines[host.0];
        machine.clock.booted = self.now;
        let now = machine.clock.read(self.now);
        if !machine.byzantine {
            // Alone, it may propose with its first breath.
            self.witness.allowed(now.clock.plus(self.plan.most_clock_bound_ms()));
        }
        let machine = &mut self.machines[host.0];
        let position = machine.store.position();
        let position = position.map_err(|what| self.failure(format!("{host} cannot start: {what}")))?;
        let memory = self.memory_of(host, &position);
        let Position { epoch, configuration, opening, start } = position;
        self.note_epoch(host, epoch, &configuration)?;
        let machine = &mut self.machines[host.0];
        machine.epoch = epoch;
        machine.index = configuration.validators.by_consensus_key(&machine.secret.public());
        machine.final_height = start.tip.height;
        let config = Config {
            chain: self.genesis.chain(),
            origin: self.genesis.height(),
            epoch,
            configuration,
            opening,
            secret: SecretKey::from_seed(*machine.secret.seed()),
            memory,
            nonce,
        };
        let records = machine.journal.disk.records();
        let recovered = catch_unwind(AssertUnwindSafe(|| Replica::recover(config, now, start, records)));
        let recovered =
            recovered.map_err(|panic| self.failure(format!("{host} panics at start: {}", said(&*panic))))?;
        let (replica, output) =
            recovered.map_err(|error| self.failure(format!("{host} cannot start: {error}")))?;
        let machine = &mut self.machines[host.0];
        machine.journal.resume(epoch);
        machine.journal.begin(replica.records(), replica.status().tip.height);
        machine.forget_journal();
        machine.first_start = false;
        machine.replica = Some(replica);
        self.take(host, output)?;
        let waiting = self.waiting_at(host);
        if !waiting.is_empty() {
            self.feed(host, Input::Available(waiting.into_iter().map(Into::into).collect()))?;
        }
        for item in self.announced.keys().copied().collect::<Vec<_>>() {
            if !self.machines[host.0].items.contains(&item) {
                let delay = self.chance.duration((Duration::ZERO, Duration::from_secs(2)));
                self.schedule(delay, host, Event::Arrive(item));
            }
        }
        for other in self.hosts() {
            self.connect(host, other);
        }
        self.follow_later(host);
        Ok(())
    }

    /// Whether the voting record is whole, as far as the machine can tell (P7).
    fn memory_of(&self, host: HostId, position: &Position) -> Memory {
        let machine = &self.machines[host.0];
        let whole = if machine.journal.disk.exists() {
            machine.journal.disk.reaches(position)
        } else {
            machine.first_start
        };
        if whole { Memory::Whole } else { Memory::Lost }
    }

    fn waiting_at(&self, host: HostId) -> Vec<Digest> {
        let machine = &self.machines[host.0];
        let waits = |item: &&Digest| machine.items.contains(item) && !machine.has_ordered(item);
        self.announced.keys().filter(waits).copied().collect()
    }
}
