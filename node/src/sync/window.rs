//! Which heights are asked for, from whom, and what came: several ranges at a time, handed on in order.
//!
//! A range that was checked proves itself, but only shows that it continues this chain once what comes before it is
//! there. So ranges wait here until it is their turn. A pure state machine: no sockets, no clock.
//!
//! Invariants:
//! - The slots follow one another without a gap from the base on; only the first of them may begin below it.
//! - Beyond the target, which a quorum signed, nothing is asked for but the one range after the base.
//! - Bounded in ranges ([`MAX_SLOTS`]) and in bytes: beyond [`MAX_HELD_BYTES`] only the first is asked for.

use std::collections::VecDeque;

use genesis::{Digest, Height, PublicKey};

use crate::wire::Span;

/// How many heights one request asks for.
pub const STRIDE: u64 = 128;
/// How many ranges are asked for, or held, at a time.
pub const MAX_SLOTS: usize = 16;
/// How many bytes of ranges wait for their turn before no more are asked for.
pub const MAX_HELD_BYTES: usize = 32 << 20;

/// A block by its height and its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its height.
    pub height: Height,
    /// Its digest.
    pub digest: Digest,
}

/// A checked chain of blocks, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<T> {
    /// The first block's height.
    pub first: Height,
    /// What the first block names as its parent.
    pub parent: Digest,
    /// The blocks' digests, in order; at least one.
    pub digests: Vec<Digest>,
    /// Its size as it came.
    pub bytes: usize,
    /// The blocks themselves.
    pub content: T,
}

/// A request's number: an answer to one that is not waited for any more is told by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What [`Window::take`] found to be next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The next blocks, which continue what was taken before, up to this place.
    Next {
        /// The blocks.
        content: T,
        /// Who sent them.
        from: PublicKey,
        /// The last of them.
        last: Place,
    },
    /// A range is certified and does not continue this chain. It is dropped, and its heights are asked for again.
    Unlinked {
        /// Who sent it.
        from: PublicKey,
        /// The block here.
        here: Place,
        /// The digest that the range has in its place.
        there: Digest,
    },
}

#[derive(Debug)]
struct Slot<T> {
    span: Span,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Open,
    Asked(Ticket),
    Held(Piece<T>, PublicKey),
}

/// The window.
#[derive(Debug)]
pub struct Window<T> {
    /// The last block that was handed on, or that is final here.
    base: Place,
    /// The newest height that a quorum is known to have executed.
    target: Height,
    slots: VecDeque<Slot<T>>,
    tickets: u64,
}

impl<T> Piece<T> {
    /// The last block.
    pub fn last(&self) -> Place {
        let count = self.digests.len() as u64;
        let digest = self.digests.last().copied().unwrap_or(self.parent);
        Place { height: Height((self.first.0 + count).saturating_sub(1)), digest }
    }

    /// The digest of the block at `height` as the piece has it, or names it as its parent.
    fn at(&self, height: Height) -> Option<Digest> {
        if height.next() == self.first {
            return Some(self.parent);
        }
        let place = usize::try_from(height.0.checked_sub(self.first.0)?).ok()?;
        self.digests.get(place).copied()
    }
}

impl<T> Window<T> {
    /// Nothing asked for yet, after the block at `base`.
    pub fn new(base: Place) -> Self {
        Self { base, target: base.height, slots: VecDeque::new(), tickets: 0 }
    }

    /// The last block that was handed on, or that is final here.
    pub fn base(&self) -> Place {
        self.base
    }

    /// The newest height that is known to be there.
    pub fn target(&self) -> Height {
        self.target.max(self.base.height)
    }

    /// A quorum signed that it executed the block at `height`.
    pub fn aim(&mut self, height: Height) {
        self.target = self.target.max(height);
    }

    /// Starts anew after the block at `base`: what is held and what is on its way is forgotten.
    pub fn reset(&mut self, base: Place) {
        self.base = base;
        self.slots.clear();
    }

    /// The chain has got to `tip` by itself.
    pub fn advance(&mut self, tip: Place) {
        if tip.height <= self.base.height {
            return;
        }
        self.base = tip;
        while self.slots.front().is_some_and(|slot| slot.span.to <= tip.height) {
            self.slots.pop_front();
        }
        if let Some(Slot { span, state: State::Open }) = self.slots.front_mut() {
            span.from = span.from.max(tip.height.next());
        }
    }

    /// Whether all that is known to be there was handed on: what is left is to look for more.
    pub fn is_probing(&self) -> bool {
        self.target <= self.base.height
    }

    /// Whether nothing is held or asked for.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Open slots at the end are made anew when they are needed: what nobody has proven to exist is not insisted on.
    fn trim(&mut self) {
        while let Some(Slot { span, state: State::Open }) = self.slots.back_mut() {
            if span.from <= self.target {
                span.to = span.to.min(self.target);
                break;
            }
            self.slots.pop_back();
        }
    }

    fn held_bytes(&self) -> usize {
        let held = self.slots.iter().map(|slot| match &slot.state {
            State::Held(piece, _) => piece.bytes,
            State::Open | State::Asked(_) => 0,
        });
        held.sum()
    }

    /// The next heights to ask somebody for, if any.
    pub fn ask(&mut self) -> Option<(Ticket, Span)> {
        let has_room = self.held_bytes() < MAX_HELD_BYTES;
        let open = self.slots.iter().position(|slot| matches!(slot.state, State::Open));
        let place = match open {
            Some(0) => 0,
            Some(place) if has_room => place,
            Some(_) => return None,
            None => {
                let from = self.slots.back().map_or(self.base.height, |slot| slot.span.to).next();
                let is_first = self.slots.is_empty();
                let may = is_first || from <= self.target && has_room && self.slots.len() < MAX_SLOTS;
                if !may {
                    return None;
                }
                let to = from.plus(STRIDE - 1);
                let to = if from > self.target { to } else { to.min(self.target) };
                self.slots.push_back(Slot { span: Span { from, to }, state: State::Open });
                self.slots.len() - 1
            }
        };
        let slot = self.slots.get_mut(place)?;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        slot.state = State::Asked(ticket);
        Some((ticket, slot.span))
    }

    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot.state, State::Asked(waits) if waits == ticket))
    }

    /// A request came to nothing: others may be asked.
    pub fn failed(&mut self, ticket: Ticket) {
        let Some(place) = self.find(ticket) else { return };
        let next = self.base.height.next();
        if let Some(slot) = self.slots.get_mut(place) {
            slot.state = State::Open;
            slot.span.from = slot.span.from.max(next);
        }
        self.trim();
    }

    /// What came for a request. False where that is not waited for any more.
    pub fn hold(&mut self, ticket: Ticket, from: PublicKey, piece: Piece<T>) -> bool {
        let Some(place) = self.find(ticket) else { return false };
        let last = piece.last().height;
        let Some(slot) = self.slots.get_mut(place) else { return false };
        let asked_to = std::mem::replace(&mut slot.span.to, last);
        slot.state = State::Held(piece, from);
        if last < asked_to {
            let rest = Span { from: last.next(), to: asked_to };
            self.slots.insert(place + 1, Slot { span: rest, state: State::Open });
        }
        // It reaches into what comes after: of that, what is covered as a whole is not needed.
        while self.slots.get(place + 1).is_some_and(|after| after.span.to <= last) {
            self.slots.remove(place + 1);
        }
        if let Some(Slot { span, state: State::Open }) = self.slots.get_mut(place + 1) {
            span.from = span.from.max(last.next());
        }
        self.trim();
        true
    }

    /// Takes the next range off, if it is here.
    pub fn take(&mut self) -> Option<Taken<T>> {
        loop {
            let slot = self.slots.front_mut()?;
            let State::Held(piece, _) = &slot.state else { return None };
            let (last, there) = (piece.last(), piece.at(self.base.height));
            if last.height <= self.base.height {
                self.slots.pop_front();
                continue;
            }
            let State::Held(piece, from) = std::mem::replace(&mut slot.state, State::Open) else {
                return None;
            };
            if there != Some(self.base.digest) {
                slot.span.from = self.base.height.next();
                self.trim();
                let there = there.unwrap_or(piece.parent);
                return Some(Taken::Unlinked { from, here: self.base, there });
            }
            self.slots.pop_front();
            self.base = last;
            return Some(Taken::Next { content: piece.content, from, last });
        }
    }
}

#[cfg(test)]
mod tests;
