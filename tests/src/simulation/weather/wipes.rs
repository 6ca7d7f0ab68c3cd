//! Lost voting records, lost ledgers, and disks that are restored from a backup.
//!
//! Invariant: never are more voting records lost at a time than `f` has room for beside the Byzantine ones.

use super::super::fault::Fault;
use super::super::plan::Decision;
use super::super::world::{HostId, Loss, World};

/// Strikes one machine, and says which; none where it would be one too many.
pub(super) fn strike(world: &mut World) -> Option<HostId> {
    let honest = |host: &HostId| !world.machines[host.0].byzantine;
    let honest: Vec<_> = world.hosts().into_iter().filter(honest).collect();
    let host = world.chance.pick(&honest)?;
    let backed_up = world.has_backup(host);
    let loss = match world.chance.below(10) {
        0..3 => Loss::Journal,
        3..5 => Loss::Disk,
        5..8 if backed_up => Loss::SinceBackup,
        8.. => Loss::Ledger,
        _ => Loss::Journal,
    };
    if loss != Loss::Ledger && !has_room(world, host) {
        return None;
    }
    let fault = match loss {
        Loss::Journal => Fault::JournalLost,
        Loss::Disk => Fault::DiskLost,
        Loss::SinceBackup => Fault::Restored,
        Loss::Ledger => Fault::LedgerLost,
    };
    world.faults.count(fault);
    world.lose(host, loss);
    if loss == Loss::SinceBackup {
        world.witness.forgives(host);
    }
    Some(host)
}

/// Whether one more may lose its votes.
fn has_room(world: &World, host: HostId) -> bool {
    let others = world.machines.iter().enumerate().filter(|(place, machine)| {
        let votes = machine.replica.as_ref().map(|replica| replica.status().standing);
        *place != host.0
            && !machine.byzantine
            && machine.lost_votes
            && votes != Some(consensus::Report::Voting)
    });
    others.count() < room(world)
}

fn room(world: &World) -> usize {
    let leave = |(_, decision): &(_, Decision)| matches!(decision, Decision::Leave(_));
    let leavers = usize::from(world.plan.votes.iter().any(leave));
    let least = world.contexts.iter().map(|context| context.validators.len()).min().unwrap_or(1);
    let faulty = (least.saturating_sub(leavers + 1)) / 3;
    let members = world.machines.iter().take(world.plan.validators);
    let taken = members.filter(|machine| machine.byzantine).count() + world.plan.mad_clocks;
    faulty.saturating_sub(taken).min(world.plan.wipes_at_once)
}
