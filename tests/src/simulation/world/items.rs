//! Payload: how it reaches machines, and how they judge the blocks that name it.

use std::time::Duration;

use consensus::{Input, Verdict};
use genesis::Digest;

use super::{Event, HostId, World};
use crate::simulation::Failure;

impl World {
    pub(super) fn judge(&mut self, host: HostId) -> Result<(), Failure> {
        let machine = &self.machines[host.0];
        let Some(block) = machine.judging.clone() else { return Ok(()) };
        let digest = block.digest();
        if block.payload.iter().any(|item| machine.has_ordered(item)) {
            return self.feed(host, Input::Judged { digest, verdict: Verdict::Invalid });
        }
        let missing = block.payload.iter().filter(|item| !machine.items.contains(item)).copied();
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            self.machines[host.0].judging = None;
            let garbage = block.payload.iter().any(|item| self.garbage.contains(item));
            let verdict = if garbage { Verdict::Invalid } else { Verdict::Valid };
            return self.feed(host, Input::Judged { digest, verdict });
        }
        // The node fetches what is missing from whoever has it.
        for item in missing {
            let delay = self.chance.duration((Duration::from_millis(5), Duration::from_millis(300)));
            self.schedule(delay, host, Event::Arrive(item));
        }
        Ok(())
    }

    pub(super) fn arrive(&mut self, host: HostId, item: Digest) -> Result<(), Failure> {
        let holds = |other: &HostId| {
            let machine = &self.machines[other.0];
            *other == host || (machine.replica.is_some() && !self.cut.contains(&(*other, host)))
        };
        let held =
            self.hosts().into_iter().filter(holds).any(|other| self.machines[other.0].items.contains(&item));
        if !held {
            // Nobody looks for ever for what no client was promised and no block waits for.
            let judging = self.machines[host.0].judging.as_ref();
            if self.announced.contains_key(&item)
                || judging.is_some_and(|block| block.payload.contains(&item))
            {
                self.schedule(Duration::from_millis(500), host, Event::Arrive(item));
            }
            return Ok(());
        }
        self.machines[host.0].items.insert(item);
        if self.announced.contains_key(&item) && !self.machines[host.0].has_ordered(&item) {
            if self.chance.percent(30) {
                // Here; that a quorum has it comes out later.
                self.feed(host, Input::Held(vec![item.into()]))?;
                let delay = self.chance.duration((Duration::from_millis(5), Duration::from_millis(300)));
                self.schedule(delay, host, Event::Arrive(item));
            } else {
                self.feed(host, Input::Available(vec![item.into()]))?;
            }
        }
        if self.machines[host.0].judging.is_some() {
            let delay = self.chance.duration(self.plan.judge);
            self.schedule(delay, host, Event::Judge);
        }
        Ok(())
    }
}
