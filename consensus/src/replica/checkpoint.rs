//! P6: what executing the final blocks led to, here and at others.

use std::collections::BTreeMap;

use genesis::{Digest, Height, ValidatorIndex};

use super::{Executed, MAX_UNFINAL, Now, Replica};
use crate::bug::{Bug, on};
use crate::checkpoint::{Checkpoint, CheckpointCertificate, CheckpointVote, Cited};
use crate::evidence::Evidence;
use crate::message::{Kind, Message};
use crate::output::{Action, Halt, Recipient, Record};

/// A checkpoint's certificate, with what blocks call it.
#[derive(Clone, Debug)]
struct Certified {
    digest: Digest,
    certificate: CheckpointCertificate,
    /// Whether it stands in the records.
    recorded: bool,
}

/// What is known of the ledger's state after final blocks.
#[derive(Clone, Debug)]
pub(super) struct Results {
    /// What blocks at the very beginning cite: genesis, or what opened this epoch.
    origin: Cited,
    /// What opened this epoch; none in the first.
    opening: Option<CheckpointCertificate>,
    /// What this replica's ledger has, with its digest, from the newest certified height on.
    own: BTreeMap<Height, (Digest, Checkpoint)>,
    /// What was signed, by others and here, above the newest certified height. Bounded by [`Replica::window`].
    votes: BTreeMap<Height, BTreeMap<ValidatorIndex, CheckpointVote>>,
    /// This epoch's certificates, from the one on that the tip cites.
    certified: BTreeMap<Height, Certified>,
    /// The newest certificate, where it is too far ahead to be kept among the others: it says that blocks are missing.
    ahead: Option<CheckpointCertificate>,
    /// Up to which height this replica has signed.
    signed: Height,
}

impl Results {
    /// At the beginning of an epoch.
    pub(super) fn new(origin: Cited, opening: Option<CheckpointCertificate>) -> Self {
        Self {
            origin,
            opening,
            own: BTreeMap::new(),
            votes: BTreeMap::new(),
            certified: BTreeMap::new(),
            ahead: None,
            signed: origin.height,
        }
    }

    /// The newest height with a certificate that is kept.
    pub(super) fn newest_height(&self) -> Height {
        self.certified.last_key_value().map_or(self.origin.height, |(height, _)| *height)
    }

    /// The newest checkpoint that a block may cite.
    pub(super) fn newest(&self) -> Cited {
        let newest = self.certified.last_key_value();
        newest.map_or(self.origin, |(height, certified)| Cited { height: *height, digest: certified.digest })
    }

    /// The certificate at `height`.
    pub(super) fn certificate(&self, height: Height) -> Option<&CheckpointCertificate> {
        let opening = self.opening.as_ref().filter(|opening| opening.checkpoint.height == height);
        self.certified.get(&height).map(|certified| &certified.certificate).or(opening)
    }

    /// A deliberate fault: the own result, taken for certified.
    pub(super) fn unproven(&self, height: Height) -> Option<CheckpointCertificate> {
        let (_, checkpoint) = self.own.get(&height).filter(|_| on(Bug::EpochBeginsUnproven))?;
        Some(CheckpointCertificate { checkpoint: checkpoint.clone(), signatures: Vec::new() })
    }

    /// The newest certificate of all.
    pub(super) fn newest_certificate(&self) -> Option<&CheckpointCertificate> {
        let kept = self.certified.last_key_value().map(|(_, certified)| &certified.certificate);
        self.ahead.as_ref().or(kept).or(self.opening.as_ref())
    }

    /// The hash of the configuration that the validators aim at, as of the checkpoint that a block cites (P12).
    ///
    /// # Errors
    /// Where its certificate is not here.
    pub(super) fn pending(&self, cited: Cited) -> Result<Option<Digest>, Unproven> {
        if on(Bug::PendingOfNewest) {
            return Ok(self.newest_certificate().and_then(|newest| newest.checkpoint.pending));
        }
        if cited == self.origin {
            return Ok(self.opening.as_ref().and_then(|opening| opening.checkpoint.pending));
        }
        match self.certified.get(&cited.height) {
            Some(certified) if certified.digest == cited.digest => {
                Ok(certified.certificate.checkpoint.pending)
            }
            Some(_) => Err(Unproven::Another),
            None if cited.height <= self.origin.height => Err(Unproven::Another),
            None => Err(Unproven::Missing(cited.height)),
        }
    }

    /// Whether a quorum has executed a block above `tip`.
    pub(super) fn is_above(&self, tip: Height) -> bool {
        self.newest_certificate().is_some_and(|newest| newest.checkpoint.height > tip)
    }

    /// What opened this epoch, and the certificates of it: what a journal needs.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &CheckpointCertificate> {
        self.certified.values().map(|certified| &certified.certificate)
    }

    /// What opened this epoch.
    pub(super) fn opening(&self) -> Option<&CheckpointCertificate> {
        self.opening.as_ref()
    }

    /// Nobody cites anything older than the tip does.
    pub(super) fn forget_below(&mut self, cited: Height) {
        self.certified = self.certified.split_off(&cited);
    }

    /// What of all this decides anything, as bytes.
    pub(super) fn fingerprint(&self) -> Vec<u8> {
        let own: Vec<_> = self.own.iter().map(|(height, (digest, _))| (*height, *digest)).collect();
        let certified: Vec<_> =
            self.certified.iter().map(|(height, certified)| (*height, certified.digest)).collect();
        let ahead = self.ahead.as_ref().map(|ahead| ahead.checkpoint.cited());
        // Of votes short of a quorum f+1 decide: they halt a replica whose result is another.
        let votes = self.votes.iter().flat_map(|(height, votes)| {
            votes.iter().map(|(voter, vote)| (*height, *voter, vote.checkpoint.digest()))
        });
        let votes: Vec<_> = votes.collect();
        genesis::encoding::encode(&(self.origin, own, votes, certified, ahead, self.signed))
    }

    /// For how many heights own results, and others' votes, are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.own.len() + self.votes.len()
    }

    /// Takes in a certificate from the records.
    pub(super) fn restore(&mut self, certificate: CheckpointCertificate) {
        let (height, digest) = (certificate.checkpoint.height, certificate.checkpoint.digest());
        if height > self.origin.height {
            self.certified.insert(height, Certified { digest, certificate, recorded: true });
        }
    }
}

/// Why nothing can be said of a cited checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// The certificate of this height is not here.
    Missing(Height),
    /// Another checkpoint was certified at its height.
    Another,
}

impl Replica {
    /// How far above its tip a replica counts checkpoints.
    fn window(&self) -> u64 {
        self.parameters.max_checkpoint_lag + MAX_UNFINAL as u64
    }

    /// The ledger executed a block.
    pub(super) fn executed(&mut self, executed: Executed) {
        let Executed { checkpoint, next } = executed;
        if checkpoint.epoch != self.context.epoch {
            return;
        }
        let height = checkpoint.height;
        if let Some(closed) = self.closed.as_mut().filter(|closed| closed.height == height) {
            closed.next = next;
        }
        self.results.own.insert(height, (checkpoint.digest(), checkpoint));
        self.forget_old_results();
        self.stirred = true;
        self.compare(height);
    }

    /// P6: signs what the ledger has. What is certified already is signed once all the same where it is the newest: that
    /// is what shows the others that this replica knows the block final (P8).
    pub(super) fn sign_results(&mut self, now: Now) {
        let Some(me) = self.me.filter(|_| self.is_voting()) else { return };
        let from = self.results.signed.next().max(self.results.newest_height());
        let unsigned: Vec<_> =
            self.results.own.range(from..).map(|(_, (_, checkpoint))| checkpoint.clone()).collect();
        for checkpoint in unsigned {
            self.results.signed = checkpoint.height;
            let vote = self.context.checkpoint_vote((me, &self.secret), checkpoint);
            self.output.send(Recipient::All, Message::Checkpoint(vote.clone()));
            if vote.checkpoint.height > self.results.newest_height() {
                self.count_checkpoint(now, vote);
            }
        }
    }

    /// The newest own checkpoint, as long as none from there on is certified: it is sent again (P8).
    pub(super) fn uncertified_checkpoint(&self) -> Option<&CheckpointVote> {
        let me = self.me?;
        self.results.votes.values().rev().find_map(|votes| votes.get(&me))
    }

    /// One that comes late is usual; one that comes again says that its sender lacks the certificate.
    pub(super) fn receive_checkpoint(&mut self, now: Now, vote: CheckpointVote) {
        let height = vote.checkpoint.height;
        let newest = self.results.newest_height();
        let again = self.peers.get(&vote.voter).is_some_and(|peer| height <= peer.executed);
        self.executed_by(now, vote.voter, height);
        if height <= newest {
            self.accuse_by_certificate(&vote);
            if again {
                self.answer_finality(now, vote.voter);
            }
        } else if height <= self.tip.height.plus(self.window()) {
            self.count_checkpoint(now, vote);
        }
    }

    fn count_checkpoint(&mut self, now: Now, vote: CheckpointVote) {
        let (height, voter) = (vote.checkpoint.height, vote.voter);
        self.forget_old_results();
        let votes = self.results.votes.entry(height).or_default();
        if let Some(first) = votes.get(&voter) {
            let (first, second) = (first.statement(), vote.statement());
            if first.contradicts(&second) {
                self.accuse(voter, first, second);
            }
            return;
        }
        let checkpoint = vote.checkpoint.clone();
        votes.insert(voter, vote);
        let same = votes.values().filter(|vote| vote.checkpoint == checkpoint);
        let signatures: Vec<_> = same.map(|vote| (vote.voter, vote.signature)).collect();
        let missing = usize::from(on(Bug::CheckpointOneTooFew));
        if signatures.len() + missing >= self.context.quorum() {
            self.certify_checkpoint(now, CheckpointCertificate { checkpoint, signatures });
        } else {
            self.compare(height);
        }
    }

    /// Takes in a certificate that was checked, or counted here. Says whether it was news.
    pub(super) fn certify_checkpoint(&mut self, now: Now, certificate: CheckpointCertificate) -> bool {
        let height = certificate.checkpoint.height;
        let known = self.results.certified.contains_key(&height);
        if known || height <= self.results.origin.height || height < self.tip.cites.height {
            return false;
        }
        if height > self.tip.height.plus(2 * self.window()) {
            let ahead = self.results.ahead.as_ref().map(|ahead| ahead.checkpoint.height);
            let news = ahead.is_none_or(|ahead| height > ahead);
            if news {
                self.output.act(Action::Certified(certificate.clone()));
                self.results.ahead = Some(certificate);
            }
            return news;
        }
        self.output.act(Action::Certified(certificate.clone()));
        for (signer, signature) in &certificate.signatures {
            let vote = CheckpointVote {
                checkpoint: certificate.checkpoint.clone(),
                voter: *signer,
                signature: *signature,
            };
            self.accuse_by_vote(&vote);
            self.executed_by(now, *signer, height);
        }
        self.asked_checkpoint = self.asked_checkpoint.filter(|asked| *asked != height);
        let digest = certificate.checkpoint.digest();
        self.results.certified.insert(height, Certified { digest, certificate, recorded: false });
        self.record_opening();
        self.compare(height);
        let newest = self.results.newest_height();
        self.results.votes = self.results.votes.split_off(&newest.next());
        self.results.own = self.results.own.split_off(&newest);
        if self.results.ahead.as_ref().is_some_and(|ahead| ahead.checkpoint.height <= newest) {
            self.results.ahead = None;
        }
        self.stirred = true;
        true
    }

    /// While no checkpoint gets its certificate, empty blocks may still become final for long: the certificate of a newer
    /// one does as well, so that the oldest results need not be kept.
    fn forget_old_results(&mut self) {
        let oldest = Height(self.tip.height.0.saturating_sub(2 * self.window()));
        self.results.votes = self.results.votes.split_off(&oldest);
        self.results.own = self.results.own.split_off(&oldest);
    }

    /// Keeps a certificate that came with the final block that cites it.
    pub(super) fn hold_cited(&mut self, certificate: CheckpointCertificate) {
        let (height, digest) = (certificate.checkpoint.height, certificate.checkpoint.digest());
        if height > self.results.origin.height {
            self.output.act(Action::Certified(certificate.clone()));
            self.results.certified.insert(height, Certified { digest, certificate, recorded: false });
            self.compare(height);
        }
    }

    /// P6: a replica whose result is not that of the others signs nothing more.
    fn compare(&mut self, height: Height) {
        if on(Bug::ResultNotCompared) {
            return;
        }
        let Some((digest, mine)) = self.results.own.get(&height) else { return };
        if let Some(certified) = self.results.certified.get(&height)
            && certified.digest != *digest
        {
            let theirs = certified.certificate.checkpoint.clone();
            let signers = certified.certificate.signatures.len();
            return self.halt_over(mine.clone(), theirs, signers);
        }
        let votes = self.results.votes.get(&height);
        let others = votes.into_iter().flatten().map(|(_, vote)| &vote.checkpoint);
        let others: Vec<_> = others.filter(|other| other.block == mine.block && *other != mine).collect();
        // f+1 signers: one of them at least is honest.
        if others.len() > self.context.validators.faulty() {
            let agree = |one: &Checkpoint| others.iter().filter(|other| **other == one).count();
            let most = others.iter().map(|other| (agree(other), *other)).max_by_key(|(signers, _)| *signers);
            if let Some((signers, theirs)) = most {
                self.halt_over(mine.clone(), theirs.clone(), signers);
            }
        }
    }

    fn halt_over(&mut self, mine: Checkpoint, theirs: Checkpoint, signers: usize) {
        let same = mine.block == theirs.block;
        let (mine, theirs) = (Box::new(mine), Box::new(theirs));
        self.halt(if same {
            Halt::Diverged { mine, theirs, signers }
        } else {
            Halt::OtherBlock { mine, theirs, signers }
        });
    }

    /// Records the checkpoint that a block rests on which is proposed or prepared here (P7).
    pub(super) fn record_cited(&mut self, cited: Cited) {
        let certified = self.results.certified.get_mut(&cited.height);
        if let Some(certified) = certified.filter(|certified| !certified.recorded) {
            certified.recorded = true;
            self.output.record(Record::Checkpoint(certified.certificate.clone()));
        }
    }

    /// Records what opens the next epoch, once it and the block that closes this one are here: the ledger takes both, and
    /// may have begun the next epoch when the process dies (P7).
    pub(super) fn record_opening(&mut self) {
        let closing = self.closed.as_ref().map(|closed| closed.height);
        let opening = closing.and_then(|height| self.results.certified.get_mut(&height));
        if let Some(certified) =
            opening.filter(|certified| !certified.recorded && !on(Bug::OpeningNotRecorded))
        {
            certified.recorded = true;
            self.output.record(Record::Checkpoint(certified.certificate.clone()));
        }
    }

    /// Records the newest certificate: it is acted on (P7).
    pub(super) fn record_newest(&mut self) {
        if let Some(newest) = self.results.newest_certificate().cloned() {
            self.output.record(Record::Checkpoint(newest));
        }
    }

    /// A late checkpoint may contradict what its voter signed in a certificate.
    fn accuse_by_certificate(&mut self, vote: &CheckpointVote) {
        let Some(certified) = self.results.certified.get(&vote.checkpoint.height) else { return };
        let signatures = &certified.certificate.signatures;
        let Some((_, signature)) = signatures.iter().find(|(voter, _)| *voter == vote.voter) else { return };
        let checkpoint = certified.certificate.checkpoint.clone();
        let first = CheckpointVote { checkpoint, voter: vote.voter, signature: *signature }.statement();
        if first.contradicts(&vote.statement()) {
            self.accuse(vote.voter, first, vote.statement());
        }
    }

    /// A signature in a certificate may contradict what its voter said alone.
    fn accuse_by_vote(&mut self, vote: &CheckpointVote) {
        let votes = self.results.votes.get(&vote.checkpoint.height);
        let Some(first) = votes.and_then(|votes| votes.get(&vote.voter)) else { return };
        let (first, second) = (first.statement(), vote.statement());
        if first.contradicts(&second) {
            self.accuse(vote.voter, first, second);
        }
    }

    /// P13: brings up that `voter` contradicted itself, unless that was done.
    pub(super) fn accuse(
        &mut self,
        voter: ValidatorIndex,
        first: crate::evidence::Statement,
        second: crate::evidence::Statement,
    ) {
        let Some(validator) = self.context.key(voter) else { return };
        let kind: Kind = first.kind.min(second.kind);
        if self.watch.is_news(voter, kind, first.view) && !on(Bug::NobodyAccused) {
            let epoch = self.context.epoch;
            self.output.act(Action::Accuse(Evidence { epoch, validator, first, second }));
        }
    }
}
