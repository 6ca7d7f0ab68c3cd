//! Checks clients' transactions: the signatures of all that wait in one go, on a thread of its own.
//!
//! Many calls that bring a few transactions each so cost as little as one that brings many, and a call that comes alone waits for
//! nobody. Invariant: what waits here has its room in the mempool, until it is checked, whatever becomes of the call.

use std::sync::mpsc::{Receiver, Sender, channel};

use ledger::{CheckedTransaction, TransactionError, UncheckedTransaction};
use tokio::sync::oneshot;

use crate::mempool::Room;

/// More transactions at once gain nothing, and the first would wait for the last.
const TOGETHER: usize = 1_024;

/// What became of each transaction of a call, in their order.
pub(super) type Checked = Vec<Result<CheckedTransaction, TransactionError>>;

/// A call's transactions.
struct Job {
    transactions: Vec<UncheckedTransaction>,
    room: Room,
    answer: oneshot::Sender<(Checked, Room)>,
}

/// The way to the thread, which ends with the last of these.
#[derive(Clone, Debug)]
pub struct Checker(Sender<Job>);

/// What that thread does.
pub struct Checking(Receiver<Job>);

impl Checker {
    /// The way to a thread that is to be started with the other half, by somebody who stops the node should it panic: one that
    /// checks nothing any more must not look healthy.
    pub fn new() -> (Self, Checking) {
        let (jobs, waiting) = channel();
        (Self(jobs), Checking(waiting))
    }

    /// Checks the signatures and keys of a call's transactions, for which there is `room`. None where the thread is gone.
    pub(super) async fn check(
        &self,
        transactions: Vec<UncheckedTransaction>,
        room: Room,
    ) -> Option<(Checked, Room)> {
        let (answer, checked) = oneshot::channel();
        self.0.send(Job { transactions, room, answer }).ok()?;
        checked.await.ok()
    }
}

impl Checking {
    /// Checks what comes, until nobody can hand in more.
    pub fn run(self) {
        while let Ok(first) = self.0.recv() {
            check_with_what_waits(first, &self.0);
        }
    }
}

fn check_with_what_waits(first: Job, waiting: &Receiver<Job>) {
    let (mut jobs, mut count) = (Vec::new(), first.transactions.len());
    let mut transactions = Vec::new();
    let mut take = |Job { transactions: more, room, answer }: Job| {
        jobs.push((more.len(), room, answer));
        transactions.extend(more);
    };
    take(first);
    while count < TOGETHER
        && let Ok(next) = waiting.try_recv()
    {
        count += next.transactions.len();
        take(next);
    }
    let mut checked = UncheckedTransaction::check_all(transactions).into_iter();
    for (count, room, answer) in jobs {
        // Who hung up has no use for it, and its room is free again.
        drop(answer.send((checked.by_ref().take(count).collect(), room)));
    }
}
