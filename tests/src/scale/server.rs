//! What does one thing at a time: a link's direction, or a core. Urgent things come first, one after the other; the others have
//! what time is left, in their order, and are interrupted by urgent ones.
//!
//! Invariant: work is never lost nor done twice: what was accepted up to a moment is done, waits, or is under way.
//!
//! An urgent thing's end is known when it is accepted. An ordinary thing's is not, as urgent ones may still come:
//! [`Server::due`] says when it would be, and is asked again then.

use std::collections::VecDeque;

use super::Nanos;

/// The server and what waits for it; `T` is what is known of an ordinary thing.
#[derive(Debug)]
pub struct Server<T> {
    /// When all urgent things are done.
    urgent_until: Nanos,
    /// Up to when the ordinary ones' progress is accounted for.
    accounted: Nanos,
    /// With what is left to do of each.
    waiting: VecDeque<(Nanos, T)>,
    /// When [`Server::due`] is to be asked next, as its owner has planned it.
    planned: Option<Nanos>,
    /// All that was done so far.
    busy: Nanos,
}

impl<T> Default for Server<T> {
    fn default() -> Self {
        Self {
            urgent_until: Nanos::ZERO,
            accounted: Nanos::ZERO,
            waiting: VecDeque::new(),
            planned: None,
            busy: Nanos::ZERO,
        }
    }
}

impl<T> Server<T> {
    /// Accepts an urgent thing that takes `work`. Says when it is done. `now` may lie ahead of other calls', as long as no
    /// urgent thing's `now` lies before an earlier one's.
    pub fn urgent(&mut self, now: Nanos, work: Nanos) -> Nanos {
        self.account(now);
        self.urgent_until = self.urgent_until.max(now) + work;
        self.busy += work;
        self.urgent_until
    }

    /// Accepts an ordinary thing that takes `work`.
    pub fn ordinary(&mut self, now: Nanos, work: Nanos, what: T) {
        self.account(now);
        if self.waiting.is_empty() {
            self.accounted = self.accounted.max(now);
        }
        self.waiting.push_back((work, what));
    }

    /// When the first ordinary thing is done, if nothing urgent comes.
    pub fn due(&self) -> Option<Nanos> {
        let (left, _) = self.waiting.front()?;
        Some(self.accounted.max(self.urgent_until) + *left)
    }

    /// The moment to call [`Server::done`] at, where none is planned yet that is early enough.
    pub fn plan(&mut self) -> Option<Nanos> {
        let due = self.due()?;
        if self.planned.is_some() {
            return None; // Urgent things only make it later: it is looked at again then.
        }
        self.planned = Some(due);
        Some(due)
    }

    /// The planned moment has come: the first ordinary thing, where it is done by now.
    pub fn done(&mut self, now: Nanos) -> Option<T> {
        self.planned = None;
        if self.due()? > now {
            return None;
        }
        self.account(now);
        let (_, what) = self.waiting.pop_front()?;
        Some(what)
    }

    /// How long it was busy so far, with what is accepted and urgent counted as done.
    pub fn busy(&self) -> Nanos {
        self.busy
    }

    /// How many ordinary things wait or are under way.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The first ordinary thing has had the time up to `now` that urgent ones left.
    fn account(&mut self, now: Nanos) {
        let from = self.accounted.max(self.urgent_until);
        if let Some((left, _)) = self.waiting.front_mut() {
            // A thing that is done is taken at that very moment: no time is left over for the next one.
            let had = now.since(from).min(*left);
            *left = *left - had;
            self.busy += had;
        }
        self.accounted = self.accounted.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Nanos {
        Nanos(nanos)
    }

    #[test]
    fn urgent_things_are_done_one_after_the_other_and_leave_gaps_idle() {
        let mut link = Server::<()>::default();
        assert_eq!(link.urgent(at(10), at(5)), at(15));
        assert_eq!(link.urgent(at(11), at(5)), at(20));
        assert_eq!(link.urgent(at(100), at(5)), at(105));
        assert_eq!(link.busy(), at(15));
    }

    #[test]
    fn an_ordinary_thing_is_put_off_by_exactly_the_urgent_ones_that_come_before_its_end() {
        let mut link = Server::default();
        link.ordinary(at(0), at(100), "batch");
        assert_eq!(link.plan(), Some(at(100)));
        link.urgent(at(40), at(7));
        link.urgent(at(41), at(3));
        assert_eq!(link.plan(), None, "one look is planned already");
        assert_eq!(link.done(at(100)), None);
        assert_eq!(link.plan(), Some(at(110)));
        assert_eq!(link.done(at(110)), Some("batch"));
        assert_eq!((link.busy(), link.waiting()), (at(110), 0));
    }

    #[test]
    fn ordinary_things_keep_their_order_and_an_idle_time_is_not_saved_up() {
        let mut core = Server::default();
        core.ordinary(at(50), at(10), 'a');
        core.ordinary(at(52), at(10), 'b');
        assert_eq!(core.plan(), Some(at(60)));
        assert_eq!(core.done(at(60)), Some('a'));
        assert_eq!(core.plan(), Some(at(70)));
        assert_eq!(core.done(at(70)), Some('b'));
        assert_eq!(core.plan(), None);
        core.ordinary(at(500), at(10), 'c');
        assert_eq!(core.plan(), Some(at(510)));
    }

    #[test]
    fn a_server_that_does_nothing_but_urgent_things_comes_to_no_other() {
        let mut core = Server::default();
        core.ordinary(at(0), at(10), ());
        core.plan();
        for turn in 0..10 {
            core.urgent(at(turn * 100), at(100));
        }
        assert_eq!(core.done(at(10)), None);
        assert_eq!(core.plan(), Some(at(1_010)));
    }
}
