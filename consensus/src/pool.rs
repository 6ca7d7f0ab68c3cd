//! The digests that wait to be ordered, oldest first.
//!
//! A digest leaves when it is final or withdrawn, not when it is proposed: a proposal may come to nothing. The
//! node bounds how many there are.
//!
//! What the newest final blocks named is remembered: the node learns only after the sync of a step that a block is
//! final, and until then may still call its digests available, or valid in another block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use genesis::{Digest, Height};
use serde::Serialize;

/// Of how many non-empty final blocks the digests are remembered. A long sync finalises more at once: a node withdraws
/// what a block ordered once it has taken note of it.
const REMEMBERED: usize = 256;

/// A digest that waits to be ordered, and the heights of the blocks that may name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// What waits.
    pub digest: Digest,
    /// The first height that may name it.
    pub first: Height,
    /// The last height that may name it.
    pub last: Height,
}

/// A digest that any block may name.
impl From<Digest> for Offer {
    fn from(digest: Digest) -> Self {
        Self { digest, first: Height::ZERO, last: Height(u64::MAX) }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    order: BTreeMap<u64, Offer>,
    places: BTreeMap<Digest, u64>,
    next: u64,
    /// The payloads of the newest final blocks, oldest first, and all that they name.
    final_payloads: VecDeque<Vec<Digest>>,
    ordered: BTreeSet<Digest>,
}

impl Pool {
    pub(crate) fn insert(&mut self, offers: Vec<Offer>) {
        for offer in offers {
            if self.ordered.contains(&offer.digest) {
                continue;
            }
            if let std::collections::btree_map::Entry::Vacant(place) = self.places.entry(offer.digest) {
                place.insert(self.next);
                self.order.insert(self.next, offer);
                self.next += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, digests: &[Digest]) {
        for digest in digests {
            if let Some(place) = self.places.remove(digest) {
                self.order.remove(&place);
            }
        }
    }

    /// A final block has put these in order.
    pub(crate) fn settle(&mut self, payload: &[Digest]) {
        self.remove(payload);
        if payload.is_empty() {
            return;
        }
        self.ordered.extend(payload);
        self.final_payloads.push_back(payload.to_vec());
        if self.final_payloads.len() > REMEMBERED {
            for digest in self.final_payloads.pop_front().into_iter().flatten() {
                self.ordered.remove(&digest);
            }
        }
    }

    /// Whether one of the newest final blocks names `digest`.
    pub(crate) fn was_ordered(&self, digest: &Digest) -> bool {
        self.ordered.contains(digest)
    }

    /// What waits, oldest first, and what is known to be ordered.
    pub(crate) fn fingerprint(&self) -> (Vec<Offer>, Vec<Digest>) {
        (self.order.values().copied().collect(), self.ordered.iter().copied().collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The oldest ones that a block at `height` may name and that are not in `ordered`.
    pub(crate) fn for_block<'a>(
        &'a self,
        height: Height,
        ordered: &'a BTreeSet<Digest>,
    ) -> impl Iterator<Item = Digest> + 'a {
        let fits = move |offer: &&Offer| (offer.first..=offer.last).contains(&height);
        self.order.values().filter(fits).map(|offer| offer.digest).filter(|digest| !ordered.contains(digest))
    }
}
