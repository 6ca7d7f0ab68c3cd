//! The digests that wait to be ordered, oldest first.
//!
//! A digest leaves when it is final or withdrawn, not when it is proposed: a proposal may come to nothing. The
//! node bounds how many there are.

use std::collections::{BTreeMap, BTreeSet};

use genesis::Digest;

#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    order: BTreeMap<u64, Digest>,
    places: BTreeMap<Digest, u64>,
    next: u64,
}

impl Pool {
    pub(crate) fn insert(&mut self, digests: Vec<Digest>) {
        for digest in digests {
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

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The oldest ones that are not in `ordered`.
    pub(crate) fn without<'a>(&'a self, ordered: &'a BTreeSet<Digest>) -> impl Iterator<Item = Digest> + 'a {
        self.order.values().copied().filter(|digest| !ordered.contains(digest))
    }
}
