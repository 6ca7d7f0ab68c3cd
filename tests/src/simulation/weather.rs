//! A drawn run: faults for a while, then none. While there are faults nothing unsafe may happen; when they are over,
//! everything announced becomes final everywhere in bounded time, and then the network falls silent.

mod votes;
mod wipes;

use std::collections::BTreeMap;
use std::time::Duration;

use super::adversary::Deeds;
use super::chance::Chance;
use super::fault::{Fault, Faults};
use super::world::{HostId, World, item};
use super::{Failure, Plan};
use crate::say::say;

/// For how many heartbeats silence is checked.
const HEARTBEATS: u32 = 3;
/// How many items must become final one after the other once the faults are over, beside what was left: enough for
/// the turns of Byzantine leaders to be among those that pass.
const ITEMS_AFTER: u64 = 3;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that happened.
    pub trace: u64,
    /// How many events there were.
    pub steps: u64,
    /// How many blocks are final.
    pub blocks: usize,
    /// How long it took from the end of the faults until all was final everywhere.
    pub healed_in: Duration,
    /// In how many views.
    pub healed_in_views: u64,
    /// How many epochs began after the first.
    pub epochs: u64,
    /// How often somebody was accused with evidence.
    pub accusations: u64,
    /// What the Byzantine machines did.
    pub deeds: Deeds,
    /// What went wrong by itself.
    pub faults: Faults,
    /// How many messages were refused by their receivers.
    pub refused: u64,
}

/// What the weather does next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Announce(u64),
    Crash,
    CrashAll,
    Leave(HostId),
    Restart(HostId),
    FailSync,
    SlowDisk,
    StepClock,
    LookAfter,
    Cut,
    CutOneWay,
    Heal,
    Vote(usize),
    Backup,
    Wipe,
}

/// Runs the network that `seed` draws.
///
/// # Errors
/// When a rule is broken; the failure says how to run the same again.
pub fn run(seed: u64, validators: usize) -> Result<Report, Failure> {
    run_drawn(seed, validators, false)
}

/// Runs the network that `seed` draws, and prints what happens if `narrate` says so.
///
/// # Errors
/// When a rule is broken; the failure says how to run the same again.
pub fn run_drawn(seed: u64, validators: usize, narrate: bool) -> Result<Report, Failure> {
    let plan = Plan { narrate, ..Plan::drawn(&mut Chance::new(seed), validators) };
    run_plan(seed, plan, again(seed, validators) + " --narrate")
}

/// The command that runs the network that `seed` draws.
pub fn again(seed: u64, validators: usize) -> String {
    format!("scripts/simulate --seed {seed} --nodes {validators}")
}

/// Runs the network of `plan`.
///
/// # Errors
/// When a rule is broken.
pub fn run_plan(seed: u64, plan: Plan, again: String) -> Result<Report, Failure> {
    let mut world = World::new(seed, plan, again)?;
    let mut schedule = forecast(&mut world);
    let mut place = schedule.len();
    while let Some(((at, _), turn)) = schedule.pop_first() {
        let pause = at.saturating_sub(world.now());
        world.run_for(pause)?;
        if world.plan.narrate {
            say(format_args!("{:?} {turn:?}", world.now()));
        }
        for (later, turn) in happen(&mut world, turn)? {
            place += 1;
            schedule.insert((later, place), turn);
        }
    }
    let (healed_in, healed_in_views) = heal(&mut world)?;
    go_on(&mut world)?;
    check_silence(&mut world)?;
    Ok(Report {
        trace: world.trace(),
        steps: world.steps(),
        blocks: world.witness.chain().len(),
        healed_in,
        healed_in_views,
        epochs: world.contexts.len() as u64 - 1,
        accusations: world.witness.all_accusations(),
        deeds: world.all_deeds(),
        faults: world.faults,
        refused: world.refused,
    })
}

/// What goes wrong again and again.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Crashes,
    Cuts,
    FailedSyncs,
    SlowDisks,
    ClockSteps,
    Wipes,
}

/// Draws what will happen, and when.
fn forecast(world: &mut World) -> BTreeMap<(Duration, usize), Turn> {
    let plan = world.plan.clone();
    let hosts = world.hosts();
    let chance = &mut world.chance;
    let mut turns = Vec::new();
    for number in 0..plan.items {
        turns.push((chance.duration((Duration::ZERO, plan.weather)), Turn::Announce(number)));
    }
    for (place, (at, _)) in plan.votes.iter().enumerate() {
        turns.push((*at, Turn::Vote(place)));
    }
    if plan.absence
        && let Some(host) = chance.pick(&hosts)
    {
        turns.push((plan.weather / 20, Turn::Leave(host)));
        turns.push((plan.weather * 9 / 10, Turn::Restart(host)));
    }
    let everys = [
        (plan.crash_every, Trouble::Crashes),
        (plan.cut_every, Trouble::Cuts),
        (plan.failed_sync_every, Trouble::FailedSyncs),
        (plan.slow_disk_every, Trouble::SlowDisks),
        (plan.clock_step_every, Trouble::ClockSteps),
        (plan.wipe_every, Trouble::Wipes),
    ];
    for (every, trouble) in everys {
        let Some(every) = every else { continue };
        let mut at = chance.duration((Duration::ZERO, every * 2));
        while at < plan.weather {
            let turn = match (trouble, chance.below(10)) {
                (Trouble::Crashes, 0) => Turn::CrashAll,
                (Trouble::Crashes, _) => Turn::Crash,
                (Trouble::Cuts, 0..3) => Turn::CutOneWay,
                (Trouble::Cuts, 3..7) => Turn::Cut,
                (Trouble::Cuts, _) => Turn::Heal,
                (Trouble::FailedSyncs, _) => Turn::FailSync,
                (Trouble::SlowDisks, _) => Turn::SlowDisk,
                (Trouble::ClockSteps, _) => Turn::StepClock,
                (Trouble::Wipes, 0..4) => Turn::Backup,
                (Trouble::Wipes, _) => Turn::Wipe,
            };
            turns.push((at, turn));
            at += chance.duration((Duration::ZERO, every * 2));
        }
    }
    turns.into_iter().enumerate().map(|(place, (at, turn))| ((at, place), turn)).collect()
}

/// Does one turn; returns what follows from it later.
fn happen(world: &mut World, turn: Turn) -> Result<Vec<(Duration, Turn)>, Failure> {
    let hosts = world.hosts();
    match turn {
        Turn::Announce(number) => {
            if !world.announce(item(number))? {
                let later = world.now() + Duration::from_millis(500);
                return Ok((later < world.plan.weather).then_some((later, turn)).into_iter().collect());
            }
        }
        Turn::Crash => {
            let Some(host) = world.chance.pick(&hosts) else { return Ok(Vec::new()) };
            world.faults.count(Fault::Crash);
            world.crash(host);
            let down = world.chance.duration((Duration::ZERO, Duration::from_secs(5)));
            return Ok(vec![(world.now() + down, Turn::Restart(host))]);
        }
        Turn::Leave(host) => {
            world.faults.count(Fault::Absence);
            world.crash(host);
        }
        Turn::CrashAll => {
            world.faults.count(Fault::PowerCut);
            // Each disk has lost what it has lost, whatever the others did.
            for host in &hosts {
                world.crash(*host);
            }
            if world.chance.percent(50) {
                for host in hosts {
                    world.restart(host)?;
                }
            } else {
                let apart = Duration::from_secs(3);
                let delays = hosts.iter().map(|_| world.chance.duration((Duration::ZERO, apart)));
                let delays: Vec<_> = delays.collect();
                let now = world.now();
                let later = hosts.into_iter().zip(delays);
                return Ok(later.map(|(host, delay)| (now + delay, Turn::Restart(host))).collect());
            }
        }
        Turn::FailSync => {
            if let Some(host) = world.chance.pick(&hosts) {
                world.machines[host.0].sync_fails = true;
            }
            // It may take a while until it writes at all.
            let later = world.now() + Duration::from_secs(2);
            return Ok(vec![(later, Turn::LookAfter)]);
        }
        Turn::LookAfter => {
            for host in std::mem::take(&mut world.stopped) {
                world.restart(host)?;
            }
        }
        Turn::SlowDisk => {
            if let Some(host) = world.chance.pick(&hosts) {
                let time = world.chance.duration((Duration::from_secs(1), Duration::from_secs(6)));
                world.faults.count(Fault::SlowDisk);
                world.slow_disk(host, time);
            }
        }
        Turn::StepClock => {
            if let Some(host) = world.chance.pick(&hosts) {
                let far = world.chance.pick(&[100, 1_000, 60_000, 3_600_000]).unwrap_or(100);
                let step = world.chance.below(2 * far + 1) as i64 - far as i64;
                world.faults.count(Fault::ClockStep);
                world.machines[host.0].clock.stepped = step;
            }
        }
        Turn::Restart(host) => world.restart(host)?,
        Turn::Cut => {
            world.faults.count(Fault::Partition);
            let sides: Vec<bool> = hosts.iter().map(|_| world.chance.percent(50)).collect();
            for one in &hosts {
                for other in &hosts {
                    if sides[one.0] != sides[other.0] {
                        world.cut(*one, *other);
                    }
                }
            }
        }
        Turn::CutOneWay => {
            let (one, other) = (world.chance.pick(&hosts), world.chance.pick(&hosts));
            if let (Some(one), Some(other)) = (one, other)
                && one != other
            {
                world.faults.count(Fault::OneWayCut);
                world.cut(one, other);
            }
        }
        Turn::Heal => world.heal(),
        Turn::Vote(place) => {
            if !votes::call(world, place)? {
                let later = world.now() + Duration::from_millis(300);
                return Ok((later < world.plan.weather).then_some((later, turn)).into_iter().collect());
            }
        }
        Turn::Backup => {
            for host in hosts {
                world.back_up(host);
            }
        }
        Turn::Wipe => {
            if let Some(host) = wipes::strike(world) {
                let down = world.chance.duration((Duration::ZERO, Duration::from_secs(3)));
                return Ok(vec![(world.now() + down, Turn::Restart(host))]);
            }
        }
    }
    Ok(Vec::new())
}

/// Ends all faults, and waits until everything announced is final and executed everywhere.
fn heal(world: &mut World) -> Result<(Duration, u64), Failure> {
    if world.plan.narrate {
        say(format_args!("{:?} the faults end", world.now()));
    }
    world.faulty_links = false;
    world.heal();
    for machine in &mut world.machines {
        machine.clock.stepped = 0;
        machine.slow_until = Duration::ZERO;
        machine.sync_fails = false;
    }
    for host in world.hosts() {
        world.restart(host)?;
    }
    // Something to do for everybody, so that a network that stands still is noticed.
    let last = item(u64::MAX);
    if !world.announce(last)? {
        return Err(world.failure("not enough machines are up after the faults".to_owned()));
    }
    let left = world.announced.keys().filter(|item| !world.witness.ordered().contains(*item)).count() as u64;
    let behind = world.machines.iter().map(|machine| machine.store.blocks.len()).min().unwrap_or(0);
    let work = left as u32 + (world.witness.chain().len() - behind) as u32;
    let cap = world.cap();
    let (limit, before) = (longest(world) + (cap + Duration::from_millis(500)) * work, newest_view(world));
    let took = world.run_until("everything announced is final everywhere", limit, World::is_settled)?;
    // Views begin anew with each epoch.
    let views = newest_view(world).saturating_sub(before);
    // At worst a block for each item that is left, every other view that of a Byzantine leader, and some views until
    // all are together again.
    let most = 2 * left + 6 * world.plan.validators as u64 + 20;
    if views > most {
        return Err(
            world.failure(format!("{views} views until the last {left} items were final, above {most}"))
        );
    }
    let limit = longest(world);
    world.run_until("P7: all who lost their votes vote again", limit, World::all_vote)?;
    Ok((took, views))
}

/// Has some more items become final, one after the other.
fn go_on(world: &mut World) -> Result<(), Failure> {
    for number in 1..=ITEMS_AFTER {
        let limit = longest(world);
        if !world.announce(item(u64::MAX - number))? {
            return Err(world.failure("not enough machines are up after the faults".to_owned()));
        }
        world.run_until("one more item is final everywhere", limit, World::is_settled)?;
    }
    Ok(())
}

/// How long anything may take when the faults are over: some seconds for what is under way still, and a turn of all
/// leaders and a few more at the longest time-out.
fn longest(world: &World) -> Duration {
    let cap = world.cap();
    Duration::from_secs(15) + cap * 3 * (world.plan.validators as u32 + 6)
}

/// P10: when nothing waits, nothing is said but heartbeats, and no view passes but theirs.
fn check_silence(world: &mut World) -> Result<(), Failure> {
    if world.machines.iter().any(|machine| machine.byzantine) {
        return Ok(()); // A twin's other half may talk for ever.
    }
    let heartbeat = Duration::from_millis(world.plan.most_heartbeat_ms());
    let cap = world.cap();
    // Late answers and certificates are still under way.
    world.run_for(cap * 4 + Duration::from_secs(12))?;
    let begin = world.now();
    let before = newest_view(world);
    world.log = Some(Vec::new());
    world.run_for(heartbeat * HEARTBEATS)?;
    let log = world.log.take().unwrap_or_default();
    // A heartbeat passes at most the turns of the leaders whose clocks are mad.
    let views = newest_view(world) - before;
    let a_heartbeat = 1 + world.plan.mad_clocks as u64 * 2;
    if views > u64::from(HEARTBEATS + 1) * a_heartbeat {
        let stands = world.describe();
        return Err(world.failure(format!("P10: {views} views in {HEARTBEATS} idle heartbeats\n{stands}")));
    }
    let burst = cap * 3 * a_heartbeat as u32 + Duration::from_secs(1);
    let (mut bursts, mut burst_began, mut last) = (0, begin, None);
    for sent in &log {
        if last.is_none_or(|last| sent.at - last > heartbeat / 2) {
            bursts += 1;
            burst_began = sent.at;
        }
        let since = sent.at - burst_began;
        if since > burst {
            let what = format!("P10: {} still sends {} {since:?} after a heartbeat", sent.by, sent.what);
            let stands = world.describe();
            return Err(world.failure(format!("{what}, at {:?}\n{stands}", sent.at)));
        }
        last = Some(sent.at);
    }
    if bursts > HEARTBEATS + 1 {
        return Err(world.failure(format!("P10: {bursts} bursts in {HEARTBEATS} heartbeats")));
    }
    Ok(())
}

fn newest_view(world: &World) -> u64 {
    world
        .hosts()
        .into_iter()
        .filter_map(|host| world.status(host))
        .map(|status| status.view.0)
        .max()
        .unwrap_or(0)
}
