//! Batches, from the clients who hand their transactions in to the acknowledgements of all: what `node::batcher`,
//! `node::intake` and `node::driver::batches` do.

use std::time::Duration;

use genesis::ValidatorIndex;
use ledger::batch::OVERHEAD_BYTES;
use node::wire::MAX_DIGESTS;

use super::Nanos;
use super::author::Run;
use super::costs::us;
use super::holders::BatchId;
use super::machine::{Batch, Job, Lane, Letter, News, Parcel};
use super::network::{Event, Network, digest_of};

/// How many batches are checked and made durable in one go at most.
const AT_ONCE: usize = 64;
/// A batch that a quorum holds and this validator does not is fetched after this time.
const FETCH_AFTER: Duration = Duration::from_millis(200);
/// How often batches that wait are acknowledged again, and own ones pushed again to those who did not acknowledge them.
const AGAIN: Duration = Duration::from_secs(1);
/// How many own batches are pushed again at a time.
const PUSH_AGAIN: usize = 16;
/// How many batches are fetched at a time because their push is late.
const FETCHED: usize = 64;

impl Network {
    /// Plans the next look at what clients handed in.
    pub(super) fn plan_seal(&mut self, index: ValidatorIndex) {
        let now = self.now;
        let machine = self.machine(index);
        if machine.is_sealing {
            return;
        }
        let Some(at) = machine.author.due(now) else { return };
        if machine.seal_at.is_none_or(|planned| at < planned || planned < now) {
            machine.seal_at = Some(at);
            self.schedule(at, index, Event::Seal);
        }
    }

    /// Seals what is due. Its check by the node that took it from its clients is paid for now, all at once.
    pub(super) fn seal(&mut self, index: ValidatorIndex) {
        let now = self.now;
        let machine = self.machine(index);
        if machine.seal_at != Some(now) {
            return; // An earlier look was planned instead.
        }
        machine.seal_at = None;
        if machine.is_sealing || machine.author.due(now).is_none_or(|due| due > now) {
            return self.plan_seal(index);
        }
        let run = machine.author.seal(now);
        machine.is_sealing = true;
        let (costs, others) = (&self.plan.costs, u64::from(self.plan.validators) - 1);
        let check = us(costs.transaction_check_us * run.count as f64);
        let frames = costs.frame(self.bytes_of(run)).times(others);
        self.compute(index, Lane::Author, check + frames, Job::Seal(run));
    }

    fn bytes_of(&self, run: Run) -> u64 {
        OVERHEAD_BYTES as u64 + run.count * self.plan.transaction_bytes
    }

    /// A batch is made: it goes to all others, and into this validator's own intake.
    pub(super) fn sealed(&mut self, index: ValidatorIndex, run: Run) {
        let id = BatchId(self.batches.len() as u32);
        let digest = digest_of(id);
        self.batches.push(Batch { author: index, digest, run, bytes: self.bytes_of(run) });
        self.names.insert(digest, id);
        self.tally.sealed(self.now >= self.plan.warm_up.into(), run.count);
        // Not the same ones first each time.
        let others = self.others(index, u64::from(id.0) * 7);
        self.push(index, &others, id, false);
        let machine = self.machine(index);
        machine.own.insert(id);
        machine.is_sealing = false;
        self.take_in(index, id, false);
        self.plan_seal(index);
    }

    /// A batch has come through the downlink.
    pub(super) fn arrived(&mut self, index: ValidatorIndex, parcel: Parcel) {
        let machine = self.machine(index);
        if machine.holders.holds(parcel.batch) {
            if !parcel.is_fetched {
                machine.news.push_back(News::Again(parcel.batch));
                self.plan_turn(index);
            }
            return;
        }
        self.take_in(index, parcel.batch, parcel.is_fetched);
    }

    fn take_in(&mut self, index: ValidatorIndex, batch: BatchId, is_urgent: bool) {
        let machine = self.machine(index);
        if !machine.coming.insert(batch) {
            return; // It is about to be reported.
        }
        if is_urgent {
            machine.arrived.push_front(batch);
        } else {
            machine.arrived.push_back(batch);
        }
        self.begin_run(index);
    }

    /// The intake takes what waits, unless it is at something.
    fn begin_run(&mut self, index: ValidatorIndex) {
        let machine = self.machine(index);
        if !machine.run.is_empty() || !machine.checked.is_empty() || machine.arrived.is_empty() {
            return;
        }
        let count = machine.arrived.len().min(AT_ONCE);
        machine.run = machine.arrived.drain(..count).collect();
        self.check_next(index);
    }

    fn check_next(&mut self, index: ValidatorIndex) {
        let Some(next) = self.machine(index).run.front().copied() else { return };
        let batch = *self.batch(next);
        let costs = &self.plan.costs;
        let work = if batch.author == index {
            us(costs.batch_us) // Its transactions were checked when they were handed in.
        } else {
            costs.frame(batch.bytes) + costs.batch_check(batch.run.count)
        };
        self.compute(index, Lane::Intake, work, Job::Check);
    }

    /// The next batch of the run is checked.
    pub(super) fn checked(&mut self, index: ValidatorIndex) {
        let machine = self.machine(index);
        let Some(batch) = machine.run.pop_front() else { return };
        machine.checked.push(batch);
        if machine.run.is_empty() {
            let sync = us(self.plan.costs.sync_us);
            return self.schedule(self.now + sync, index, Event::Kept);
        }
        self.check_next(index);
    }

    /// The run is durable.
    pub(super) fn kept(&mut self, index: ValidatorIndex) {
        let machine = self.machine(index);
        let kept = std::mem::take(&mut machine.checked);
        for batch in &kept {
            machine.coming.remove(batch);
        }
        machine.news.push_back(News::Held(kept));
        self.plan_turn(index);
        self.begin_run(index);
        self.execute(index);
    }

    /// Tells the others what has come, unless more is to be gathered first.
    pub(super) fn acknowledge(&mut self, index: ValidatorIndex) {
        let (now, gather) = (self.now, Nanos::from(self.plan.gather_acknowledgements));
        let driver = &mut self.machine(index).driver;
        if driver.acknowledge.is_empty() || now < driver.acknowledged_at + gather {
            return;
        }
        driver.acknowledged_at = now;
        let mut batches = std::mem::take(&mut driver.acknowledge);
        batches.sort_unstable();
        batches.dedup();
        let others = self.others(index, 0);
        for some in batches.chunks(MAX_DIGESTS) {
            self.send(index, &others, Letter::Held(some.to_vec()));
        }
    }

    /// Asks `from` for those of these that nobody was asked for yet.
    pub(super) fn want(&mut self, index: ValidatorIndex, from: ValidatorIndex, batches: Vec<BatchId>) {
        let machine = self.machine(index);
        let new = |batch: &BatchId| !machine.coming.contains(batch) && machine.driver.wanted.insert(*batch);
        let new: Vec<_> = batches.into_iter().filter(new).collect();
        if !new.is_empty() && from != index {
            self.tally.fetched += new.len() as u64;
            self.send(index, &[from], Letter::Want(new));
        }
    }

    /// Asks others who are known to hold them for these.
    pub(super) fn want_from_holders(&mut self, index: ValidatorIndex, batches: Vec<BatchId>) {
        for batch in batches {
            let holders = self.machine(index).holders.others(batch);
            let author = self.batch(batch).author;
            let from = self.chance.pick(&holders).unwrap_or(author);
            self.want(index, from, vec![batch]);
        }
    }

    /// What time brings.
    pub(super) fn look_after(&mut self, index: ValidatorIndex) {
        let now = self.now;
        let first = self.first_open(index);
        let late = now.since(FETCH_AFTER.into());
        let overdue: Vec<_> = self.machine(index).holders.overdue(first, late).take(FETCHED).collect();
        self.want_from_holders(index, overdue);
        if now.since(self.machine(index).driver.again_at) >= AGAIN.into() {
            self.machine(index).driver.again_at = now;
            let waiting = self.machine(index).holders.waiting(first).take(MAX_DIGESTS).collect::<Vec<_>>();
            self.machine(index).driver.acknowledge.extend(waiting);
            self.push_again(index);
        }
        self.judge_again(index);
        if self.machine(index).driver.deadline.is_none_or(|at| at > now) {
            self.machine(index).driver.deadline = Some(now);
        }
        self.plan_turn(index);
    }

    /// The oldest batch that no final block names here; all before it are done with.
    fn first_open(&mut self, index: ValidatorIndex) -> BatchId {
        let made = BatchId(self.batches.len() as u32);
        let machine = self.machine(index);
        machine.open_from = machine.holders.first_open(machine.open_from, made);
        machine.open_from
    }

    /// Pushes own batches again to those who have not acknowledged them.
    fn push_again(&mut self, index: ValidatorIndex) {
        let machine = self.machine(index);
        let own: Vec<_> = machine.own.iter().copied().filter(|it| machine.holders.holds(*it)).collect();
        for batch in own.into_iter().take(PUSH_AGAIN) {
            let holders = self.machine(index).holders.others(batch);
            let lack: Vec<_> =
                self.others(index, 0).into_iter().filter(|other| !holders.contains(other)).collect();
            self.tally.pushed_again += lack.len() as u64;
            self.push(index, &lack, batch, false);
        }
    }
}
