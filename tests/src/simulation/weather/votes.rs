//! What the validators of a drawn run vote on, and what outsiders try.
//!
//! Invariant: one decision after the other, each only where it leaves no more than `f` Byzantine ones.

use genesis::Digest;

use super::super::fault::Fault;
use super::super::plan::Decision;
use super::super::world::{HostId, World, item};
use super::Failure;

/// The items of decisions are named from here on.
const FIRST: u64 = 1 << 40;

fn named(place: usize) -> Digest {
    item(FIRST + place as u64)
}

/// Puts decision `place` to the vote. False where it is too early for that.
pub(super) fn call(world: &mut World, place: usize) -> Result<bool, Failure> {
    // Any other, also one that comes later and could be announced before: two that are open at once may leave too few.
    let others = (0..world.plan.votes.len()).filter(|other| *other != place).map(named);
    if others.into_iter().any(|other| world.announced.contains_key(&other) && !is_executed(world, other)) {
        return Ok(false);
    }
    let Some((_, decision)) = world.plan.votes.get(place).cloned() else { return Ok(true) };
    if !fits(world, &decision) {
        return Ok(true);
    }
    let (change, fault) = match decision {
        Decision::Join(member) => (world.joining(member), Fault::MembersChange),
        Decision::Leave(member) => (world.leaving(member), Fault::MembersChange),
        Decision::Replace(member, next) => (world.replacing(member, next), Fault::MembersChange),
        Decision::Set(parameters) => (ledger::Change::SetParameters(*parameters), Fault::ParametersChange),
        Decision::Outsider(which) => {
            let outsider = world.plan.validators + world.plan.observers + which;
            let change = world.joining(outsider);
            world.decide(named(place), change, &[outsider, outsider + 1, outsider + 2]);
            world.faults.count(Fault::OutsiderVotes);
            return world.announce(named(place));
        }
    };
    let Some(voters) = voters(world) else { return Ok(true) };
    world.decide(named(place), change, &voters);
    let announced = world.announce(named(place))?;
    if announced {
        world.faults.count(fault);
    }
    Ok(announced)
}

fn is_executed(world: &World, item: Digest) -> bool {
    world.machines.iter().any(|machine| machine.store.ordered.contains(&item))
}

/// Whether what the validators aim at bears it.
fn fits(world: &World, decision: &Decision) -> bool {
    let newest = world.machines.iter().max_by_key(|machine| machine.store.height());
    let Some(aim) = newest.map(|machine| machine.store.governance().aim()) else { return false };
    let left = (aim.validators.len().saturating_sub(2)) / 3;
    let faulty =
        world.machines.iter().take(world.plan.validators).filter(|machine| machine.byzantine).count();
    match decision {
        Decision::Leave(_) => aim.validators.len() > 1 && left >= faulty + world.plan.mad_clocks,
        _ => true,
    }
}

/// All honest members; first one that will stay.
fn voters(world: &World) -> Option<Vec<usize>> {
    let leaves = |member: usize| {
        let leaves = |decision: &Decision| match decision {
            Decision::Leave(leaver) | Decision::Replace(leaver, _) => *leaver == member,
            _ => false,
        };
        world.plan.votes.iter().any(|(_, decision)| leaves(decision))
    };
    let validators = &world.context().validators;
    let seated = world.hosts().into_iter().filter(|HostId(host)| {
        let machine = &world.machines[*host];
        !machine.byzantine && validators.by_network_key(&machine.network).is_some()
    });
    let mut voters: Vec<usize> = seated.map(|HostId(host)| world.machines[host].member).collect();
    let first = voters.iter().position(|member| !leaves(*member))?;
    voters.swap(0, first);
    Some(voters)
}
