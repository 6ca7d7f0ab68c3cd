//! Where one epoch ends and the next begins, whether this node has a vote in it, and what is known against others.

use std::time::Instant;

use consensus::message::Fetch;
use consensus::{CheckpointCertificate, Evidence, Message, Report};
use genesis::encoding::encode;
use genesis::{Configuration, Digest, Epoch, PublicKey};
use p2p::{Channel, Role};

use super::{DriverError, EPOCH_PAUSE, Work};
use crate::wire::{Gossip, decode_checkpoint, encode_checkpoint};

impl Work {
    pub(super) fn context_epoch(&self) -> Epoch {
        self.driver.replica.context().epoch
    }

    /// Whether `peer` may be written to about epochs now. Bounds what it can make this node do.
    pub(super) fn may_speak_of_epochs(&mut self, peer: &PublicKey) -> bool {
        let now = Instant::now();
        let last = self.about_epochs.insert(*peer, now);
        let may = last.is_none_or(|last| now.duration_since(last) >= EPOCH_PAUSE);
        if let Some(last) = last.filter(|_| !may) {
            self.about_epochs.insert(*peer, last);
        }
        may
    }

    /// P12: who still speaks of an epoch that is over gets what closed it.
    pub(super) fn show_end_of(&mut self, epoch: Epoch, peer: &PublicKey) {
        if !self.may_speak_of_epochs(peer) {
            return;
        }
        let closed = self.driver.store.epoch_start(epoch.next()).map(|next| next.began);
        let bytes = closed.map(|height| self.driver.store.checkpoint(height));
        match bytes {
            Some(Ok(Some(bytes))) => match decode_checkpoint(&bytes) {
                Ok(closing) => {
                    let gossip = Gossip::Consensus(epoch, Message::CheckpointCertificate(closing));
                    self.send_to(peer, &gossip);
                }
                Err(error) => tracing::error!(%epoch, %error, "what closed an epoch can not be read"),
            },
            Some(Err(error)) => tracing::error!(%epoch, %error, "what closed an epoch can not be read"),
            Some(Ok(None)) | None => {}
        }
    }

    /// A peer is in a later epoch: it is asked, in this one, how that ended.
    pub(super) fn ask_for_end(&mut self, peer: &PublicKey) {
        if self.may_speak_of_epochs(peer) {
            let status = self.driver.replica.status();
            let newest = Fetch::Newest { view: status.view, finalized: status.tip.view };
            self.send_to(peer, &Gossip::Consensus(status.epoch, Message::Fetch(newest)));
            // One that is under way goes on by itself.
            let _ = self.driver.sync.try_send(status.tip.height);
        }
    }

    /// P12: a new epoch. Whoever had a seat, or has one now, is told what closed the one before.
    pub(super) fn begin(
        &mut self,
        epoch: Epoch,
        configuration: &Configuration,
        opening: CheckpointCertificate,
    ) -> Result<(), DriverError> {
        let before = self.driver.membership.now();
        let was_validator = before.me.is_some();
        self.driver.store.put_checkpoint(opening.checkpoint.height, &encode_checkpoint(&opening))?;
        self.driver.membership.begin(epoch, opening.checkpoint.height, &configuration.validators);
        let members = self.driver.membership.now();
        self.epoch = epoch;
        self.keys = members.keys();
        self.about_epochs.clear();
        self.refusals.clear();
        self.phases.begin_epoch();
        self.driver.clocks.keep(&self.keys);
        self.driver.metrics.begin(Some(&before.context.validators), &configuration.validators);
        self.judging = None;
        self.admit();
        let quorum = configuration.validators.quorum();
        let offers = self.driver.availability.set_members(&self.keys, quorum);
        self.available(offers);
        let closing = Gossip::Consensus(epoch.previous(), Message::CheckpointCertificate(opening));
        self.broadcast(&closing);
        self.driver.network.broadcast_to(Role::Observer, Channel::Votes, encode(&closing));
        let (validators, names) = (self.keys.len(), names(configuration));
        tracing::info!(%epoch, validators, names, "a new epoch begins");
        match (was_validator, members.me.is_some()) {
            (true, false) => tracing::warn!(
                "this node is no validator any more: it goes on as an observer, which follows and serves reads. Leave it on \
                 until the others have gone on without it"
            ),
            (false, true) => tracing::info!("this node is a validator now"),
            _ => {}
        }
        Ok(())
    }

    /// A block is executed: who is voted in is let in before its epoch begins, to catch up.
    pub(super) fn aim_at(&mut self, pending: Option<Digest>) {
        if pending != self.pending {
            self.pending = pending;
            self.admit();
        }
    }

    /// Has the network admit whom the ledger says, as it is now.
    fn admit(&self) {
        let (governance, membership) = (self.driver.store.governance(), &self.driver.membership);
        // A ledger that has closed this epoch already has those in charge who are about to be.
        let next = if governance.epoch > membership.now().context.epoch {
            Some(&governance.configuration)
        } else {
            governance.pending.as_ref()
        };
        membership.aim_at(next.map(|next| next.validators.clone()));
        if let Err(error) = self.driver.network.set_admitted(membership.admitted()) {
            // A configuration was checked before it was voted on.
            tracing::error!(%error, "the network does not take the new validators");
        }
    }

    /// P13.
    pub(super) fn accuse(&mut self, evidence: &Evidence) -> Result<(), DriverError> {
        self.driver.metrics.evidence.inc();
        let case = evidence.case();
        let kept = self.driver.store.put_evidence(case.as_bytes(), &encode(evidence))?;
        let validators = &self.driver.replica.context().validators;
        let index = validators.by_consensus_key(&evidence.validator);
        let name = index.and_then(|index| validators.get(index)).map(|member| member.name.as_str());
        let (first, second, view) = (evidence.first.kind, evidence.second.kind, evidence.first.view);
        tracing::error!(
            validator = name, key = %evidence.validator, ?first, ?second, %view, kept,
            "a validator contradicted itself: see chain_evidence. It is broken, hostile, or runs twice with one key"
        );
        Ok(())
    }

    /// Says aloud what this replica waits for before it votes, and when it votes again.
    pub(super) fn tell_standing(&mut self, standing: Report) {
        if std::mem::discriminant(&standing) == std::mem::discriminant(&self.standing) {
            return;
        }
        self.standing = standing;
        match standing {
            Report::Observing => tracing::info!("this node has no seat among the validators: it follows"),
            Report::Inquiring { needed, .. } => {
                tracing::info!(needed, "asking the others for this validator's highest vote before it votes");
            }
            Report::Wiped { needed, .. } => {
                let waits_for = self.waits_for();
                tracing::warn!(
                    needed,
                    waits_for,
                    "this validator's voting record is lost or old: it votes again once so many others have told which view \
                     they are in. Where they are gone for good, have its key replaced by vote (`realdid gov`)"
                );
            }
            Report::Barred(view) => tracing::info!(%view, "this validator votes again above this view"),
            Report::Voting => tracing::info!("this validator votes"),
        }
    }

    /// The names of those whose answers are missing.
    pub(super) fn waits_for(&self) -> String {
        let members = self.driver.membership.now();
        let names = self.driver.replica.waits_for().into_iter().map(|index| members.name(index));
        names.collect::<Vec<_>>().join(", ")
    }
}

fn names(configuration: &Configuration) -> String {
    let names = configuration.validators.iter().map(|(_, member)| member.name.as_str());
    names.collect::<Vec<_>>().join(" ")
}
