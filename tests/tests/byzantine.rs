//! Each kind of Byzantine replica by itself, and what must be refused of it.

use std::time::Duration;

use tests::simulation::adversary::Kind;
use tests::simulation::world::item;
use tests::simulation::{Failure, Plan, World};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A network that is well but for its last member, or for its last two of seven.
fn beside(test: &str, kind: Kind, nodes: usize, seed: u64) -> Result<World, Failure> {
    let faulty = (nodes - 1) / 3;
    let mut plan = Plan { sync: (ms(0), ms(3)), judge: (ms(0), ms(5)), ..Plan::calm(nodes) };
    match kind {
        Kind::Double => plan.twins = faulty,
        kind => plan.adversaries = vec![vec![kind]; faulty],
    }
    World::new(seed, plan, format!("scripts/test {test}    # {kind}, seed {seed}"))
}

#[test]
fn beside_each_kind_of_byzantine_replica_all_items_become_final_soon() -> Result<(), Failure> {
    for kind in Kind::ALL.iter().copied() {
        for (nodes, seed) in [(4, 1), (4, 2), (4, 3), (7, 4), (7, 5), (10, 6)] {
            let mut world = beside("all_items_become_final_soon", kind, nodes, seed)?;
            for number in 0..30 {
                world.announce(item(number))?;
                world.run_until("the item is final everywhere", ms(60_000), World::is_settled)?;
                world.run_for(ms(50))?;
            }
            if kind != Kind::LyingSyncPeer {
                assert!(world.all_deeds().of(kind) > 0, "{kind} did nothing among {nodes}, seed {seed}");
            }
        }
    }
    Ok(())
}

/// With a new item every few milliseconds, so that blocks are built on others that are prepared and not final.
#[test]
fn beside_each_kind_of_byzantine_replica_a_busy_network_goes_on() -> Result<(), Failure> {
    for kind in Kind::ALL.iter().copied() {
        for seed in 0..4 {
            let mut world = beside("a_busy_network_goes_on", kind, 4, seed)?;
            for number in 0..80 {
                world.announce(item(number))?;
                world.run_for(ms(7))?;
            }
            world.run_until("all items are final everywhere", ms(120_000), World::is_settled)?;
        }
    }
    Ok(())
}

/// Those who sign what contradicts itself are named, with proof (P13); those who only withhold, delay or make up are not.
#[test]
fn p13_who_contradicts_itself_is_accused_and_nobody_else() -> Result<(), Failure> {
    for kind in Kind::ALL.iter().copied() {
        let mut accusations = 0;
        for seed in 0..3 {
            let mut world = beside("p13_who_contradicts_itself", kind, 4, seed)?;
            for number in 0..30 {
                world.announce(item(number))?;
                world.run_for(ms(120))?;
            }
            world.run_until("all items are final everywhere", ms(120_000), World::is_settled)?;
            // Whom is not asked here: an accusation of an honest one, or one that does not hold, ends the run.
            accusations += world.witness.all_accusations();
        }
        match kind {
            Kind::EquivocatingLeader
            | Kind::EquivocatingVoter
            | Kind::Double
            | Kind::VoteThenDeny
            | Kind::WrongCheckpoint => assert!(accusations > 0, "{kind} is never accused"),
            Kind::Silent
            | Kind::SelectiveSender
            | Kind::LateSender
            | Kind::ForgedCertificates
            | Kind::WrongEpoch
            | Kind::Replayer
            | Kind::LyingSyncPeer
            | Kind::CertificateHoarder
            | Kind::BatchToLeader
            | Kind::SilentAttester
            | Kind::FalseAttester => assert_eq!(accusations, 0, "{kind} contradicts nothing"),
            // Their blocks or made-up votes may contradict what their replica said.
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn one_that_was_away_catches_up_although_a_peer_lies_about_blocks() -> Result<(), Failure> {
    let mut deeds = 0;
    for seed in 0..20 {
        let mut world = beside("although_a_peer_lies", Kind::LyingSyncPeer, 4, seed)?;
        let away = world.hosts()[2];
        world.crash(away);
        for number in 0..60 {
            world.announce(item(number))?;
            world.run_for(ms(100))?;
        }
        world.restart(away)?;
        world.run_until("all have all", ms(120_000), World::is_settled)?;
        deeds += world.all_deeds().of(Kind::LyingSyncPeer);
    }
    assert!(deeds >= 20, "{deeds} lies");
    Ok(())
}

#[test]
fn forged_certificates_and_signatures_of_other_epochs_are_refused_by_all() -> Result<(), Failure> {
    for kind in [Kind::ForgedCertificates, Kind::WrongEpoch] {
        let mut world = beside("forged_certificates", kind, 4, 7)?;
        for number in 0..100 {
            world.announce(item(number))?;
            // A forgery that is taken for good ends the run.
            world.run_for(ms(100))?;
        }
        let (deeds, refused) = (world.all_deeds().of(kind), world.refused);
        assert!(deeds >= 100, "{kind}: {deeds} deeds");
        assert_eq!(deeds, refused, "{kind}: as many are refused as were sent");
    }
    Ok(())
}
