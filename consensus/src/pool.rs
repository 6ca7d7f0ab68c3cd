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
    /// What is here, and not known to be at a quorum.
    held: BTreeMap<Digest, Offer>,
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
            self.held.remove(&offer.digest);
            if let std::collections::btree_map::Entry::Vacant(place) = self.places.entry(offer.digest) {
                place.insert(self.next);
                self.order.insert(self.next, offer);
                self.next += 1;
            }
        }
    }

    /// These are here; whether a quorum has them is not known.
    pub(crate) fn hold(&mut self, offers: Vec<Offer>) {
        let is_new =
            |offer: &Offer| !self.ordered.contains(&offer.digest) && !self.places.contains_key(&offer.digest);
        let new: Vec<_> = offers.into_iter().filter(is_new).map(|offer| (offer.digest, offer)).collect();
        self.held.extend(new);
    }

    pub(crate) fn remove(&mut self, digests: &[Digest]) {
        for digest in digests {
            self.held.remove(digest);
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
    pub(crate) fn fingerprint(&self) -> (Vec<Offer>, Vec<Offer>, Vec<Digest>) {
        let copied = |offers: &mut dyn Iterator<Item = &Offer>| offers.copied().collect();
        let (waiting, held) = (copied(&mut self.order.values()), copied(&mut self.held.values()));
        (waiting, held, self.ordered.iter().copied().collect())
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
        fit(self.order.values(), height, ordered)
    }

    /// The same of those that are not known to be at a quorum, in no order.
    pub(crate) fn held_for_block<'a>(
        &'a self,
        height: Height,
        ordered: &'a BTreeSet<Digest>,
    ) -> impl Iterator<Item = Digest> + 'a {
        fit(self.held.values(), height, ordered)
    }
}

fn fit<'a>(
    offers: impl Iterator<Item = &'a Offer> + 'a,
    height: Height,
    ordered: &'a BTreeSet<Digest>,
) -> impl Iterator<Item = Digest> + 'a {
    let fits = move |offer: &&Offer| (offer.first..=offer.last).contains(&height);
    offers.filter(fits).map(|offer| offer.digest).filter(|digest| !ordered.contains(digest))
}
