//! The load, signed before the clock starts.

use std::sync::atomic::{AtomicBool, Ordering};

use client::wallet::{Terms, registration};
use genesis::{Digest, SecretKey};
use indicatif::ProgressBar;

/// A signed registration, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    /// Its id.
    pub(super) id: Digest,
    /// Its canonical bytes.
    pub(super) bytes: Vec<u8>,
}

/// `count` registrations of different DIDs with different keys, as citizens would send them. Fewer when stopped.
pub(super) fn registrations(
    terms: &Terms,
    count: usize,
    bar: &ProgressBar,
    stopped: &AtomicBool,
) -> Vec<Signed> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                // The first workers take one more where it does not divide.
                let share = count / threads + usize::from(worker < count % threads);
                scope.spawn(move || {
                    let mut signed = Vec::with_capacity(share);
                    while signed.len() < share && !stopped.load(Ordering::Relaxed) {
                        signed.push(sign(terms));
                        if signed.len() % 256 == 0 {
                            bar.inc(256);
                        }
                    }
                    signed
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}

fn sign(terms: &Terms) -> Signed {
    let (_, transaction) = registration(terms, &SecretKey::generate());
    Signed { id: transaction.id(), bytes: genesis::encoding::encode(&transaction) }
}
