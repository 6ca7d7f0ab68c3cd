//! What goes wrong by itself, by name, and how often it did.

/// The faults of machines, disks, clocks and links that are not a matter of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One process dies.
    Crash,
    /// All die at once, and each disk loses what it had not synced.
    PowerCut,
    /// One machine is down for most of the time.
    Absence,
    /// A sync fails, and its machine stops.
    FailedSync,
    /// A disk takes seconds for a sync.
    SlowDisk,
    /// A clock is set wrong.
    ClockStep,
    /// A part of the network is cut off, both ways.
    Partition,
    /// Nothing gets from one machine to another any more, but the other way.
    OneWayCut,
}

impl Fault {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Crash,
        Self::PowerCut,
        Self::Absence,
        Self::FailedSync,
        Self::SlowDisk,
        Self::ClockStep,
        Self::Partition,
        Self::OneWayCut,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerCut => "power cut everywhere",
            Self::Absence => "long absence",
            Self::FailedSync => "failed sync",
            Self::SlowDisk => "slow disk",
            Self::ClockStep => "clock set wrong",
            Self::Partition => "partition",
            Self::OneWayCut => "one-way cut",
        }
    }
}

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults([u64; Fault::ALL.len()]);

impl Faults {
    /// One more.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often `fault` happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Takes in another's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}
