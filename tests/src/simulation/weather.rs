//! A drawn run: faults for a while, then none. While there are faults nothing unsafe may happen; when they are over,
//! everything announced becomes final everywhere in bounded time, and then the network falls silent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::chance::Chance;
use super::world::{HostId, World, item};
use super::{Failure, Plan};

/// For how many heartbeats silence is checked.
const HEARTBEATS: u32 = 3;

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
}

/// What the weather does next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Announce(u64),
    Crash,
    CrashAll,
    Restart(HostId),
    Cut,
    CutOneWay,
    Heal,
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
    let again = format!("SEED={seed} NODES={validators} cargo nextest run --release -p tests one_seed");
    run_plan(seed, plan, again)
}

/// Runs the network of `plan`.
///
/// # Errors
/// When a rule is broken.
pub fn run_plan(seed: u64, plan: Plan, again: String) -> Result<Report, Failure> {
    let mut world = World::new(seed, plan, again)?;
    let mut schedule = forecast(&mut world);
    while let Some(((at, _), turn)) = schedule.pop_first() {
        let pause = at.saturating_sub(world.now());
        world.run_for(pause)?;
        if world.plan.narrate {
            println!("{:?} {turn:?}", world.now());
        }
        if let Some((later, turn)) = happen(&mut world, turn)? {
            let place = schedule.len();
            schedule.insert((later, 1_000_000 + place), turn);
        }
    }
    let healed_in = heal(&mut world)?;
    check_silence(&mut world)?;
    Ok(Report { trace: world.trace(), steps: world.steps(), blocks: world.witness.chain().len(), healed_in })
}

/// Draws what will happen, and when.
fn forecast(world: &mut World) -> BTreeMap<(Duration, usize), Turn> {
    let plan = world.plan.clone();
    let chance = &mut world.chance;
    let mut turns = Vec::new();
    for number in 0..plan.items {
        turns.push((chance.duration((Duration::ZERO, plan.weather)), Turn::Announce(number)));
    }
    for (every, is_crash) in [(plan.crash_every, true), (plan.cut_every, false)] {
        let Some(every) = every else { continue };
        let mut at = chance.duration((Duration::ZERO, every * 2));
        while at < plan.weather {
            let turn = match (is_crash, chance.below(10)) {
                (true, 0) => Turn::CrashAll,
                (true, _) => Turn::Crash,
                (false, 0..3) => Turn::CutOneWay,
                (false, 3..7) => Turn::Cut,
                (false, _) => Turn::Heal,
            };
            turns.push((at, turn));
            at += chance.duration((Duration::ZERO, every * 2));
        }
    }
    turns.into_iter().enumerate().map(|(place, (at, turn))| ((at, place), turn)).collect()
}

/// Does one turn; returns what follows from it later.
fn happen(world: &mut World, turn: Turn) -> Result<Option<(Duration, Turn)>, Failure> {
    let hosts = world.hosts();
    match turn {
        Turn::Announce(number) => {
            if !world.announce(item(number))? {
                let later = world.now() + Duration::from_millis(500);
                return Ok((later < world.plan.weather).then_some((later, turn)));
            }
        }
        Turn::Crash => {
            let Some(host) = world.chance.pick(&hosts) else { return Ok(None) };
            world.crash(host);
            let down = world.chance.duration((Duration::ZERO, Duration::from_secs(5)));
            return Ok(Some((world.now() + down, Turn::Restart(host))));
        }
        Turn::CrashAll => {
            for host in &hosts {
                world.crash(*host);
            }
            for host in hosts {
                world.restart(host)?;
            }
        }
        Turn::Restart(host) => world.restart(host)?,
        Turn::Cut => {
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
            if let (Some(one), Some(other)) = (one, other) {
                world.cut(one, other);
            }
        }
        Turn::Heal => world.heal(),
    }
    Ok(None)
}

/// Ends all faults, and waits until everything announced is final and executed everywhere.
fn heal(world: &mut World) -> Result<Duration, Failure> {
    if world.plan.narrate {
        println!("{:?} the faults end", world.now());
    }
    world.faulty_links = false;
    world.heal();
    for host in world.hosts() {
        world.restart(host)?;
    }
    // Something to do for everybody, so that a network that stands still is noticed.
    let last = item(u64::MAX);
    if !world.announce(last)? {
        return Err(world.failure("not enough machines are up after the faults".to_owned()));
    }
    let cap = Duration::from_millis(world.plan.parameters.delta_cap_ms);
    let limit = Duration::from_secs(15) + cap * 3 * (world.plan.validators as u32 + 6);
    world.run_until("everything announced is final everywhere", limit, World::is_settled)
}

/// P10: when nothing waits, nothing is said but heartbeats, and no view passes but theirs.
fn check_silence(world: &mut World) -> Result<(), Failure> {
    if world.machines.iter().any(|machine| machine.byzantine) {
        return Ok(()); // A twin's other half may talk for ever.
    }
    let parameters = world.plan.parameters.clone();
    let heartbeat = Duration::from_millis(parameters.heartbeat_ms);
    let cap = Duration::from_millis(parameters.delta_cap_ms);
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
