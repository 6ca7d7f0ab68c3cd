//! Who waits for the end of which transactions: one call for many of them.
//!
//! Invariant: what is pending and not over when a call begins to wait is told to it when it ends. Of the rest the call
//! looks for itself ([`Waiting::to_look_up`]), after it began to wait. Who no longer waits is forgotten at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use genesis::{Digest, Height};
use ledger::Receipt;
use tokio::sync::Notify;

use super::Mempool;

/// For how many transactions calls may wait, all together.
const MAX_WAITING: usize = 100_000;

/// How the wait for a transaction ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was ordered in time.
    Ordered(Receipt),
    /// It can no longer be: the last height at which it could is past.
    Expired(Height),
}

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_id: HashMap<Digest, Vec<Arc<Told>>>,
    count: usize,
}

/// What a call was told and has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Told {
    news: Mutex<News>,
    came: Notify,
}

#[derive(Debug, Default)]
struct News {
    ended: Vec<(Digest, Ended)>,
    closed: bool,
}

/// A call that waits.
#[derive(Debug)]
pub struct Waiting {
    mempool: Arc<Mempool>,
    ids: Vec<Digest>,
    told: Arc<Told>,
    to_look_up: Vec<Digest>,
}

impl Mempool {
    /// Begins to wait for the end of `ids`; none where as many wait as may.
    pub fn wait(self: &Arc<Self>, ids: Vec<Digest>) -> Option<Waiting> {
        let mut content = self.lock();
        if content.waiters.count + ids.len() > MAX_WAITING {
            return None;
        }
        let told = Arc::new(Told::default());
        for id in &ids {
            content.waiters.by_id.entry(*id).or_default().push(Arc::clone(&told));
        }
        content.waiters.count += ids.len();
        let to_look_up = ids.iter().copied().filter(|id| content.is_over(id)).collect();
        drop(content);
        Some(Waiting { mempool: Arc::clone(self), ids, told, to_look_up })
    }
}

impl Waiting {
    /// Of which of them this node's store may know the end already.
    pub fn to_look_up(&self) -> &[Digest] {
        &self.to_look_up
    }

    /// Whether it waits for no transaction at all.
    pub fn is_for_nothing(&self) -> bool {
        self.ids.is_empty()
    }

    /// The next ones that ended: all that one block decides at once. None when the node stops.
    pub async fn next(&mut self) -> Option<Vec<(Digest, Ended)>> {
        loop {
            {
                let mut news = self.told.lock();
                if !news.ended.is_empty() {
                    return Some(std::mem::take(&mut news.ended));
                }
                if news.closed {
                    return None;
                }
            }
            self.told.came.notified().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut content = self.mempool.lock();
        for id in &self.ids {
            content.waiters.forget(id, &self.told);
        }
    }
}

impl Waiters {
    /// Tells all who wait for `id`. Those who are to be woken for it are added to `told`.
    pub(super) fn tell(&mut self, id: &Digest, ended: impl Fn() -> Ended, told: &mut Vec<Arc<Told>>) {
        for waiter in self.by_id.remove(id).unwrap_or_default() {
            self.count -= 1;
            let mut news = waiter.lock();
            news.ended.push((*id, ended()));
            let is_first = news.ended.len() == 1;
            drop(news);
            if is_first {
                told.push(waiter);
            }
        }
    }

    /// Tells all that the node stops.
    pub(super) fn close(&mut self) {
        for waiter in self.by_id.drain().flat_map(|(_, waiters)| waiters) {
            waiter.lock().closed = true;
            waiter.wake();
        }
        self.count = 0;
    }

    fn forget(&mut self, id: &Digest, who: &Arc<Told>) {
        let Some(waiters) = self.by_id.get_mut(id) else { return };
        let before = waiters.len();
        waiters.retain(|waiter| !Arc::ptr_eq(waiter, who));
        self.count -= before - waiters.len();
        if waiters.is_empty() {
            self.by_id.remove(id);
        }
    }
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the call.
    pub(super) fn wake(&self) {
        self.came.notify_one();
    }
}
