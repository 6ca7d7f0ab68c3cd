//! What a run consists of.

use std::time::Duration;

use genesis::Parameters;

use super::adversary::Kind;
use super::chance::Chance;

/// From the least to the most.
pub type Range = (Duration, Duration);

/// What the validators vote on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// That a member joins.
    Join(usize),
    /// That one leaves.
    Leave(usize),
    /// That the second takes the place of the first.
    Replace(usize, usize),
    /// That there be other parameters.
    Set(Box<Parameters>),
    /// Whatever one likes who has no say: nothing comes of it.
    Outsider(usize),
}

/// All that is fixed before a run begins. Times are simulated.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `n`.
    pub validators: usize,
    /// How many more machines there are, which follow and may be voted in.
    pub observers: usize,
    /// What the validators will vote on, in order: when, and what.
    pub votes: Vec<(Duration, Decision)>,
    /// How many of them run twice with one key and two journals: each pair is one Byzantine validator that
    /// equivocates, votes on both sides, and remembers nothing of its other half.
    pub twins: usize,
    /// How many of them lose their whole disk in a crash.
    pub forgetful: usize,
    /// How those are Byzantine that are so by an adversary: one entry a machine. More than `f` together with the twins
    /// and those that forget would be no test.
    pub adversaries: Vec<Vec<Kind>>,
    /// What the network was founded with.
    pub parameters: Parameters,
    /// How many payload items are announced while the faults last.
    pub items: u64,
    /// How many of 100 times an item reaches a machine that is not of the first quorum up to 10 s late.
    pub late_items_percent: u64,
    /// How often a machine loses its journal, or is restored from a backup, on average.
    pub wipe_every: Option<Duration>,
    /// How many may have lost their votes at a time: with the Byzantine ones not more than `f`.
    pub wipes_at_once: usize,
    /// For how long there are faults.
    pub weather: Duration,
    /// What a message takes.
    pub delay: Range,
    /// How many of 100 messages take much longer (and so are overtaken) while the faults last.
    pub late_percent: u64,
    /// What those take.
    pub late: Range,
    /// How many of 100 messages are lost while the faults last.
    pub loss_percent: u64,
    /// How many of 100 messages arrive twice while the faults last.
    pub twice_percent: u64,
    /// What making records durable takes.
    pub sync: Range,
    /// What executing a block takes.
    pub execute: Range,
    /// What judging a block takes, once its payload is there.
    pub judge: Range,
    /// How often somebody crashes, on average.
    pub crash_every: Option<Duration>,
    /// Whether one machine is down for most of the time, so that it has to fetch blocks afterwards.
    pub absence: bool,
    /// How often a part of the network is cut off, on average.
    pub cut_every: Option<Duration>,
    /// How often a sync fails, on average: its machine crashes.
    pub failed_sync_every: Option<Duration>,
    /// How often some machine's disk becomes slow for a while, on average.
    pub slow_disk_every: Option<Duration>,
    /// How often some machine's clock is set wrong, on average, until the faults are over.
    pub clock_step_every: Option<Duration>,
    /// How far the clocks of honest machines are wrong, each way.
    pub clock_error: Duration,
    /// How many machines have clocks that are wrong by up to a minute, each way.
    pub mad_clocks: usize,
    /// Whether journals are rewritten from `Replica::records` now and then.
    pub rewrite_journals: bool,
    /// Whether every receiver decodes and verifies the bytes by itself.
    pub as_bytes: bool,
    /// Whether everything sent and finalised is printed.
    pub narrate: bool,
}

const fn ms(least: u64, most: u64) -> Range {
    (Duration::from_millis(least), Duration::from_millis(most))
}

impl Plan {
    fn most(&self, of: fn(&Parameters) -> u64) -> u64 {
        let later = self.votes.iter().filter_map(|(_, decision)| match decision {
            Decision::Set(parameters) => Some(of(parameters)),
            _ => None,
        });
        later.fold(of(&self.parameters), u64::max)
    }

    /// The most batches that a block may name in any epoch.
    pub fn most_block_batches(&self) -> u64 {
        self.most(|parameters| parameters.max_block_batches)
    }

    /// The longest Δ of any epoch.
    pub fn most_delta_cap_ms(&self) -> u64 {
        self.most(|parameters| parameters.delta_cap_ms)
    }

    /// The most that a clock bound is in any epoch.
    pub fn most_clock_bound_ms(&self) -> u64 {
        self.most(|parameters| parameters.clock_bound_ms)
    }

    /// The longest heartbeat of any epoch.
    pub fn most_heartbeat_ms(&self) -> u64 {
        self.most(|parameters| parameters.heartbeat_ms)
    }

    /// A network without faults, with every message under way for 5 ms.
    pub fn calm(validators: usize) -> Self {
        Self {
            validators,
            observers: 0,
            votes: Vec::new(),
            twins: 0,
            forgetful: 0,
            adversaries: Vec::new(),
            parameters: Parameters::default(),
            items: 0,
            late_items_percent: 0,
            wipe_every: None,
            wipes_at_once: 0,
            weather: Duration::ZERO,
            delay: ms(5, 5),
            late_percent: 0,
            late: ms(5, 5),
            loss_percent: 0,
            twice_percent: 0,
            sync: ms(0, 0),
            execute: ms(1, 1),
            judge: ms(0, 0),
            crash_every: None,
            absence: false,
            cut_every: None,
            failed_sync_every: None,
            slow_disk_every: None,
            clock_step_every: None,
            clock_error: Duration::ZERO,
            mad_clocks: 0,
            rewrite_journals: false,
            as_bytes: false,
            narrate: false,
        }
    }

    /// A network with faults that stay within what the protocol bears.
    pub fn drawn(chance: &mut Chance, validators: usize) -> Self {
        let delta_ms = chance.between(100, 400);
        let parameters = Parameters {
            delta_ms,
            delta_cap_ms: delta_ms * chance.between(1, 16),
            heartbeat_ms: chance.between(5_000, 30_000),
            clock_bound_ms: 500,
            max_block_batches: chance.between(1, 6),
            max_checkpoint_lag: chance.between(8, 64),
            ..Parameters::default()
        };
        let mut seldom = |percent: u64, least: u64, most: u64| {
            chance.percent(percent).then(|| Duration::from_millis(chance.between(least, most)))
        };
        let crash_every = seldom(70, 1_000, 8_000);
        let cut_every = seldom(60, 1_000, 8_000);
        let failed_sync_every = seldom(30, 1_000, 8_000);
        let slow_disk_every = seldom(30, 2_000, 8_000);
        let clock_step_every = seldom(30, 1_000, 8_000);
        let faulty = (validators as u64 - 1) / 3;
        let twins = if chance.percent(20) { chance.between(0, faulty) } else { 0 };
        let forgetful = if chance.percent(10) { chance.between(0, faulty - twins) } else { 0 };
        let left = faulty - twins - forgetful;
        let played = if chance.percent(60) { chance.between(left.min(1), left) } else { 0 };
        let adversaries = (0..played).map(|_| draw_kinds(chance)).collect();
        let mad_clocks = chance.between(0, left - played) as usize;
        let absence = chance.percent(8);
        let slowest = chance.between(10, delta_ms / 2);
        let weather = Duration::from_millis(chance.between(3_000, 20_000));
        let spare = (left - played) as usize - mad_clocks;
        let wipe_every =
            (spare > 0 && chance.percent(70)).then(|| Duration::from_millis(chance.between(1_500, 8_000)));
        let faulty = twins as usize + forgetful as usize + played as usize;
        let mut ballot = Ballot { chance, weather, parameters: &parameters, faulty, mad_clocks };
        let (observers, votes) = ballot.draw(validators);
        Self {
            validators,
            observers,
            votes,
            twins: twins as usize,
            forgetful: forgetful as usize,
            adversaries,
            parameters: parameters.clone(),
            items: if absence { chance.between(30, 90) } else { chance.between(1, 24) },
            late_items_percent: chance.between(0, 20),
            wipe_every,
            wipes_at_once: spare,
            weather,
            delay: ms(1, slowest),
            late_percent: chance.between(0, 10),
            late: ms(slowest, 20 * delta_ms),
            loss_percent: if chance.percent(60) { chance.between(1, 30) } else { 0 },
            twice_percent: chance.between(0, 8),
            sync: ms(0, chance.between(0, 40)),
            execute: ms(0, chance.between(1, 300)),
            judge: ms(0, chance.between(0, 100)),
            crash_every,
            absence,
            cut_every,
            failed_sync_every,
            slow_disk_every,
            clock_step_every,
            clock_error: Duration::from_millis(chance.between(0, 240)),
            mad_clocks,
            rewrite_journals: chance.percent(50),
            as_bytes: chance.percent(3),
            narrate: false,
        }
    }
}

/// Draws what is voted on, within what the protocol bears: the Byzantine members, who come first, and those whose clocks
/// are mad, who come last, stay, and never become more than `f`.
struct Ballot<'a> {
    chance: &'a mut Chance,
    weather: Duration,
    parameters: &'a Parameters,
    faulty: usize,
    mad_clocks: usize,
}

impl Ballot<'_> {
    fn draw(&mut self, founders: usize) -> (usize, Vec<(Duration, Decision)>) {
        if !self.chance.percent(45) {
            let observers = usize::from(self.chance.percent(10));
            return (observers, Vec::new());
        }
        let observers = self.chance.between(1, 3) as usize;
        let count = self.chance.between(1, 4);
        let mut moments: Vec<_> =
            (0..count).map(|_| self.chance.duration((Duration::ZERO, self.weather))).collect();
        moments.sort_unstable();
        // Who will have a seat if all decisions come to pass; in each case there are enough.
        let mut seated: Vec<usize> = (0..founders).collect();
        let mut outside: Vec<usize> = (founders..founders + observers).collect();
        let mut votes = Vec::new();
        for moment in moments {
            let free = |member: &usize| {
                *member >= self.faulty && !(founders - self.mad_clocks..founders).contains(member)
            };
            let movable: Vec<_> = seated.iter().copied().filter(free).collect();
            let shrinks = (seated.len().saturating_sub(2)) / 3 >= self.faulty + self.mad_clocks;
            let leaver = self.chance.pick(&movable);
            let joiner = self.chance.pick(&outside);
            let decision = match (self.chance.below(8), joiner, leaver) {
                (0..3, Some(joiner), _) => {
                    seated.push(joiner);
                    outside.retain(|member| *member != joiner);
                    Decision::Join(joiner)
                }
                (3..5, _, Some(leaver)) if shrinks && seated.len() > 1 => {
                    seated.retain(|member| *member != leaver);
                    outside.push(leaver);
                    Decision::Leave(leaver)
                }
                (5, Some(joiner), Some(leaver)) => {
                    for member in seated.iter_mut().filter(|member| **member == leaver) {
                        *member = joiner;
                    }
                    outside.retain(|member| *member != joiner);
                    outside.push(leaver);
                    Decision::Replace(leaver, joiner)
                }
                (6, ..) => Decision::Outsider(self.chance.below(2) as usize),
                _ => Decision::Set(Box::new(self.other_parameters())),
            };
            votes.push((moment, decision));
        }
        (observers, votes)
    }

    fn other_parameters(&mut self) -> Parameters {
        let delta_ms = self.chance.between(100, 400);
        Parameters {
            delta_ms,
            delta_cap_ms: delta_ms * self.chance.between(1, 16),
            max_block_batches: self.chance.between(1, 6),
            max_checkpoint_lag: self.chance.between(8, 64),
            ..self.parameters.clone()
        }
    }
}

/// How one machine is Byzantine: mostly in one way, sometimes in up to three at once.
fn draw_kinds(chance: &mut Chance) -> Vec<Kind> {
    let mut kinds: Vec<_> = Kind::played().collect();
    chance.shuffle(&mut kinds);
    kinds.truncate(match chance.below(10) {
        0..6 => 1,
        6..9 => 2,
        _ => 3,
    });
    kinds
}
