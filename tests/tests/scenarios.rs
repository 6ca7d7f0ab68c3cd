//! What has gone wrong elsewhere, and what the rules promise, each as a story of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use consensus::message::VoteKind;
use consensus::{Message, Verified};
use genesis::{Digest, Parameters, ValidatorIndex, View};
use tests::simulation::world::{item, secret};
use tests::simulation::{Failure, HostId, Plan, World, forge};

type Outcome = Result<(), Failure>;

const SECOND: Duration = Duration::from_secs(1);

fn world(name: &str, seed: u64, plan: Plan) -> Result<World, Failure> {
    World::new(seed, plan, format!("scripts/test {name}"))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn view(world: &World, host: usize) -> u64 {
    world.status(HostId(host)).map_or(0, |status| status.view.0)
}

fn heights(world: &World) -> usize {
    world.witness.chain().len()
}

fn is_final(world: &World, item: Digest) -> bool {
    world.witness.ordered().contains(&item)
}

/// Announces items until one of them is final everywhere up, `count` times.
fn work(world: &mut World, first: u64, count: u64, limit: Duration) -> Outcome {
    for number in first..first + count {
        assert!(world.announce(item(number))?, "enough machines are up");
        world.run_until("an item is final", limit, |world| is_final(world, item(number)))?;
    }
    Ok(())
}

// --- quiet ---------------------------------------------------------------------------------------------------

#[test]
fn an_idle_hour_passes_with_heartbeats_alone() -> Outcome {
    let mut world = world("an_idle_hour", 1, Plan::calm(4))?;
    world.log = Some(Vec::new());
    world.run_for(3_600 * SECOND)?;
    // One empty block a minute, one view each: a pre-prepare to all, then each replica's two votes and its checkpoint.
    let (blocks, sent) = (heights(&world), world.log.as_ref().map_or(0, Vec::len));
    assert!((59..=60).contains(&blocks), "{blocks} blocks");
    assert!(view(&world, 0) <= 61, "{}", world.describe());
    assert!(sent <= 60 * 13 + 40, "{sent} messages");
    Ok(())
}

/// Who executes late has the certificate before it signs the result itself: it must say so once, or all others tell it
/// again and again.
#[test]
fn p8_a_heartbeat_is_followed_by_silence_although_some_execute_late() -> Outcome {
    let plan = Plan { execute: (ms(1), ms(300)), ..Plan::calm(4) };
    let mut world = world("p8_a_heartbeat_is_followed", 1, plan)?;
    world.log = Some(Vec::new());
    world.run_for(3_600 * SECOND)?;
    let sent = world.log.as_ref().map_or(0, Vec::len);
    // A pre-prepare, two votes each and a checkpoint each; and a certificate or two to whoever seems late.
    assert!(sent <= 60 * (13 + 12), "{sent} messages");
    Ok(())
}

#[test]
fn a_lone_item_in_an_idle_network_is_final_after_a_handful_of_message_delays() -> Outcome {
    for nodes in [1, 4, 7] {
        let mut world = world("a_lone_item", 2, Plan::calm(nodes))?;
        for number in 0..40 {
            world.run_for(7 * SECOND)?;
            world.announce(item(number))?;
            // At most two delays until the leader has it, three of the protocol.
            world.run_until("the item is final", ms(26), |world| is_final(world, item(number)))?;
        }
    }
    Ok(())
}

// --- leaders -------------------------------------------------------------------------------------------------

#[test]
fn p9_the_turns_of_a_dead_leader_cost_a_message_round_trip_once_it_was_noticed() -> Outcome {
    let mut world = world("p9_the_turns_of_a_dead_leader", 3, Plan::calm(4))?;
    world.crash(HostId(2));
    let slow = 30 * SECOND;
    work(&mut world, 0, 40, slow)?;
    for number in 100..200 {
        world.announce(item(number))?;
        world.run_until("an item is final", ms(60), |world| is_final(world, item(number)))?;
    }
    Ok(())
}

#[test]
fn a_leader_whose_clock_runs_ahead_neither_stops_the_chain_nor_makes_the_next_look_early() -> Outcome {
    for ahead in [1_900, 600_000] {
        let mut world = world("a_leader_whose_clock", 4, Plan::calm(4))?;
        let clock = &mut world.machines[1].clock;
        clock.origin = clock.origin.plus(ahead);
        work(&mut world, 0, 60, 10 * SECOND)?;
        world.run_until("all have all", 10 * SECOND, World::is_settled)?;
    }
    Ok(())
}

#[test]
fn a_node_whose_clock_is_behind_stalls_nobody() -> Outcome {
    let mut world = world("a_node_whose_clock_is_behind", 5, Plan::calm(4))?;
    let clock = &mut world.machines[1].clock;
    clock.origin.0 -= 50_000;
    work(&mut world, 0, 60, 10 * SECOND)?;
    world.run_until("all have all", 10 * SECOND, World::is_settled)?;
    Ok(())
}

// --- views that fail -----------------------------------------------------------------------------------------

/// Views fail one after another, with a replica cut off all the while; then everything heals but one replica,
/// so that the vote of the one that was cut off is needed.
fn many_views_fail(name: &str, views: u64) -> Outcome {
    let parameters = Parameters { delta_ms: 20, delta_cap_ms: 30, ..Parameters::default() };
    let mut world = world(name, 6, Plan { parameters, ..Plan::calm(4) })?;
    world.isolate(HostId(3));
    world.drop_messages(|_, _, message| matches!(message, Message::PrePrepare(_)));
    world.announce(item(0))?;
    let limit = ms(200) * u32::try_from(views).unwrap_or(u32::MAX);
    world.run_until("views fail", limit, |world| view(world, 0) > views)?;
    assert_eq!(heights(&world), 0);

    world.crash(HostId(2));
    world.drop_nothing();
    world.heal();
    let before = view(&world, 0);
    // 64 certificates an answer, an answer in two message delays: the catch-up itself is linear in what was missed.
    let limit = 10 * SECOND + ms(10) * u32::try_from(views / 64 * 4).unwrap_or(u32::MAX);
    let took = world.run_until("the item is final", limit, |world| is_final(world, item(0)))?;
    let needed = view(&world, 0) - before;
    println!("{views} failed views: final after {took:?}, {needed} views");
    assert!(needed <= 20 + views / 64, "{needed} views until the first block");

    work(&mut world, 1, 10, 5 * SECOND)?;
    world.restart(HostId(2))?;
    world.run_until("the crashed one too", 30 * SECOND, World::is_settled)?;
    work(&mut world, 20, 10, 5 * SECOND)?;
    world.run_until("all have all", 5 * SECOND, World::is_settled)?;
    for host in world.hosts() {
        assert_eq!(world.status(host).map(|status| status.delta), Some(ms(20)), "Δ is at its base");
    }
    Ok(())
}

#[test]
fn after_a_thousand_failed_views_the_network_goes_on_and_a_late_one_votes_again() -> Outcome {
    many_views_fail("after_a_thousand_failed_views", 1_000)
}

#[test]
fn after_a_hundred_thousand_failed_views_the_network_goes_on_and_a_late_one_votes_again() -> Outcome {
    many_views_fail("after_a_hundred_thousand", 100_000)
}

/// With Δ at the cap that networks have, and links far faster than it: what limits answers must not slow an asker that
/// takes each as soon as it comes.
#[test]
fn after_thousands_of_failed_views_with_delta_at_its_cap_a_late_one_catches_up_in_seconds() -> Outcome {
    let plan = Plan { delay: (ms(5), ms(5)), ..Plan::calm(4) };
    let mut world = world("after_thousands_of_failed_views", 6, plan)?;
    world.isolate(HostId(3));
    world.drop_messages(|_, _, message| matches!(message, Message::PrePrepare(_)));
    world.announce(item(0))?;
    world.run_until("views fail", 100_000 * SECOND, |world| view(world, 0) > 3_000)?;
    world.crash(HostId(2));
    world.drop_nothing();
    world.heal();
    // The asker may have to wait for a view or two at the cap, but not once for every 64 views.
    let took = world.run_until("the item is final", 80 * SECOND, |world| is_final(world, item(0)))?;
    println!("3,000 failed views at the cap: final after {took:?}");
    Ok(())
}

#[test]
fn delta_returns_to_its_base_after_it_was_at_its_cap() -> Outcome {
    let mut world = world("delta_returns", 7, Plan::calm(4))?;
    world.drop_messages(|_, _, message| matches!(message, Message::PrePrepare(_)));
    world.announce(item(0))?;
    let at_cap = |world: &World| world.status(HostId(0)).is_some_and(|status| status.delta == ms(8_000));
    world.run_until("Δ is at its cap", 600 * SECOND, at_cap)?;
    world.run_for(600 * SECOND)?;
    world.drop_nothing();
    work(&mut world, 1, 20, 60 * SECOND)?;
    world.run_for(SECOND)?;
    for host in world.hosts() {
        assert_eq!(world.status(host).map(|status| status.delta), Some(ms(400)));
    }
    Ok(())
}

#[test]
fn a_view_change_for_a_far_view_by_one_member_disturbs_nobody() -> Outcome {
    let mut world = world("a_view_change_for_a_far_view", 8, Plan::calm(4))?;
    work(&mut world, 0, 3, SECOND)?;
    let liar = ValidatorIndex(3);
    for far in [7, 50, 1_000_000, u64::MAX - 1] {
        let vote = forge::vote(
            world.context(),
            (liar, &secret(liar)),
            VoteKind::ViewChange,
            View(far),
            Digest::ZERO,
        );
        for host in [0, 1, 2] {
            let checked = Message::Vote(vote.clone()).verify(world.context());
            let Ok(checked) = checked else { panic!("the forged vote is well signed: {checked:?}") };
            world.inject(HostId(3), HostId(host), checked);
        }
    }
    let before = view(&world, 0);
    world.run_for(30 * SECOND)?;
    assert_eq!(view(&world, 0), before, "no view passes");
    for number in 10..30 {
        world.announce(item(number))?;
        world.run_until("an item is final", ms(40), |world| is_final(world, item(number)))?;
    }
    Ok(())
}

// --- crashes -------------------------------------------------------------------------------------------------

#[test]
fn a_power_cut_everywhere_under_load_loses_nothing_final() -> Outcome {
    for seed in 0..100 {
        let plan = Plan { sync: (ms(1), ms(15)), execute: (ms(1), ms(200)), ..Plan::calm(4) };
        let mut world = world("a_power_cut_everywhere", seed, plan)?;
        for number in 0..10 {
            world.announce(item(number))?;
            world.run_for(ms(3 + seed % 11))?;
        }
        for _ in 0..3 {
            let before: Vec<_> = world.witness.chain().iter().map(consensus::Block::digest).collect();
            for host in world.hosts() {
                world.crash(host);
            }
            for host in world.hosts() {
                world.restart(host)?;
            }
            world.run_for(ms(17 + seed))?;
            let after = world.witness.chain().iter().map(consensus::Block::digest);
            assert!(after.take(before.len()).eq(before), "seed {seed}: the chain goes on from where it was");
        }
        world.run_until("all is final", 30 * SECOND, World::is_settled)?;
    }
    Ok(())
}

#[test]
fn a_crash_at_any_step_of_a_block_harms_nothing() -> Outcome {
    for host in [0, 1, 2] {
        for after in 0..140 {
            let plan = Plan { sync: (ms(1), ms(4)), rewrite_journals: after % 2 == 0, ..Plan::calm(4) };
            let mut world = world("a_crash_at_any_step", after, plan)?;
            world.announce(item(1))?;
            world.announce(item(2))?;
            let mut left = after;
            world.run_until("the step", 2 * SECOND, |_| {
                left = left.saturating_sub(1);
                left == 0
            })?;
            world.crash(HostId(host));
            world.run_for(ms(after % 7))?;
            world.restart(HostId(host))?;
            world.run_until("all is final", 20 * SECOND, World::is_settled)?;
        }
    }
    Ok(())
}

/// Of all PREPAREs, only those to `lucky` arrive: it alone forms the certificate, and sends the only COMMIT.
fn only_one_prepares(world: &mut World, lucky: HostId) -> Rc<Cell<bool>> {
    let committed = Rc::new(Cell::new(false));
    let seen = Rc::clone(&committed);
    world.drop_messages(move |from, to, message| match message {
        Message::Vote(vote) if vote.kind == VoteKind::Prepare => to != lucky,
        Message::Vote(vote) if vote.kind == VoteKind::Commit && from == lucky => {
            seen.set(true);
            true
        }
        Message::Certificate(_) => from == lucky,
        _ => false,
    });
    committed
}

#[test]
fn a_lone_commit_before_a_restart_of_all_stops_nobody() -> Outcome {
    for seed in 0..20 {
        let mut world = world("a_lone_commit", seed, Plan::calm(4))?;
        let committed = only_one_prepares(&mut world, HostId(2));
        world.announce(item(0))?;
        world.run_until("the lone COMMIT", 10 * SECOND, |_| committed.get())?;
        for host in world.hosts() {
            world.crash(host);
        }
        for host in world.hosts() {
            world.restart(host)?;
        }
        if seed % 2 == 0 {
            world.drop_nothing();
        } else {
            // The certificate stays with the one that saw it.
            world.drop_messages(|from, _, message| {
                from == HostId(2) && matches!(message, Message::Certificate(c) if c.kind == VoteKind::Prepare)
            });
        }
        world.run_until("all is final", 60 * SECOND, World::is_settled)?;
    }
    Ok(())
}

#[test]
fn a_prepare_certificate_that_one_replica_alone_saw_neither_forks_nor_stalls() -> Outcome {
    for seed in 0..20 {
        let mut world = world("a_prepare_certificate_that_one", seed, Plan::calm(4))?;
        let committed = only_one_prepares(&mut world, HostId(2));
        world.announce(item(0))?;
        world.run_until("the lone COMMIT", 10 * SECOND, |_| committed.get())?;
        world.isolate(HostId(2));
        world.drop_nothing();
        world.run_until("the others go on", 60 * SECOND, |world| is_final(world, item(0)))?;
        work(&mut world, 1, 5, 20 * SECOND)?;
        world.heal();
        world.run_until("all is final", 60 * SECOND, World::is_settled)?;
    }
    Ok(())
}

#[test]
fn one_that_was_down_for_a_thousand_blocks_catches_up_and_its_vote_counts() -> Outcome {
    let mut world = world("one_that_was_down", 9, Plan { execute: (ms(0), ms(2)), ..Plan::calm(4) })?;
    world.crash(HostId(3));
    work(&mut world, 0, 1_000, 20 * SECOND)?;
    world.run_for(ms(100))?;
    world.crash(HostId(0));
    world.restart(HostId(3))?;
    work(&mut world, 2_000, 5, 60 * SECOND)?;
    world.restart(HostId(0))?;
    world.run_until("all is final", 60 * SECOND, World::is_settled)?;
    Ok(())
}

#[test]
fn every_message_survives_its_encoding() -> Outcome {
    for seed in 0..40 {
        let plan =
            Plan { as_bytes: true, ..Plan::drawn(&mut tests::simulation::chance::Chance::new(seed), 4) };
        tests::simulation::weather::run_plan(seed, plan, "scripts/test every_message".into())?;
    }
    Ok(())
}

/// So that the forge's messages are no different from a replica's own.
#[test]
fn a_forged_vote_has_the_bytes_of_a_real_one() -> Outcome {
    let world = world("a_forged_vote", 10, Plan::calm(4))?;
    let voter = ValidatorIndex(1);
    for kind in [VoteKind::Prepare, VoteKind::Commit, VoteKind::ViewChange] {
        let vote = forge::vote(world.context(), (voter, &secret(voter)), kind, View(3), Digest::ZERO);
        let checked: Result<Verified<Message>, _> = Message::Vote(vote).verify(world.context());
        assert!(checked.is_ok(), "{kind:?}: {checked:?}");
    }
    Ok(())
}
