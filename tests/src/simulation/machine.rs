//! One validator's process, and the disk that outlives it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use consensus::{Block, Certificate, Now, Replica};
use genesis::{Digest, Epoch, Height, PublicKey, SecretKey, UnixMillis, ValidatorIndex};

use super::adversary::Adversary;
use super::chance::Chance;
use super::journal::{Disk, Journal};
use super::store::Store;
use super::world::HostId;

/// A machine's idea of time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// What the wall clock shows at the start of the simulation.
    pub origin: UnixMillis,
    /// By how many millionths it runs fast, or slow.
    pub drift: i64,
    /// By how many milliseconds somebody has set the wall clock forward, or back. What has elapsed does not follow it.
    pub stepped: i64,
    /// When the process was started.
    pub booted: Duration,
}

impl Clock {
    fn drifted(&self, time: Duration) -> Duration {
        let micros = i128::try_from(time.as_micros()).unwrap_or(i128::MAX);
        let micros = micros + micros * i128::from(self.drift) / 1_000_000;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// What a step at `time` is told.
    pub fn read(&self, time: Duration) -> Now {
        let clock = self.origin.plus(self.drifted(time).as_millis() as u64);
        let clock = UnixMillis(clock.0.saturating_add_signed(self.stepped));
        Now { elapsed: self.drifted(time.saturating_sub(self.booted)), clock }
    }

    /// The first simulated moment at which this machine's `elapsed` has been reached.
    pub fn moment(&self, elapsed: Duration) -> Duration {
        let rate = i128::from(1_000_000 + self.drift);
        let micros = elapsed.as_micros() as i128 * 1_000_000 / rate;
        let mut moment = self.booted + Duration::from_micros(micros as u64);
        while self.read(moment).elapsed < elapsed {
            moment += Duration::from_micros(1);
        }
        moment
    }
}

/// A final block that waits for its execution.
#[derive(Debug)]
pub struct Final {
    /// The block.
    pub block: Block,
    /// Its own certificate, where it has one.
    pub commit: Option<Certificate>,
    /// The hash of the configuration that takes over after it.
    pub closes: Option<Digest>,
}

/// A copy of a disk, as a backup holds it.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The voting record.
    pub journal: Disk,
    /// The ledger.
    pub store: Store,
}

/// One process with its disk.
#[derive(Debug)]
pub struct Machine {
    /// Whose keys it has; twins share them.
    pub member: usize,
    /// Its consensus key.
    pub secret: SecretKey,
    /// Its network key: by that its peers know it.
    pub network: PublicKey,
    /// Its place in the epoch whose actions it performs; none for an observer.
    pub index: Option<ValidatorIndex>,
    /// The epoch whose actions it performs.
    pub epoch: Epoch,
    /// Whether it may break the rules: a twin, one that forgets, or one with an adversary.
    pub byzantine: bool,
    /// What stands between its replica and the links, if it is Byzantine by more than having a twin.
    pub adversary: Option<Adversary>,
    /// Until when its disk is slow.
    pub slow_until: Duration,
    /// Whether its disk fails at the next sync.
    pub sync_fails: bool,
    /// Whether a crash takes its journal along, and it pretends that there never was one.
    pub forgetful: bool,
    /// The mark that says that there never was a journal (P7); gone from the first start on.
    pub first_start: bool,
    /// Whether it was restored from a backup, which looks whole by itself.
    pub restored: bool,
    /// Whether it ever lost votes.
    pub lost_votes: bool,
    /// `None` while it is down.
    pub replica: Option<Replica>,
    /// Which run of the process this is: what an earlier one had under way is void.
    pub life: u64,
    /// Its time.
    pub clock: Clock,
    /// When it wants to be called again.
    pub wake: Option<Duration>,
    /// Its votes.
    pub journal: Journal,
    /// Its chain.
    pub store: Store,
    /// Payload that is here, valid and durable.
    pub items: BTreeSet<Digest>,
    /// Blocks that are final and not executed.
    pub to_execute: VecDeque<Final>,
    /// The block that is to be judged.
    pub judging: Option<Block>,
    /// The newest height that this process has finalised.
    pub final_height: Height,
    /// When it last wrote to somebody about epochs.
    pub about_epochs: BTreeMap<HostId, Duration>,
}

impl Machine {
    /// Whether the block of an item was already finalised here.
    pub fn has_ordered(&self, item: &Digest) -> bool {
        self.store.ordered.contains(item)
            || self.to_execute.iter().any(|waits| waits.block.payload.contains(item))
    }

    /// The process dies.
    pub fn crash(&mut self, chance: &mut Chance) {
        self.replica = None;
        self.life += 1;
        self.wake = None;
        self.sync_fails = false;
        self.judging = None;
        self.to_execute.clear();
        self.about_epochs.clear();
        self.journal.crash(chance);
        self.store.crash(chance);
        if self.forgetful {
            self.journal.disk = Disk::default();
            self.first_start = true;
        }
    }

    /// Begins a new file of the journal with the replica's state, and drops those that are not needed any more.
    pub fn rewrite_journal(&mut self) {
        let Some(replica) = &self.replica else { return };
        if self.journal.is_settled() {
            self.journal.begin(replica.records(), replica.status().tip.height);
            self.forget_journal();
        }
    }

    /// Drops the files of the journal that are not needed any more: the blocks in them must be durable in the ledger.
    pub fn forget_journal(&mut self) {
        if self.journal.has_before(self.store.height()) {
            self.store.sync();
            self.journal.forget_before(self.store.height());
        }
    }

    /// A copy of its disk.
    pub fn backup(&self) -> Backup {
        Backup { journal: self.journal.disk.clone(), store: self.store.clone() }
    }
}
