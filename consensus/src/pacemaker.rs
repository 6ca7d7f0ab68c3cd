//! When a view has failed: the time-outs (P9) and what arms them (P10).
//!
//! Invariant: Δ follows from certificates alone, which all replicas see, and never exceeds its cap, whatever
//! happened before.

use std::time::Duration;

use genesis::Parameters;

use crate::bug::{Bug, on};

/// How Δ grows and shrinks.
#[derive(Clone, Debug)]
pub(crate) struct Pacemaker {
    base: Duration,
    cap: Duration,
    /// How often Δ is raised by half at present.
    level: u32,
}

impl Pacemaker {
    pub(crate) fn new(parameters: &Parameters) -> Self {
        Self {
            base: Duration::from_millis(parameters.delta_ms),
            cap: Duration::from_millis(parameters.delta_cap_ms),
            level: 0,
        }
    }

    /// Δ now.
    pub(crate) fn delta(&self) -> Duration {
        let raised = (0..self.level).fold(self.base, |delta, _| raised(delta));
        if on(Bug::DeltaCapIgnored) { raised } else { raised.min(self.cap) }
    }

    /// P9: a view that failed raises Δ by half, to the cap.
    pub(crate) fn view_failed(&mut self) {
        if self.delta() < self.cap && !on(Bug::DeltaNeverRaised)
            || on(Bug::DeltaCapIgnored) && self.level < 40
        {
            self.level += 1;
        }
    }

    /// P9: a final view lowers Δ one step, to its base.
    pub(crate) fn view_final(&mut self) {
        if !on(Bug::DeltaNeverLowered) {
            self.level = self.level.saturating_sub(1);
        }
    }
}

fn raised(delta: Duration) -> Duration {
    delta + delta / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p9_delta_rises_by_half_to_its_cap_and_comes_back_by_as_many_final_views() {
        let mut pacemaker = Pacemaker::new(&Parameters::default());
        let mut rises = 0;
        while pacemaker.delta() < Duration::from_millis(8_000) {
            let before = pacemaker.delta();
            pacemaker.view_failed();
            rises += 1;
            assert_eq!(pacemaker.delta(), (before + before / 2).min(Duration::from_millis(8_000)));
        }
        (0..100_000).for_each(|_| pacemaker.view_failed());
        assert_eq!(pacemaker.delta(), Duration::from_millis(8_000));
        (0..rises).for_each(|_| pacemaker.view_final());
        assert_eq!(pacemaker.delta(), Duration::from_millis(400));
    }
}
