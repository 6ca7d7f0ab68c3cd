//! The digests that wait to be ordered, oldest first.
//!
//! A digest leaves when it is final or withdrawn, not when it is proposed: a proposal may come to nothing. The
//! node bounds how many there are.
//!
//! What the newest final blocks named is remembered: the node learns only after the sync of a step that a block is
//! final, and until then may still call its digests available, or valid in another block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use genesis::Digest;

/// Of how many non-empty final blocks the digests are remembered: more than a node finalises within one sync.
const REMEMBERED: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    order: BTreeMap<u64, Digest>,
    places: BTreeMap<Digest, u64>,
    next: u64,
    /// The payloads of the newest final blocks, oldest first, and all that they name.
    final_payloads: VecDeque<Vec<Digest>>,
    ordered: BTreeSet<Digest>,
}

impl Pool {
    pub(crate) fn insert(&mut self, digests: Vec<Digest>) {
        for digest in digests {
            if self.ordered.contains(&digest) {
                continue;
            }
            if let std::collections::btree_map::Entry::Vacant(place) = self.places.entry(digest) {
                place.insert(self.next);
                self.order.insert(self.next, digest);
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

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The oldest ones that are not in `ordered`.
    pub(crate) fn without<'a>(&'a self, ordered: &'a BTreeSet<Digest>) -> impl Iterator<Item = Digest> + 'a {
        self.order.values().copied().filter(|digest| !ordered.contains(digest))
    }
}
