//! Kinds that say wrong things of results and of the past: checkpoints with another root, and answers to those who lost
//! their records.

use consensus::{Certificate, Checkpoint, Message};
use genesis::View;

use super::super::forge;
use super::{Adversary, Content, Kind, Parcel};

impl Adversary {
    /// Wrong checkpoint: about half of the receivers get another root, some both.
    pub(super) fn miscalculate(&mut self, parcels: &mut Vec<Parcel>) {
        if !self.is(Kind::WrongCheckpoint) {
            return;
        }
        let mut more = Vec::new();
        for parcel in parcels.iter_mut() {
            let checkpoint = match &parcel.content {
                Content::Message(Message::Checkpoint(vote)) if vote.voter == self.me => {
                    vote.checkpoint.clone()
                }
                _ => continue,
            };
            if self.chance.percent(30) {
                continue;
            }
            if self.chance.percent(20) {
                more.push(parcel.clone());
            }
            let wrong = self.wrong(checkpoint);
            let vote = forge::checkpoint(&self.context, (self.me, &self.secret), wrong);
            parcel.content = Content::Message(Message::Checkpoint(vote));
            self.deeds.count(Kind::WrongCheckpoint);
        }
        parcels.extend(more);
    }

    fn wrong(&mut self, mut checkpoint: Checkpoint) -> Checkpoint {
        let noise = self.noise();
        match self.chance.below(5) {
            0 => checkpoint.receipts_root = noise,
            1 => checkpoint.configuration = noise,
            // An epoch's end that nobody voted for.
            2 => checkpoint.pending = Some(noise),
            3 => checkpoint.height = checkpoint.height.next(),
            _ => checkpoint.state_root = noise,
        }
        checkpoint
    }

    /// Silent and false attesters: what those get who lost their records, or ask for their own highest vote.
    pub(super) fn attest(&mut self, parcels: &mut Vec<Parcel>) {
        if self.is(Kind::SilentAttester) {
            let deeds = &mut self.deeds;
            parcels.retain(|parcel| {
                let answers = matches!(
                    parcel.content,
                    Content::Message(Message::Attestation(_) | Message::OwnVotes(_))
                );
                if answers {
                    deeds.count(Kind::SilentAttester);
                }
                !answers
            });
        }
        if !self.is(Kind::FalseAttester) {
            return;
        }
        for parcel in parcels {
            let answer = match &parcel.content {
                Content::Message(Message::OwnVotes(_)) => Message::OwnVotes(Vec::new()),
                Content::Message(Message::Attestation(answer)) => {
                    let nonce = answer.nonce;
                    let entry = self.some_certificate();
                    let view = entry.as_ref().map_or(View(1), |entry| entry.view.next());
                    let voter = (self.me, &self.secret);
                    Message::Attestation(forge::attestation(&self.context, voter, nonce, view, entry))
                }
                _ => continue,
            };
            parcel.content = Content::Message(answer);
            self.deeds.count(Kind::FalseAttester);
        }
    }

    /// The newest certificate that it remembers, the oldest, or none.
    fn some_certificate(&mut self) -> Option<Certificate> {
        let certificates = self.memory.iter().filter_map(|message| match message {
            Message::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        let all: Vec<_> = certificates.cloned().collect();
        let highest = all.iter().max_by_key(|certificate| certificate.view).cloned();
        let lowest = all.iter().min_by_key(|certificate| certificate.view).cloned();
        match self.chance.below(3) {
            0 => highest,
            1 => lowest,
            _ => None,
        }
    }
}
