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
    /// A machine loses its voting record.
    JournalLost,
    /// A machine loses its whole disk.
    DiskLost,
    /// A machine's disk is restored from a backup.
    Restored,
    /// A machine loses its ledger, and keeps its voting record.
    LedgerLost,
    /// A member joins, leaves, or gets other keys.
    MembersChange,
    /// The parameters change.
    ParametersChange,
    /// An outsider tries to change something.
    OutsiderVotes,
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
        Self::JournalLost,
        Self::DiskLost,
        Self::Restored,
        Self::LedgerLost,
        Self::MembersChange,
        Self::ParametersChange,
        Self::OutsiderVotes,
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
            Self::JournalLost => "journal lost",
            Self::DiskLost => "disk lost",
            Self::Restored => "restored from a backup",
            Self::LedgerLost => "ledger lost",
            Self::MembersChange => "change of members",
            Self::ParametersChange => "change of parameters",
            Self::OutsiderVotes => "outsider's vote",
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
