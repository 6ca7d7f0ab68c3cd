//! The node's threads, and what becomes of the node when one of them fails.
//!
//! Invariant: a thread that fails or panics stops the node and is its error, whether the node waits for it or not. Of several
//! failures the first in time is the error, since the others may follow from it: each is noted before the node is told to stop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

/// The node's threads. One that fails stops the others.
pub(super) struct Threads {
    stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
    failed: Arc<Mutex<Vec<anyhow::Error>>>,
}

impl Threads {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop, running: Vec::new(), failed: Arc::default() }
    }

    /// Starts a thread that [`Self::join`] waits for.
    pub(super) fn start(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) {
        let thread = self.spawn(name, work);
        self.running.extend(thread);
    }

    /// Starts a thread that ends with the last who gives it work, which may be a call that is cut off: it is not waited for.
    pub(super) fn start_unattended(&self, name: &'static str, work: impl FnOnce() + Send + 'static) {
        self.spawn(name, move || {
            work();
            Ok(())
        });
    }

    fn spawn(
        &self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let guard = self.stop.clone().drop_guard();
        let failed = Arc::clone(&self.failed);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = guard;
            // What the work held is not used any more: the node ends.
            match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => (),
                Ok(Err(error)) => fail(&failed, error.context(format!("the {name} failed"))),
                Err(_) => fail(&failed, anyhow::anyhow!("the {name} panicked: a mistake in this program")),
            }
        });
        thread.map_err(|error| fail(&self.failed, anyhow::anyhow!("cannot start the {name}: {error}"))).ok()
    }

    /// Waits for those that are waited for; the first failure of any.
    pub(super) fn join(self) -> anyhow::Result<()> {
        for thread in self.running {
            if thread.join().is_err() {
                fail(&self.failed, anyhow::anyhow!("a thread could not be waited for"));
            }
        }
        let failed = std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        failed.into_iter().next().map_or(Ok(()), Err)
    }
}

fn fail(failed: &Mutex<Vec<anyhow::Error>>, error: anyhow::Error) {
    failed.lock().unwrap_or_else(PoisonError::into_inner).push(error);
}

#[cfg(test)]
mod tests;
