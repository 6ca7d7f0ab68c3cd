//! What is measured of a run, and how it is printed.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Nanos;
use super::machine::{Machine, Traffic, Work};
use super::network::Network;
use super::plan::Load;

/// Committed at least so much of what was offered: it is sustained.
const SUSTAINED: f64 = 0.97;
/// What is busy for so much of the time limits the rest.
const FULL: f64 = 0.85;

/// Bytes sent, with what a frame has on the wire beside its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// Proposals.
    pub proposals: f64,
    /// Votes and signed checkpoints.
    pub votes: f64,
    /// Certificates.
    pub certificates: f64,
    /// Who holds which batches.
    pub acknowledgements: f64,
    /// Batches.
    pub batches: f64,
    /// Questions, and their answers.
    pub other: f64,
}

impl Sent {
    /// Counts a frame of so many bytes.
    pub fn add(&mut self, traffic: Traffic, bytes: u64) {
        let place = match traffic {
            Traffic::Proposal => &mut self.proposals,
            Traffic::Vote => &mut self.votes,
            Traffic::Certificate => &mut self.certificates,
            Traffic::Acknowledgement => &mut self.acknowledgements,
            Traffic::Batch => &mut self.batches,
            Traffic::Other => &mut self.other,
        };
        *place += bytes as f64;
    }

    /// The mean of many, divided by `seconds`.
    fn mean<'a>(all: impl ExactSizeIterator<Item = &'a Self>, seconds: f64) -> Self {
        let share = 1.0 / (all.len() as f64 * seconds);
        all.fold(Self::default(), |sum, one| Self {
            proposals: sum.proposals + one.proposals * share,
            votes: sum.votes + one.votes * share,
            certificates: sum.certificates + one.certificates * share,
            acknowledgements: sum.acknowledgements + one.acknowledgements * share,
            batches: sum.batches + one.batches * share,
            other: sum.other + one.other * share,
        })
    }
}

/// What a driver computed, as a share of the time: 1 is always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// To receive frames.
    pub receive: f64,
    /// To send them.
    pub send: f64,
    /// To check single signatures, and to sign.
    pub signatures: f64,
    /// To check certificates.
    pub certificates: f64,
    /// To note who holds which batches.
    pub held: f64,
    /// The replica's steps.
    pub steps: f64,
}

impl Spent {
    /// Counts something that took `cost`.
    pub fn add(&mut self, work: Work, cost: Nanos) {
        let place = match work {
            Work::Receive => &mut self.receive,
            Work::Send => &mut self.send,
            Work::Signatures => &mut self.signatures,
            Work::Certificates => &mut self.certificates,
            Work::Held => &mut self.held,
            Work::Steps => &mut self.steps,
        };
        *place += cost.seconds();
    }

    fn all(&self) -> f64 {
        self.receive + self.send + self.signatures + self.certificates + self.held + self.steps
    }

    /// The mean of many, divided by `seconds`.
    fn mean<'a>(all: impl ExactSizeIterator<Item = &'a Self>, seconds: f64) -> Self {
        let share = 1.0 / (all.len() as f64 * seconds);
        all.fold(Self::default(), |sum, one| Self {
            receive: sum.receive + one.receive * share,
            send: sum.send + one.send * share,
            signatures: sum.signatures + one.signatures * share,
            certificates: sum.certificates + one.certificates * share,
            held: sum.held + one.held * share,
            steps: sum.steps + one.steps * share,
        })
    }
}

/// In hundredths of the time.
impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receive, send, signatures, certificates, held, steps } = self;
        let [receive, send, signatures, certificates, held, steps] =
            [receive, send, signatures, certificates, held, steps].map(|share| share * 100.0);
        write!(
            f,
            "receiving {receive:.1}, sending {send:.1}, signatures {signatures:.1}, certificates {certificates:.1}, \
             acknowledgements {held:.1}, steps {steps:.1}"
        )
    }
}

/// For how long the parts of a validator were busy.
#[derive(Clone, Debug)]
pub(super) struct Busy {
    uplink: Nanos,
    downlink: Nanos,
    cores: Vec<Nanos>,
    driver: Nanos,
}

impl Busy {
    pub(super) fn of(machine: &Machine) -> Self {
        Self {
            uplink: machine.uplink.busy(),
            downlink: machine.downlink.busy(),
            cores: machine.cores.iter().map(|core| core.busy()).collect(),
            driver: machine.driver.occupied,
        }
    }
}

/// What a run counts as it goes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub events: u64,
    pub steps: u64,
    /// Real time in the replicas' steps.
    pub stepped: Duration,
    pub latencies: Vec<Nanos>,
    pub at_begin: Vec<Busy>,
    pub given_up: u64,
    pub fetched: u64,
    pub pushed_again: u64,
    pub synchronized: u64,
    blocks: u64,
    carrying: u64,
    named: u64,
    sealed: u64,
    sealed_transactions: u64,
}

impl Tally {
    pub(super) fn block(&mut self, batches: usize) {
        self.blocks += 1;
        self.carrying += u64::from(batches > 0);
        self.named += batches as u64;
    }

    pub(super) fn sealed(&mut self, is_measured: bool, transactions: u64) {
        self.sealed += u64::from(is_measured);
        self.sealed_transactions += if is_measured { transactions } else { 0 };
    }
}

/// For how much of the time something was busy: 1 is always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// The mean over all validators.
    pub mean: f64,
    /// That of the busiest one.
    pub most: f64,
}

/// A run's figures. Rates are a second.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// How many validators.
    pub validators: u16,
    /// Where the transactions arrived.
    pub load: Load,
    /// Transactions offered.
    pub offered: f64,
    /// Transactions final at their authors.
    pub committed: f64,
    /// Whether nearly all that was offered was committed.
    pub is_sustained: bool,
    /// From arrival at the author to finality there, in ms.
    pub p50_ms: f64,
    /// The same for the slowest hundredth.
    pub p99_ms: f64,
    /// Blocks final.
    pub blocks: f64,
    /// Batches that a block names that names any.
    pub batches_a_block: f64,
    /// Transactions in a batch.
    pub transactions_a_batch: f64,
    /// Bytes sent by a validator: the mean over all.
    pub sent_bytes: Sent,
    /// The uplinks.
    pub uplink: Share,
    /// The downlinks.
    pub downlink: Share,
    /// The validators' cores; of each the busiest.
    pub core: Share,
    /// The loops that drive the replicas, while they computed or waited for the disk.
    pub driver: Share,
    /// What the drivers computed: the mean over all.
    pub driver_work: Spent,
    /// What the one computed that computed most.
    pub busiest_driver_work: Spent,
    /// How long a proposal keeps its leader's uplink, for all copies, in ms.
    pub proposal_ms: f64,
    /// View-changes that were signed.
    pub given_up: u64,
    /// Batches that were asked for.
    pub fetched: u64,
    /// Copies of batches that were pushed again.
    pub pushed_again: u64,
    /// How often a validator asked for final blocks.
    pub synchronized: u64,
    /// What was busy nearly all the time, if anything was.
    pub limit: &'static str,
    /// What the simulation itself did; it is not the same each time.
    #[serde(skip)]
    pub speed: Speed,
}

/// How much the simulation did. Equal to any other, so that figures can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Events.
    pub events: u64,
    /// Steps of replicas.
    pub steps: u64,
    /// Real time that these took.
    pub stepped: Duration,
}

impl PartialEq for Speed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Speed {
    /// How long a replica's step took, in µs of real time.
    pub fn step_us(&self) -> f64 {
        self.stepped.as_secs_f64() * 1e6 / self.steps.max(1) as f64
    }
}

impl Network {
    pub(super) fn figures(mut self) -> Figures {
        let seconds = self.plan.measured.as_secs_f64();
        let at_begin = &self.tally.at_begin;
        let share = |of: fn(&Busy) -> Nanos| {
            let pairs = self.machines.iter().zip(at_begin);
            let busy =
                pairs.map(|(machine, before)| of(&Busy::of(machine)).since(of(before)).seconds() / seconds);
            let busy: Vec<_> = busy.map(|busy| busy.min(1.0)).collect();
            let most = busy.iter().copied().fold(0.0, f64::max);
            Share { mean: busy.iter().sum::<f64>() / busy.len() as f64, most }
        };
        let cores = (0..self.plan.cores).map(|core| match core {
            0 => share(|busy| busy.cores[0]),
            1 => share(|busy| busy.cores[1]),
            2 => share(|busy| busy.cores[2]),
            _ => share(|busy| busy.cores[3]),
        });
        let core = cores.max_by(|one, other| one.most.total_cmp(&other.most)).unwrap_or_default();
        let (uplink, downlink) = (share(|busy| busy.uplink), share(|busy| busy.downlink));
        let driver = share(|busy| busy.driver);
        self.tally.latencies.sort_unstable();
        let latencies = &self.tally.latencies;
        let percentile = |percent: usize| {
            let place = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
            latencies.get(place).map_or(f64::NAN, |latency| latency.seconds() * 1e3)
        };
        let tally = &self.tally;
        let committed = latencies.len() as f64 / seconds;
        let sent_bytes = Sent::mean(self.machines.iter().map(|machine| &machine.sent), seconds);
        let spent = || self.machines.iter().map(|machine| &machine.spent);
        let driver_work = Spent::mean(spent(), seconds);
        let busiest = spent().max_by(|one, other| one.all().total_cmp(&other.all()));
        let busiest_driver_work = Spent::mean(busiest.into_iter().collect::<Vec<_>>().into_iter(), seconds);
        let blocks = tally.blocks as f64 / seconds;
        let batches_a_block = tally.named as f64 / tally.carrying.max(1) as f64;
        let all_proposals = sent_bytes.proposals * f64::from(self.plan.validators);
        let bytes_a_second = self.plan.bandwidth.bits_a_second as f64 / 8.0;
        let room = batches_a_block / self.plan.parameters().max_block_batches as f64;
        let limit = limit(self.plan.load, uplink, downlink, core, driver, room);
        Figures {
            validators: self.plan.validators,
            load: self.plan.load,
            offered: self.plan.rate,
            committed,
            is_sustained: committed >= SUSTAINED * self.plan.rate,
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            blocks,
            batches_a_block,
            transactions_a_batch: tally.sealed_transactions as f64 / tally.sealed.max(1) as f64,
            sent_bytes,
            uplink,
            downlink,
            core,
            driver,
            driver_work,
            busiest_driver_work,
            proposal_ms: if blocks > 0.0 { all_proposals / blocks / bytes_a_second * 1e3 } else { 0.0 },
            given_up: tally.given_up,
            fetched: tally.fetched,
            pushed_again: tally.pushed_again,
            synchronized: tally.synchronized,
            limit,
            speed: Speed { events: tally.events, steps: tally.steps, stepped: tally.stepped },
        }
    }
}

/// What was busy nearly all the time: the busiest of what is.
fn limit(load: Load, uplink: Share, downlink: Share, core: Share, driver: Share, room: f64) -> &'static str {
    let one = load == Load::One;
    // Of those that are equally busy the last one: it is the nearest to the cause.
    let names = [
        (Share { mean: room, most: room }, "room in blocks"),
        (downlink, "downlink"),
        (driver, "driver"),
        (core, if one && core.mean < FULL { "author's core" } else { "core" }),
        (uplink, if one { "author's uplink" } else { "uplink" }),
    ];
    let full = names.into_iter().filter(|(share, _)| share.most >= FULL);
    let fullest = full.max_by(|(one, _), (other, _)| one.most.total_cmp(&other.most));
    fullest.map_or("", |(_, name)| name)
}

/// The heads of the table's columns.
pub const HEAD: &str = "\
| validators | load at | offered | committed | p50 | p99 | blocks | batches a block | tx a batch | proposals | votes | certificates | acknowledgements | batches | uplink | core | driver | limit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// A line of the table. Bytes in KB a second, by a validator; what is busy in hundredths of the time: the mean / the
/// busiest validator's.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = match self.load {
            Load::All => "all",
            Load::One => "one",
        };
        let kb = |bytes: f64| format!("{:.0}", bytes / 1e3);
        let percent = |share: Share| format!("{:.0} / {:.0}", share.mean * 100.0, share.most * 100.0);
        let sent = self.sent_bytes;
        let cells = [
            self.validators.to_string(),
            load.to_owned(),
            format!("{:.0}", self.offered),
            format!("{:.0}{}", self.committed, if self.is_sustained { "" } else { " (!)" }),
            format!("{:.0} ms", self.p50_ms),
            format!("{:.0} ms", self.p99_ms),
            format!("{:.1}", self.blocks),
            format!("{:.0}", self.batches_a_block),
            format!("{:.1}", self.transactions_a_batch),
            kb(sent.proposals),
            kb(sent.votes),
            kb(sent.certificates + sent.other),
            kb(sent.acknowledgements),
            kb(sent.batches),
            percent(self.uplink),
            percent(self.core),
            percent(self.driver),
            self.limit.to_owned(),
        ];
        write!(f, "| {} |", cells.join(" | "))
    }
}
