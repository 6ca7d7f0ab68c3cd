//! The end of an epoch, in each of the ways that were once thought to go wrong (P12).

use std::time::Duration;

use consensus::{Candidate, Message, Parent};
use genesis::{Digest, Epoch, Parameters};
use ledger::Change;
use tests::simulation::world::{item, secret, validator};
use tests::simulation::{Failure, HostId, Plan, World, forge};

type Outcome = Result<(), Failure>;

const SECOND: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn world(name: &str, seed: u64, observers: usize) -> Result<World, Failure> {
    let plan = Plan { observers, execute: (ms(1), ms(30)), sync: (ms(0), ms(3)), ..Plan::calm(4) };
    World::new(seed, plan, format!("scripts/test {name}"))
}

/// Has `voters` decide `change`.
fn decide(world: &mut World, number: u64, change: Change, voters: &[usize]) -> Result<Digest, Failure> {
    let decision = item(1 << 40 | number);
    world.decide(decision, change, voters);
    assert!(world.announce(decision)?, "enough machines are up");
    Ok(decision)
}

fn epoch(world: &World, host: usize) -> Option<Epoch> {
    let machine = &world.machines[host];
    machine.replica.as_ref().map(|_| machine.epoch)
}

fn are_in(world: &World, hosts: &[usize], wanted: u64) -> bool {
    hosts.iter().all(|host| epoch(world, *host) == Some(Epoch(wanted)))
}

fn work(world: &mut World, first: u64, count: u64) -> Outcome {
    for number in first..first + count {
        assert!(world.announce(item(number))?, "enough machines are up");
        world.run_until("an item is final", 20 * SECOND, |world| {
            world.witness.ordered().contains(&item(number))
        })?;
    }
    Ok(())
}

fn members(world: &World) -> Vec<String> {
    world.context().validators.iter().map(|(_, validator)| validator.name.clone()).collect()
}

#[test]
fn a_validator_joins_and_its_vote_counts() -> Outcome {
    let mut world = world("a_validator_joins", 1, 1)?;
    work(&mut world, 0, 3)?;
    let joining = world.joining(4);
    decide(&mut world, 0, joining, &[0, 1, 2])?;
    world.run_until("the new epoch", 10 * SECOND, |world| are_in(world, &[0, 1, 2, 3, 4], 1))?;
    assert_eq!(members(&world), ["node0", "node1", "node2", "node3", "node4"]);
    // Four of five are a quorum: the new one is needed.
    world.crash(HostId(0));
    work(&mut world, 10, 5)?;
    world.restart(HostId(0))?;
    world.run_until("all have all", 20 * SECOND, World::is_settled)?;
    Ok(())
}

#[test]
fn a_validator_leaves_and_follows_as_an_observer() -> Outcome {
    let mut world = world("a_validator_leaves", 2, 0)?;
    let leaving = world.leaving(3);
    decide(&mut world, 0, leaving, &[0, 1, 2, 3])?;
    world.run_until("the new epoch", 10 * SECOND, |world| are_in(world, &[0, 1, 2, 3], 1))?;
    work(&mut world, 0, 5)?;
    world.run_until("all have all", 20 * SECOND, World::is_settled)?;
    assert_eq!(members(&world), ["node0", "node1", "node2"]);
    Ok(())
}

#[test]
fn parameters_change_at_the_end_of_an_epoch_alone() -> Outcome {
    let mut world = world("parameters_change", 3, 0)?;
    let parameters = Parameters { delta_ms: 100, ..Parameters::default() };
    decide(&mut world, 0, Change::SetParameters(parameters), &[1, 2, 3])?;
    let delta = |world: &World| world.status(HostId(0)).map(|status| (status.epoch, status.delta));
    assert_eq!(delta(&world), Some((Epoch(0), ms(400))));
    world.run_until("the new epoch", 10 * SECOND, |world| are_in(world, &[0, 1, 2, 3], 1))?;
    assert_eq!(delta(&world), Some((Epoch(1), ms(100))));
    work(&mut world, 0, 5)
}

#[test]
fn what_outsiders_and_a_minority_decide_ends_no_epoch() -> Outcome {
    let mut world = world("what_outsiders", 4, 1)?;
    let joining = world.joining(4);
    decide(&mut world, 0, joining.clone(), &[4, 5, 6])?;
    decide(&mut world, 1, joining, &[0, 1])?;
    work(&mut world, 0, 20)?;
    world.run_for(120 * SECOND)?;
    world.run_until("all have all", 20 * SECOND, World::is_settled)?;
    assert!(are_in(&world, &[0, 1, 2, 3], 0));
    Ok(())
}

/// The second change is decided while the block that closes the epoch for the first is under way: it must take effect
/// too, in an epoch of its own.
#[test]
fn a_change_of_the_set_made_between_citation_and_close_is_not_lost() -> Outcome {
    for seed in 0..40 {
        let mut world = world("a_change_of_the_set", seed, 2)?;
        let joining = [world.joining(4), world.joining(5)];
        let [first, second] = joining;
        decide(&mut world, 0, first, &[0, 1, 2, 3])?;
        world.run_for(ms(5 * seed))?;
        decide(&mut world, 1, second, &[0, 1, 2, 3])?;
        let all = [0, 1, 2, 3, 4, 5];
        world.run_until("both have joined", 30 * SECOND, |world| {
            members(world).len() == 6 && world.is_settled()
        })?;
        let last = epoch(&world, 0);
        assert!(last == Some(Epoch(1)) || last == Some(Epoch(2)), "seed {seed}: {last:?}");
        assert!(all.iter().all(|host| epoch(&world, *host) == last));
    }
    Ok(())
}

/// The same, but the second change takes the first one back.
#[test]
fn a_change_that_is_taken_back_while_its_epoch_closes_leaves_all_in_the_same_set() -> Outcome {
    for seed in 0..40 {
        let mut world = world("a_change_that_is_taken_back", seed, 1)?;
        let (joining, leaving) = (world.joining(4), world.leaving(4));
        decide(&mut world, 0, joining, &[0, 1, 2, 3])?;
        world.run_for(ms(5 * seed))?;
        decide(&mut world, 1, leaving, &[0, 1, 2, 3])?;
        world.run_until("it has left again", 30 * SECOND, World::is_settled)?;
        work(&mut world, 0, 3)?;
        world.run_for(10 * SECOND)?;
        world.run_until("all have all", 20 * SECOND, World::is_settled)?;
        let (last, count) = (epoch(&world, 0), members(&world).len());
        let never = last == Some(Epoch(0)) && count == 4;
        let there_and_back = last == Some(Epoch(2)) && count == 4;
        let before = last == Some(Epoch(1)) && count == 5;
        assert!(never || there_and_back || before, "seed {seed}: {last:?}, {count} members");
    }
    Ok(())
}

/// All CHECKPOINTs of the closing block reach the leaver alone, which switches off with the only certificate.
#[test]
fn a_leaver_that_switches_off_before_anyone_else_holds_the_closing_certificate_stops_nobody() -> Outcome {
    for seed in 0..20 {
        let mut world = world("a_leaver_that_switches_off", seed, 0)?;
        work(&mut world, 0, 2)?;
        let leaving = world.leaving(3);
        decide(&mut world, 0, leaving, &[0, 1, 2])?;
        world.run_until("the change is pending", 10 * SECOND, |world| {
            world.machines[0].store.governance().pending.is_some()
        })?;
        world.drop_messages(|_, to, message| match message {
            // The block that closes the epoch leaves nothing pending.
            Message::Checkpoint(vote) => to != HostId(3) && vote.checkpoint.pending.is_none(),
            Message::CheckpointCertificate(certificate) => certificate.checkpoint.pending.is_none(),
            _ => false,
        });
        world.run_until("the leaver has the certificate", 30 * SECOND, |world| are_in(world, &[3], 1))?;
        assert!(are_in(&world, &[0, 1, 2], 0), "nobody else has it");
        world.crash(HostId(3));
        world.drop_nothing();
        world.run_until("the others go on", 30 * SECOND, |world| are_in(world, &[0, 1, 2], 1))?;
        work(&mut world, 10, 5)?;
    }
    Ok(())
}

/// Who was cut off when an epoch ended hears of it from those who are left, also where some of those it knew are gone.
#[test]
fn one_that_missed_three_epochs_follows_through_all_of_them() -> Outcome {
    let mut world = world("one_that_missed", 5, 2)?;
    world.crash(HostId(2));
    let changes = [world.joining(4), world.leaving(1), world.joining(5)];
    for (number, change) in (0..).zip(changes) {
        decide(&mut world, number, change, &[0, 3, 4, 1])?;
        let present = if number == 0 { vec![0, 1, 3, 4] } else { vec![0, 3, 4] };
        world.run_until("the next epoch", 20 * SECOND, |world| are_in(world, &present, number + 1))?;
        if number == 0 {
            // Four of five are a quorum, so that node1 may go.
            work(&mut world, 100, 3)?;
        }
    }
    world.restart(HostId(2))?;
    world.run_until("it is there too", 30 * SECOND, World::is_settled)?;
    world.run_until("and votes", 30 * SECOND, World::all_vote)?;
    Ok(())
}

/// A leader of the second epoch cites the checkpoint of the first in which the change was pending: if that counted, it
/// would end the second epoch with the set that has just begun, again and again.
#[test]
fn an_old_checkpoint_cited_to_close_an_epoch_backwards_is_prepared_by_nobody() -> Outcome {
    for control in [false, true] {
        let mut world = world("an_old_checkpoint", 6, 1)?;
        let joining = world.joining(4);
        decide(&mut world, 0, joining, &[0, 1, 2, 3])?;
        world.run_until("the new epoch", 10 * SECOND, |world| are_in(world, &[0, 1, 2, 3, 4], 1))?;
        world.run_for(SECOND)?;
        let store = &world.machines[0].store;
        let pending = (1..=store.height().0).map(genesis::Height);
        let mut pending = pending.filter_map(|height| store.checkpoint_at(height));
        let old = pending.find(|it| it.checkpoint.pending.is_some()).expect("the change was pending");
        let old = old.checkpoint.cited();
        let status = world.status(HostId(0)).expect("it is up");
        let (view, tip) = (status.view, status.tip);
        let leader = world.context().validators.leader(view);
        let candidate = Candidate {
            epoch: Epoch(1),
            view,
            height: tip.height.next(),
            parent: Parent { view: tip.view, digest: tip.digest },
            time: tip.time.next(),
            cites: if control { tip.cites } else { old },
            nonces: Vec::new(),
            payload: Vec::new(),
        };
        let digest = candidate.digest();
        let host = HostId(usize::from(leader.0));
        let proposal = forge::proposal(world.context(), &secret(leader), candidate);
        assert_eq!(world.context().validators.get(leader).map(|it| &it.name), Some(&validator(host.0).name));
        for to in (0..5).map(HostId).filter(|to| *to != host) {
            let message = Message::PrePrepare(proposal.clone()).verify(world.context());
            world.inject(host, to, message.expect("it is well signed"));
        }
        world.run_for(ms(500))?;
        let prepared = |host: &HostId| {
            let votes = &world.machines[host.0].journal.durable_votes;
            votes.iter().any(|(_, _, _, of)| *of == digest)
        };
        let prepared = world.hosts().iter().filter(|host| prepared(host)).count();
        assert_eq!(prepared > 0, control, "{prepared} prepared");
        work(&mut world, 0, 5)?;
        assert!(are_in(&world, &[0, 1, 2, 3, 4], 1), "{}", world.describe());
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_moment_of_an_epochs_end_leaves_all_in_the_next_one() -> Outcome {
    for after in 0..120 {
        let mut world = world("a_power_cut_at_any_moment", after, 1)?;
        let joining = world.joining(4);
        decide(&mut world, 0, joining, &[0, 1, 2, 3])?;
        world.run_for(ms(2 * after))?;
        for host in world.hosts() {
            world.crash(host);
        }
        for host in world.hosts() {
            world.restart(host)?;
        }
        world.run_until("all are in the next epoch", 60 * SECOND, |world| {
            are_in(world, &[0, 1, 2, 3, 4], 1)
        })?;
        work(&mut world, 0, 3)?;
        world.run_until("all have all", 20 * SECOND, World::is_settled)?;
    }
    Ok(())
}
