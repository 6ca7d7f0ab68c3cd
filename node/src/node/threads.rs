//! The node's threads, and what becomes of the node when one of them fails.
//!
//! Invariant: of several failures the first in time is the node's error, since the others may follow from it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// The node's threads. One that fails stops the others.
pub(super) struct Threads {
    stop: CancellationToken,
    running: Vec<(&'static str, std::thread::JoinHandle<()>)>,
    failed: Arc<Mutex<Vec<anyhow::Error>>>,
}

impl Threads {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop, running: Vec::new(), failed: Arc::default() }
    }

    pub(super) fn start(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) {
        // Cancelled on the way out, however the work ends: a panic too must stop the node.
        let guard = self.stop.clone().drop_guard();
        let failed = Arc::clone(&self.failed);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = guard;
            if let Err(error) = work() {
                fail(&failed, error.context(format!("the {name} failed")));
            }
        });
        match thread {
            Ok(thread) => self.running.push((name, thread)),
            Err(error) => fail(&self.failed, anyhow::anyhow!("cannot start the {name}: {error}")),
        }
    }

    /// Waits for all; the first failure.
    pub(super) fn join(mut self) -> anyhow::Result<()> {
        for (name, thread) in self.running.drain(..) {
            if thread.join().is_err() {
                fail(&self.failed, anyhow::anyhow!("the {name} panicked: a mistake in this program"));
            }
        }
        let failed = std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner));
        failed.into_iter().next().map_or(Ok(()), Err)
    }
}

fn fail(failed: &Mutex<Vec<anyhow::Error>>, error: anyhow::Error) {
    failed.lock().unwrap_or_else(PoisonError::into_inner).push(error);
}
