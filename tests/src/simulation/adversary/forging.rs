//! Kinds that make up messages: forged certificates, other epochs, views long over or far ahead.

use consensus::message::{Fetch, Vote, VoteKind};
use consensus::{Candidate, Certificate, Context, Message, Parent};
use genesis::{Digest, Epoch, UnixMillis, ValidatorIndex, View};

use super::super::forge;
use super::{Adversary, Content, Kind, PAUSE, Parcel, Scene};

const VOTES: [VoteKind; 3] = [VoteKind::Prepare, VoteKind::Commit, VoteKind::ViewChange];
const FORGING: [Kind; 4] = [Kind::ForgedCertificates, Kind::WrongEpoch, Kind::StaleView, Kind::FarFutureView];

impl Adversary {
    /// Now and then, one made-up message to somebody or to everybody.
    pub(super) fn make_up(&mut self, scene: &Scene, parcels: &mut Vec<Parcel>) {
        let kinds: Vec<_> = FORGING.into_iter().filter(|kind| self.is(*kind)).collect();
        let Some(kind) = self.chance.pick(&kinds).filter(|_| scene.now >= self.busy_until) else { return };
        self.busy_until = scene.now + PAUSE;
        let content = match kind {
            Kind::ForgedCertificates => {
                Content::Forgery(Message::Certificate(self.forged_certificate(scene)))
            }
            Kind::WrongEpoch => Content::Forgery(self.of_another_epoch(scene)),
            Kind::StaleView => {
                let back = self.chance.between(1, 80);
                let view = View(scene.view.0.saturating_sub(back).max(1));
                Content::Message(self.in_view(scene, view))
            }
            _ => {
                let ahead = self.chance.pick(&[1, 2, 5, 6, 100, 1_000_000, u64::MAX / 2, u64::MAX]);
                let view = scene.view.0.saturating_add(ahead.unwrap_or(1)).min(u64::MAX - 1);
                Content::Message(self.in_view(scene, View(view)))
            }
        };
        let everybody = self.chance.percent(30);
        let one = self.somebody(scene);
        for (host, _) in scene.peers.iter().filter(|(host, _)| everybody || Some(*host) == one) {
            parcels.push(Parcel::now(*host, content.clone()));
            self.deeds.count(kind);
        }
    }

    /// Something well signed in `view`.
    fn in_view(&mut self, scene: &Scene, view: View) -> Message {
        let digest = self.noise();
        match self.chance.below(6) {
            0 if view > View(1) => {
                let view = self.led(view);
                let parent = Parent { view: scene.tip.view.min(view.previous()), digest: scene.tip.digest };
                let (height, time) = (scene.tip.height.next(), UnixMillis(scene.tip.time.0 + 1));
                let epoch = self.context.epoch;
                let payload = vec![self.new_item()];
                let (cites, nonces) = (scene.tip.cites, Vec::new());
                let candidate = Candidate { epoch, view, height, parent, time, cites, nonces, payload };
                Message::PrePrepare(forge::proposal(&self.context, &self.secret, candidate))
            }
            1 => Message::Fetch(Fetch::Newest { view, finalized: view }),
            2 => Message::Fetch(Fetch::Certificates { from: View(1), to: view }),
            _ => {
                let kind = self.chance.pick(&VOTES).unwrap_or(VoteKind::Prepare);
                let digest = if kind == VoteKind::ViewChange { Digest::ZERO } else { digest };
                Message::Vote(forge::vote(&self.context, (self.me, &self.secret), kind, view, digest))
            }
        }
    }

    /// The nearest view at or below `view` that this validator leads; or the first.
    fn led(&self, view: View) -> View {
        let n = self.context.validators.len() as u64;
        let back = (view.0 % n + n - u64::from(self.me.0)) % n;
        View(view.0.saturating_sub(back).max(1))
    }

    fn of_another_epoch(&mut self, scene: &Scene) -> Message {
        let ahead = self.chance.pick(&[1, 2, u64::MAX]).unwrap_or(1);
        let epoch = match self.context.epoch.0.checked_sub(1) {
            Some(before) if self.chance.percent(40) => Epoch(before),
            _ => self.context.epoch.plus(ahead),
        };
        let context = Context { epoch, ..self.context.clone() };
        let newest = self.memory.iter().rev().find_map(|message| match message {
            Message::PrePrepare(proposal) => Some(proposal.candidate.clone()),
            _ => None,
        });
        match newest {
            Some(candidate) if self.chance.percent(30) => {
                let view = self.led(scene.view.next());
                let candidate = Candidate { epoch, view, ..candidate };
                // Signed for the epoch that it names, or for this one.
                let signed = if self.chance.percent(50) { &context } else { &self.context };
                Message::PrePrepare(forge::proposal(signed, &self.secret, candidate))
            }
            newest => {
                let kind = self.chance.pick(&VOTES).unwrap_or(VoteKind::Prepare);
                let digest = match newest {
                    Some(candidate) if kind != VoteKind::ViewChange => candidate.digest(),
                    None if kind != VoteKind::ViewChange => self.noise(),
                    _ => Digest::ZERO,
                };
                Message::Vote(forge::vote(&context, (self.me, &self.secret), kind, scene.view, digest))
            }
        }
    }

    /// A certificate that proves nothing. Where it can, it is made of votes that were really cast.
    pub(super) fn forged_certificate(&mut self, scene: &Scene) -> Certificate {
        let validators = self.context.validators.clone();
        let quorum = validators.quorum();
        let newest = |wanted: fn(&Message) -> bool| self.memory.iter().rev().find(|message| wanted(message));
        let real = match newest(|message| matches!(message, Message::Certificate(_))) {
            Some(Message::Certificate(certificate)) => Some(certificate.clone()),
            _ => None,
        };
        let voted = match newest(|message| matches!(message, Message::Vote(_))) {
            Some(Message::Vote(vote)) => Some((vote.kind, vote.view, vote.digest)),
            _ => None,
        };
        let (kind, view, digest) =
            voted.unwrap_or((VoteKind::ViewChange, scene.view.max(View(1)), Digest::ZERO));
        let own = forge::vote(&self.context, (self.me, &self.secret), kind, view, digest);
        let signers = |indices: Vec<u16>| -> Vec<_> {
            indices.into_iter().map(|index| (ValidatorIndex(index), own.signature)).collect()
        };
        let n = validators.len() as u16;
        let signatures = match (self.chance.below(6), real) {
            // A quorum's votes, for something that it did not vote for.
            (0, Some(mut real)) => {
                real.view = real.view.next();
                return real;
            }
            (1, Some(mut real)) => {
                real.kind = if real.kind == VoteKind::Commit { VoteKind::Prepare } else { VoteKind::Commit };
                return real;
            }
            // One signer short.
            (2, Some(mut real)) => {
                real.signatures.truncate(quorum - 1);
                return real;
            }
            // One signer, and the first of them again.
            (3, Some(mut real)) => {
                real.signatures.truncate(quorum - 1);
                if let Some(first) = real.signatures.first().copied() {
                    real.signatures.insert(0, first);
                }
                return real;
            }
            // Its own signature for everybody.
            (4, _) => signers((0..n).collect()),
            // Itself, and signers that do not exist.
            (5, _) => signers(std::iter::once(self.me.0).chain(n..n + quorum as u16 - 1).collect()),
            // All the votes for it that it has heard: too few, or a certificate with one of them twice.
            _ => {
                let mut heard = self.votes_for(kind, view, digest);
                heard.truncate(quorum - 1);
                let certificate = forge::certificate(&heard);
                certificate.map_or_else(|| signers(vec![self.me.0; quorum]), |real| real.signatures)
            }
        };
        Certificate { kind, view, digest, signatures }
    }

    fn votes_for(&self, kind: VoteKind, view: View, digest: Digest) -> Vec<Vote> {
        let mut votes: Vec<Vote> = Vec::new();
        for message in &self.memory {
            if let Message::Vote(vote) = message
                && (vote.kind, vote.view, vote.digest) == (kind, view, digest)
                && votes.iter().all(|earlier| earlier.voter != vote.voter)
            {
                votes.push(vote.clone());
            }
        }
        votes
    }
}
