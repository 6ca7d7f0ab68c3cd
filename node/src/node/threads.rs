//! The node's threads, and what becomes of the node when one of them fails.

use tokio_util::sync::CancellationToken;

/// The node's threads. One that fails stops the others.
pub(super) struct Threads {
    stop: CancellationToken,
    running: Vec<(&'static str, std::thread::JoinHandle<anyhow::Result<()>>)>,
    failed: Vec<anyhow::Error>,
}

impl Threads {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { stop, running: Vec::new(), failed: Vec::new() }
    }

    pub(super) fn start(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) {
        // Cancelled on the way out, however the work ends: a panic too must stop the node.
        let guard = self.stop.clone().drop_guard();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = guard;
            work()
        });
        match thread {
            Ok(thread) => self.running.push((name, thread)),
            Err(error) => self.failed.push(anyhow::anyhow!("cannot start the {name}: {error}")),
        }
    }

    /// Waits for all; the first failure.
    pub(super) fn join(mut self) -> anyhow::Result<()> {
        for (name, thread) in self.running.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.failed.push(error.context(format!("the {name} failed"))),
                Err(_) => self.failed.push(anyhow::anyhow!("the {name} panicked: a mistake in this program")),
            }
        }
        self.failed.into_iter().next().map_or(Ok(()), Err)
    }
}
