//! The way to the highest rate that the network sustains: doubled until it does not, or halved until it does, then between the
//! two, in a bounded number of steps.

/// The search. Rates are transactions a second.
#[derive(Clone, Debug)]
pub struct Search {
    next: Option<u64>,
    sustained: Option<u64>,
    saturated: Option<u64>,
    /// How many steps may still be made.
    left: u32,
}

/// The lowest rate that is tried.
const LOWEST: u64 = 4;

impl Search {
    /// Begins at a rate, and makes at most so many steps.
    pub fn new(first: u64, steps: u32) -> Self {
        Self { next: Some(first.max(LOWEST)), sustained: None, saturated: None, left: steps }
    }

    /// The rate to try; none where it is done.
    pub fn next_rate(&self) -> Option<u64> {
        self.next
    }

    /// The highest rate that was sustained below all that were not.
    pub fn sustained(&self) -> Option<u64> {
        self.sustained
    }

    /// Takes down what became of the rate to try.
    pub fn note(&mut self, is_sustained: bool) {
        let Some(rate) = self.next.take() else { return };
        if is_sustained {
            self.sustained = Some(rate);
        } else {
            self.saturated = Some(rate);
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return;
        }
        self.next = match (self.sustained, self.saturated) {
            (Some(low), Some(high)) => {
                // Closer than a sixteenth, one run differs from the next by more.
                (high - low > low / 16)
                    .then(|| rounded(u64::midpoint(low, high)))
                    .filter(|rate| low < *rate && *rate < high)
            }
            (Some(low), None) => low.checked_mul(2),
            (None, Some(high)) => Some(high / 2).filter(|rate| *rate >= LOWEST),
            (None, None) => None,
        };
    }
}

/// Two digits and a half: rates that can be read and named again.
pub fn rounded(rate: u64) -> u64 {
    let mut step = 1;
    while rate / step >= 100 {
        step *= 10;
    }
    // A half step, where the rate is long enough for one.
    let step = if step >= 10 { step / 2 } else { step };
    (rate + step / 2) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates that are tried on a network that sustains `capacity`.
    fn tried(first: u64, steps: u32, capacity: u64) -> (Vec<u64>, Option<u64>) {
        let (mut search, mut rates) = (Search::new(first, steps), Vec::new());
        while let Some(rate) = search.next_rate() {
            rates.push(rate);
            search.note(rate <= capacity);
        }
        (rates, search.sustained())
    }

    #[test]
    fn it_comes_within_a_sixteenth_of_what_is_sustained_from_either_side() {
        for capacity in [10, 77, 1_234, 4_700, 99_999] {
            for first in [1, 500, 3_000, 1_000_000] {
                let (rates, found) = tried(first, 40, capacity);
                let found = found.unwrap_or_else(|| panic!("{capacity} from {first}: {rates:?}"));
                assert!(found <= capacity, "{capacity} from {first}: {found}");
                assert!(
                    found + found / 16 + found / 20 + 2 >= capacity,
                    "{capacity} from {first}: {rates:?}"
                );
            }
        }
    }

    #[test]
    fn it_ends_within_its_steps_whatever_happens() {
        assert_eq!(tried(1_000, 5, u64::MAX).0, [1_000, 2_000, 4_000, 8_000, 16_000]);
        let (rates, found) = tried(1_000, 40, 0);
        assert_eq!((rates.last(), found), (Some(&7), None));
    }

    #[test]
    fn rates_are_round() {
        let rates = [3, 77, 1_234, 4_703, 98_765].map(rounded);
        assert_eq!(rates, [3, 77, 1_250, 4_700, 99_000]);
    }
}
