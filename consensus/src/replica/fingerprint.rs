//! What a replica's decisions depend on, as bytes: two replicas of one validator with the same fingerprint decide
//! alike. The model checker tells states apart by it.
//!
//! Invariant: every field is named here, so that a new one has to be placed: taken in, or left out for a reason.

use std::collections::BTreeMap;

use genesis::{Digest, Epoch, Height, ValidatorIndex, View, encoding};
use serde::Serialize;

use super::{Now, Own, Phase, Replica, Verdict};
use crate::candidate::Tip;
use crate::certificate::Certificate;
use crate::pool::Offer;

#[derive(Serialize)]
struct Fingerprint {
    epoch: Epoch,
    me: Option<ValidatorIndex>,
    tip: Tip,
    committed: Option<(View, Digest)>,
    blocks: Vec<Digest>,
    prepared: Vec<(View, Digest)>,
    failed: Vec<View>,
    failed_from: View,
    own: Vec<(View, Signed)>,
    early: Vec<(ValidatorIndex, Digest)>,
    offers: Vec<Offer>,
    held: Vec<Offer>,
    ordered: Vec<Digest>,
    view: View,
    phase: Stage,
    asked_candidates: Vec<Digest>,
    due: Due,
    /// May it sign, above which view, and who told it.
    standing: Vec<u8>,
    /// Its ledger's results, and those that have a certificate.
    results: Vec<u8>,
    closed: Option<(Height, bool)>,
    halted: bool,
}

/// What was signed in a view.
#[derive(Serialize)]
struct Signed {
    proposal: Option<Digest>,
    prepare: Option<Digest>,
    commit: Option<Digest>,
    view_change: bool,
}

#[derive(Serialize)]
enum Stage {
    Waiting,
    Examining { digest: Digest, valid: Option<bool>, asked: bool },
    Rejected,
    Prepared,
}

/// Of times, what they make due.
#[derive(Serialize)]
struct Due {
    armed: bool,
    unfinal: bool,
    heartbeat: bool,
    empty_block: bool,
    view_change: bool,
}

impl Replica {
    /// The bytes that stand for all that decides what this replica signs and finalises at `now`.
    ///
    /// Left out are: votes that made no certificate here, which decide nothing but when a view is given up; what is
    /// known of peers, which decides the same and what is sent to them again; what may be shown to others; and of
    /// times all but what is due.
    pub fn fingerprint(&self, now: Now) -> Vec<u8> {
        let Self {
            context, // The epoch says the rest.
            me,
            secret: _,
            parameters: _,
            pacemaker: _,
            standing,
            results,
            closed,
            later: _, // Fixed until its epoch begins.
            watch: _, // Decides what is told, not what is done.
            tip,
            tip_certificate: _, // Shown to others alone.
            committed,
            blocks,
            blocks_kept: _, // Decides when memory is freed.
            prepared,
            failed,
            failed_from,
            own,
            tallies: _, // What a quorum said is in `prepared`, `failed` and `committed`.
            early,
            recent: _, // Shown to others alone.
            pool,
            view,
            entered: _,
            phase,
            peers: _,
            asked_candidates,
            asked_checkpoint: _,   // As with the next.
            asked_certificates: _, // An answer counts whether it was asked for or not.
            helper: _,
            armed,
            unfinal,
            last_block_at: _,
            resend_at: _,
            catch_up_at: _,
            time_fits_at: _,
            halted,
            output: _,  // Empty between steps.
            stirred: _, // Of the step under way.
        } = self;
        let names = |certificate: &Certificate| (certificate.view, certificate.digest);
        let (offers, held, ordered) = pool.fingerprint();
        encoding::encode(&Fingerprint {
            epoch: context.epoch,
            me: *me,
            tip: *tip,
            committed: committed.as_ref().map(names),
            blocks: blocks.keys().copied().collect(),
            prepared: prepared.values().map(names).collect(),
            failed: failed.keys().copied().collect(),
            failed_from: *failed_from,
            own: signed(own),
            early: early.iter().map(|(leader, known)| (*leader, known.block.digest())).collect(),
            offers,
            held,
            ordered,
            view: *view,
            phase: stage(*phase),
            asked_candidates: asked_candidates.iter().copied().collect(),
            due: Due {
                armed: armed.is_some(),
                unfinal: unfinal.is_some(),
                heartbeat: self.heartbeat_is_due(now),
                empty_block: self.empty_block_is_due(now),
                view_change: self.view_deadline().is_some_and(|at| at <= now.elapsed),
            },
            standing: standing.fingerprint(),
            results: results.fingerprint(),
            closed: closed.as_ref().map(|closed| (closed.height, closed.next.is_some())),
            halted: *halted,
        })
    }
}

fn signed(own: &BTreeMap<View, Own>) -> Vec<(View, Signed)> {
    let each = own.iter().map(|(view, Own { proposal, prepare, commit, view_change })| {
        let signed = Signed {
            proposal: *proposal,
            prepare: prepare.as_ref().map(|vote| vote.digest),
            commit: commit.as_ref().map(|vote| vote.digest),
            view_change: view_change.is_some(),
        };
        (*view, signed)
    });
    each.collect()
}

fn stage(phase: Phase) -> Stage {
    match phase {
        Phase::Waiting => Stage::Waiting,
        Phase::Examining { digest, verdict, asked } => {
            Stage::Examining { digest, valid: verdict.map(|verdict| verdict == Verdict::Valid), asked }
        }
        Phase::Rejected => Stage::Rejected,
        Phase::Prepared => Stage::Prepared,
    }
}
