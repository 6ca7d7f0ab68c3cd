//! Lost voting records, each in the way that was once thought to fork or to stall the chain (P7).

use std::time::Duration;

use consensus::Report;
use tests::simulation::adversary::Kind;
use tests::simulation::world::{Loss, item};
use tests::simulation::{Failure, HostId, Plan, World};

type Outcome = Result<(), Failure>;

const SECOND: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn plan(nodes: usize) -> Plan {
    Plan { execute: (ms(1), ms(30)), sync: (ms(0), ms(3)), ..Plan::calm(nodes) }
}

fn world(name: &str, seed: u64, plan: Plan) -> Result<World, Failure> {
    World::new(seed, plan, format!("scripts/test {name}"))
}

fn work(world: &mut World, first: u64, count: u64) -> Outcome {
    for number in first..first + count {
        assert!(world.announce(item(number))?, "enough machines are up");
        world.run_until("an item is final", 30 * SECOND, |world| {
            world.witness.ordered().contains(&item(number))
        })?;
    }
    Ok(())
}

fn standing(world: &World, host: usize) -> Option<Report> {
    world.status(HostId(host)).map(|status| status.standing)
}

fn votes(world: &World, host: usize) -> bool {
    standing(world, host) == Some(Report::Voting)
}

#[test]
fn one_that_lost_its_journal_or_its_disk_votes_again_and_its_vote_counts() -> Outcome {
    for loss in [Loss::Journal, Loss::Disk] {
        for seed in 0..10 {
            let mut world = world("one_that_lost", seed, plan(4))?;
            work(&mut world, 0, 5)?;
            world.lose(HostId(2), loss);
            world.run_for(ms(100 * seed))?;
            world.restart(HostId(2))?;
            assert!(matches!(standing(&world, 2), Some(Report::Wiped { .. })), "it knows that it forgot");
            world.run_until("it votes again", 20 * SECOND, |world| votes(world, 2))?;
            world.crash(HostId(0));
            work(&mut world, 10, 5)?;
        }
    }
    Ok(())
}

#[test]
fn rolling_wipes_fork_nothing_and_stall_nothing() -> Outcome {
    for seed in 0..10 {
        let mut world = world("rolling_wipes", seed, plan(4))?;
        for round in 0..8 {
            let host = (round % 4) as usize;
            for number in 0..4 {
                world.announce(item(round * 10 + number))?;
                world.run_for(ms(3 + seed * 7 + number * 11))?;
            }
            let loss = if round % 3 == 2 { Loss::Disk } else { Loss::Journal };
            world.lose(HostId(host), loss);
            world.run_for(ms(40 * seed))?;
            world.restart(HostId(host))?;
            world.run_until("it votes again", 60 * SECOND, |world| votes(world, host))?;
        }
        world.run_until("all have all", 60 * SECOND, World::is_settled)?;
    }
    Ok(())
}

/// Nothing waits but the wiped one: it must not have to wait for a heartbeat, nor keep the others awake.
#[test]
fn an_idle_chain_with_a_wiped_member_moves_on_until_it_votes_and_falls_silent() -> Outcome {
    let mut world = world("an_idle_chain", 1, plan(4))?;
    work(&mut world, 0, 3)?;
    world.run_for(10 * SECOND)?;
    world.lose(HostId(1), Loss::Journal);
    world.restart(HostId(1))?;
    world.run_until("it votes again", 20 * SECOND, |world| votes(world, 1))?;
    world.run_for(120 * SECOND)?;
    let view = world.status(HostId(0)).map(|status| status.view.0).unwrap_or_default();
    world.log = Some(Vec::new());
    world.run_for(600 * SECOND)?;
    let after = world.status(HostId(0)).map(|status| status.view.0).unwrap_or_default();
    assert!(after - view <= 11, "{} views in ten idle minutes", after - view);
    Ok(())
}

/// Three of four must answer, and one of the three others never does; but it votes, and so prepares a block that names
/// the nonce.
#[test]
fn a_member_that_votes_but_never_answers_cannot_keep_a_wiped_one_out() -> Outcome {
    for kind in [Kind::SilentAttester, Kind::FalseAttester] {
        for seed in 0..10 {
            let plan = Plan { adversaries: vec![vec![kind]], ..plan(4) };
            let mut world = world("a_member_that_votes", seed, plan)?;
            work(&mut world, 0, 4)?;
            world.lose(HostId(2), Loss::Journal);
            world.restart(HostId(2))?;
            world.run_until("it votes again", 30 * SECOND, |world| votes(world, 2))?;
            work(&mut world, 10, 4)?;
            world.run_until("all have all", 60 * SECOND, World::is_settled)?;
            assert!(world.all_deeds().of(kind) > 0);
        }
    }
    Ok(())
}

/// It comes back with the ledger of the first epoch and no votes, when a new one is under way with another set.
#[test]
fn a_wipe_across_an_epochs_end_forks_nothing_and_the_wiped_one_votes_in_the_new_epoch() -> Outcome {
    for seed in 0..24 {
        let plan = Plan { observers: 1, ..plan(4) };
        let mut world = world("a_wipe_across", seed, plan)?;
        work(&mut world, 0, 3)?;
        let change = if seed % 2 == 0 { world.joining(4) } else { world.replacing(1, 4) };
        world.decide(item(1 << 40), change, &[0, 2, 3]);
        world.announce(item(1 << 40))?;
        world.run_for(ms(8 * seed))?;
        world.lose(HostId(3), if seed % 3 == 0 { Loss::Disk } else { Loss::Journal });
        world.run_for(ms(100 * (seed % 5)))?;
        world.restart(HostId(3))?;
        world.run_until("it votes in the new epoch", 60 * SECOND, |world| {
            world.status(HostId(3)).is_some_and(|status| status.epoch.0 == 1) && votes(world, 3)
        })?;
        world.crash(HostId(0));
        work(&mut world, 10, 4)?;
        world.restart(HostId(0))?;
        world.run_until("all have all", 60 * SECOND, World::is_settled)?;
    }
    Ok(())
}

/// The disk looks whole by itself: what it lacks is known to the others alone.
#[test]
fn one_restored_from_a_backup_finds_out_and_contradicts_nothing() -> Outcome {
    let mut found_out = 0;
    for seed in 0..30 {
        let mut world = world("one_restored", seed, plan(4))?;
        work(&mut world, 0, 3)?;
        world.back_up(HostId(1));
        for number in 10..14 {
            world.announce(item(number))?;
            world.run_for(ms(1 + 5 * seed))?;
        }
        world.lose(HostId(1), Loss::SinceBackup);
        world.restart(HostId(1))?;
        let mut wiped = false;
        world.run_until("it votes again", 60 * SECOND, |world| {
            wiped |= matches!(standing(world, 1), Some(Report::Wiped { .. }));
            votes(world, 1)
        })?;
        found_out += u32::from(wiped);
        work(&mut world, 20, 4)?;
        world.run_until("all have all", 60 * SECOND, World::is_settled)?;
    }
    assert!(found_out >= 10, "{found_out} of 30 found out that they lack votes");
    Ok(())
}

/// The voting record is whole and belongs to epochs that the ledger has yet to reach again, over several restarts.
#[test]
fn one_whose_ledger_was_deleted_in_a_later_epoch_starts_again_and_again_and_votes() -> Outcome {
    for seed in 0..20 {
        let plan = Plan { observers: 1, rewrite_journals: seed % 2 == 0, ..plan(4) };
        let mut world = world("one_whose_ledger_was_deleted", seed, plan)?;
        work(&mut world, 0, 3)?;
        let joining = world.joining(4);
        world.decide(item(1 << 40), joining, &[0, 1, 2, 3]);
        world.announce(item(1 << 40))?;
        world.run_until("the new epoch", 20 * SECOND, |world| {
            (0..5).all(|host| world.status(HostId(host)).is_some_and(|status| status.epoch.0 == 1))
        })?;
        work(&mut world, 10, 6)?;
        for restart in 0..4 {
            let loss = if restart == 0 { Some(Loss::Ledger) } else { None };
            match loss {
                Some(loss) => world.lose(HostId(3), loss),
                None => world.crash(HostId(3)),
            }
            world.restart(HostId(3))?;
            world.run_for(ms(3 + 13 * seed))?;
        }
        world.run_until("it votes again", 60 * SECOND, |world| {
            world.status(HostId(3)).is_some_and(|status| status.epoch.0 == 1) && votes(world, 3)
        })?;
        world.crash(HostId(0));
        work(&mut world, 30, 3)?;
    }
    Ok(())
}

/// A power cut takes the certificates that no block had been stored after: who serves blocks must have them back.
#[test]
fn after_power_cuts_one_without_a_disk_still_gets_all_blocks() -> Outcome {
    for seed in 0..40 {
        let mut world = world("after_power_cuts", seed, plan(4))?;
        for round in 0..4 {
            for number in 0..6 {
                world.announce(item(round * 10 + number))?;
                world.run_for(ms(7 + seed))?;
            }
            for host in world.hosts() {
                world.crash(host);
            }
            for host in world.hosts() {
                world.restart(host)?;
            }
        }
        world.run_until("all have all", 60 * SECOND, World::is_settled)?;
        world.lose(HostId(3), Loss::Disk);
        world.restart(HostId(3))?;
        world.run_until("it too", 60 * SECOND, World::is_settled)?;
        world.run_until("and votes", 60 * SECOND, World::all_vote)?;
    }
    Ok(())
}

#[test]
fn all_restart_at_once_and_one_of_them_without_a_journal() -> Outcome {
    for seed in 0..30 {
        let mut world = world("all_restart_at_once", seed, plan(4))?;
        for number in 0..6 {
            world.announce(item(number))?;
            world.run_for(ms(1 + 3 * seed))?;
        }
        world.lose(HostId(2), Loss::Journal);
        for host in world.hosts() {
            world.crash(host);
        }
        for host in world.hosts() {
            world.restart(host)?;
        }
        world.run_until("all have all", 60 * SECOND, World::is_settled)?;
        world.run_until("all vote", 60 * SECOND, World::all_vote)?;
    }
    Ok(())
}

/// All of them were wiped, one after the other, before the epoch ended: in the next one each must vote from its first view
/// on, or nobody ever does.
#[test]
fn an_epoch_begins_although_each_of_its_members_was_wiped_once() -> Outcome {
    for seed in 0..6 {
        let plan = Plan { observers: 1, ..plan(4) };
        let mut world = world("an_epoch_begins", seed, plan)?;
        work(&mut world, 0, 3)?;
        for host in 0..4 {
            world.lose(HostId(host), Loss::Journal);
            world.restart(HostId(host))?;
            world.run_until("it votes again", 60 * SECOND, |world| votes(world, host))?;
            work(&mut world, 10 + host as u64, 1)?;
        }
        let change = if seed % 2 == 0 { world.joining(4) } else { world.replacing(1, 4) };
        world.decide(item(1 << 40), change, &[0, 2, 3]);
        world.announce(item(1 << 40))?;
        world.run_until("the new epoch", 30 * SECOND, |world| world.contexts.len() == 2)?;
        work(&mut world, 20, 5)?;
        world.run_until("all have all", 60 * SECOND, World::is_settled)?;
        world.run_until("all vote", 60 * SECOND, World::all_vote)?;
    }
    Ok(())
}
