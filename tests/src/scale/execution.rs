//! Execution behind finality, as `node::executor` does it, and what a final block means to whoever waits for it.
//!
//! What execution leads to is made up: a hash of the block. It is the same at all validators, which is all that consensus
//! asks of it.

use consensus::{Block, Certificate, Checkpoint};
use genesis::{Digest, Domain, ValidatorIndex};

use super::holders::BatchId;
use super::machine::{Job, Lane, News};
use super::network::Network;

impl Network {
    /// Executes the oldest final block, if its batches are here and nothing else is executed.
    pub(super) fn execute(&mut self, index: ValidatorIndex) {
        let machine = self.machine(index);
        if machine.is_executing {
            return;
        }
        let Some(oldest) = machine.finals.front() else { return };
        let lacks = |batch: &&BatchId| !machine.holders.holds(**batch) && !machine.coming.contains(batch);
        let waits = oldest.batches.iter().any(|batch| !machine.holders.holds(*batch));
        if waits {
            let missing = oldest.batches.iter().filter(lacks).copied().collect();
            return self.want_from_holders(index, missing);
        }
        let batches = oldest.batches.clone();
        let transactions = batches.iter().map(|batch| self.batch(*batch).run.count).sum();
        self.machine(index).is_executing = true;
        let work = self.plan.costs.execute(transactions);
        self.compute(index, Lane::Executor, work, Job::Execute);
    }

    /// The oldest final block is executed.
    pub(super) fn executed(&mut self, index: ValidatorIndex) {
        let configuration = self.configuration;
        let machine = self.machine(index);
        machine.is_executing = false;
        let Some(done) = machine.finals.pop_front() else { return };
        let own = done.batches.iter().filter(|batch| machine.own.remove(batch)).count();
        machine.author.sealed -= own;
        machine.news.push_back(News::Executed(checkpoint(&done.block, configuration)));
        self.plan_turn(index);
        self.plan_seal(index);
        self.execute(index);
    }

    /// A block is final at this validator.
    pub(super) fn note_final(
        &mut self,
        index: ValidatorIndex,
        block: &Block,
        certificate: Option<Certificate>,
        batches: &[BatchId],
    ) {
        let place = block.height.0 as usize - 1;
        match self.chain.get_mut(place) {
            Some((first, known)) => {
                assert_eq!(first.digest(), block.digest(), "two final blocks at height {}", block.height);
                *known = known.take().or(certificate);
            }
            None => {
                assert_eq!(place, self.chain.len(), "final blocks come in order of height");
                self.chain.push((block.clone(), certificate));
            }
        }
        if !self.is_measured() {
            return;
        }
        if index.0 == 0 {
            self.tally.block(batches.len());
        }
        for batch in batches {
            let batch = *self.batch(*batch);
            if batch.author != index {
                continue;
            }
            let now = self.now;
            let author = &self.machines[usize::from(index.0)].author;
            let places = batch.run.first..batch.run.first + batch.run.count;
            let latencies = places.map(|place| now.since(author.arrival(place)));
            self.tally.latencies.extend(latencies);
        }
    }
}

/// What the validators sign of an executed block.
fn checkpoint(block: &Block, configuration: Digest) -> Checkpoint {
    let root = Digest::of(Domain::Batch, block.digest().as_bytes());
    Checkpoint {
        epoch: block.epoch,
        height: block.height,
        block: block.digest(),
        time: block.time,
        state_root: root,
        receipts_root: root,
        configuration,
        pending: None,
    }
}
