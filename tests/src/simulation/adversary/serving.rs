//! Kinds that answer those who are behind, or hand out batches, as they should not.

use consensus::{Finality, Message, Recipient};

use super::super::store::Range;
use super::{Adversary, Content, Kind, Parcel, Scene};

impl Adversary {
    /// Somebody wants final blocks, and `honest` is what an honest peer would answer; `early` are the chain's first.
    pub fn serves(&mut self, scene: &Scene, honest: Range, early: Range) -> Option<Range> {
        if !self.is(Kind::LyingSyncPeer) {
            return Some(honest).filter(|_| !self.is_mute());
        }
        self.deeds.count(Kind::LyingSyncPeer);
        let Range { mut candidates, mut finality, mut cited, mut checkpoint } = honest;
        match self.chance.below(11) {
            // It stalls.
            0 => return None,
            1 => {
                let last = candidates.last_mut()?;
                last.time.0 += 1;
            }
            2 => {
                let first = candidates.first_mut()?;
                first.payload.push(self.new_item());
            }
            3 => drop(candidates.drain(..1.min(candidates.len()))),
            4 => candidates.reverse(),
            // What the asker has already.
            5 => return Some(early),
            6 => finality = Some(Finality::Commit(self.forged_certificate(scene))),
            7 => cited = early.checkpoint,
            8 => {
                let checkpoint = checkpoint.as_mut()?;
                checkpoint.checkpoint.state_root = self.noise();
            }
            9 => checkpoint = None,
            _ => {
                // Right blocks, with the proof of others.
                finality = early.finality;
                candidates.truncate(candidates.len().div_ceil(2));
            }
        }
        Some(Range { candidates, finality, cited, checkpoint })
    }

    /// Lying sync peer: who asks it for a block or for certificates gets another block, older certificates, or nothing.
    pub(super) fn mislead(&mut self, to: Recipient, parcels: &mut Vec<Parcel>) {
        if !self.is(Kind::LyingSyncPeer) || to == Recipient::All {
            return;
        }
        let mut led = Vec::new();
        for mut parcel in parcels.drain(..) {
            let same: fn(&Message) -> bool = match &parcel.content {
                Content::Message(Message::PrePrepare(_)) => |other| matches!(other, Message::PrePrepare(_)),
                Content::Message(Message::Certificate(_)) => |other| matches!(other, Message::Certificate(_)),
                _ => {
                    led.push(parcel);
                    continue;
                }
            };
            self.deeds.count(Kind::LyingSyncPeer);
            // The oldest that it remembers of the kind; else it stalls.
            let other = self.memory.iter().find(|message| same(message)).cloned();
            if let Some(other) = other.filter(|_| self.chance.percent(70)) {
                parcel.content = Content::Message(other);
                led.push(parcel);
            }
        }
        *parcels = led;
    }

    /// Batch to the leader only: an item that the leader alone gets, and is told to be available.
    pub(super) fn hand_out(&mut self, scene: &Scene, parcels: &mut Vec<Parcel>) {
        if !self.may_act(Kind::BatchToLeader, 3) {
            return;
        }
        let leader = self.context.validators.leader(scene.view);
        if let Some((host, _)) = scene.peers.iter().find(|(_, index)| *index == leader) {
            let item = self.new_item();
            parcels.push(Parcel::now(*host, Content::Batch(item)));
            self.deeds.count(Kind::BatchToLeader);
        }
    }
}
