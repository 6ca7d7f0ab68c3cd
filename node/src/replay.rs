//! A chain executed again, from blocks that prove themselves: out of a file, or out of a store.
//!
//! - [`stream`]: a chain as bytes · [`from_store`]: its blocks out of a store
//! - [`audit`]: what a store holds, held against itself
//!
//! Nothing is believed but the genesis document. That a range is final is decided where answers of peers are
//! ([`crate::sync`]): by certificates of the validators whom the ledger has in charge, after all blocks before. Which block closes
//! its epoch follows from the checkpoint that it cites (P12).
//!
//! Invariants:
//! - A block is committed only when a certificate covers it, every signature of its transactions was checked, and what it led to is
//!   what each checkpoint says of it that came along.
//! - Whatever is wrong, and whenever it ends, the ledger stands at a block that was committed so, and can go on from there: what
//!   opened its epoch is in it.
//! - At most one range is held in memory, and the batches of one block, or of several where they are small ([`BYTES_A_WRITE`]).

pub mod audit;
mod error;
pub mod from_store;
pub mod stream;

use std::sync::Arc;

use consensus::{Block, Candidate, Certificate, Checkpoint, CheckpointCertificate, Context, Finality};
use genesis::{Digest, Epoch, Genesis, Height};
use ledger::{CheckedBatch, Outcome, Store, apply};

pub use self::error::ReplayError;
use crate::executor;
use crate::membership::Members;
use crate::node::startup::{self, Position};
use crate::sync::check::{Blocks, check_range};
use crate::sync::serve::AnswerError;
use crate::wire::{Proof, Range, encode_checkpoint};

/// How many bytes of batches go into one write: those of several blocks, as each write waits for the disk.
const BYTES_A_WRITE: usize = 8 << 20;

/// Where blocks come from.
pub trait Source {
    /// The next blocks with what proves them; none at the end.
    ///
    /// # Errors
    /// When they cannot be read.
    fn range(&mut self) -> Result<Option<Range>, ReplayError>;

    /// The next batch that these blocks name: this one, of the block at `height`. Nobody has checked it.
    ///
    /// # Errors
    /// When it cannot be read, or is not there.
    fn batch(&mut self, height: Height, digest: &Digest) -> Result<Vec<u8>, ReplayError>;
}

/// A ledger that takes in proven blocks.
pub struct Replay<'a> {
    store: &'a Store,
    genesis: &'a Genesis,
    position: Position,
    members: Members,
    /// The height of the next block of the source.
    next: Height,
    certified: Option<Height>,
}

/// What proves a range and its outcomes, checked.
struct Proven {
    candidates: Vec<Candidate>,
    /// Of the last of them.
    commit: Option<Certificate>,
    closes: Option<Digest>,
    checkpoints: Vec<CheckpointCertificate>,
}

impl<'a> Replay<'a> {
    /// Goes on from where the ledger is, with blocks from height `first` on. Those that it has are compared.
    ///
    /// # Errors
    /// When the ledger cannot be read, or blocks are missing between it and the first.
    pub fn new(store: &'a Store, genesis: &'a Genesis, first: Height) -> Result<Self, ReplayError> {
        let tip = store.tip().height;
        if first > tip.next() {
            return Err(ReplayError::Gap { first, tip });
        }
        let position = startup::position(store, genesis).map_err(ReplayError::Position)?;
        let members = members(genesis, &position);
        Ok(Self { store, genesis, position, members, next: first, certified: None })
    }

    /// The highest block whose outcome is what a checkpoint of those that came says.
    pub const fn certified(&self) -> Option<Height> {
        self.certified
    }

    /// Takes in all blocks of `source`. Each is shown to `watch` with its outcome before it is committed.
    ///
    /// # Errors
    /// Names the first height that is not taken, and why. What came before is in the ledger.
    pub fn run(
        &mut self,
        source: &mut impl Source,
        watch: &mut impl FnMut(Height, &Outcome) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        while let Some(range) = source.range()? {
            self.take(range, source, watch)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        range: Range,
        source: &mut impl Source,
        watch: &mut impl FnMut(Height, &Outcome) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let (from, tip) = (self.next, self.store.tip().height);
        let Some(last) = range.candidates.last() else { return Err(ReplayError::Empty { from }) };
        if range.first != from {
            return Err(ReplayError::OtherFirst { from, found: range.first });
        }
        let (end, epoch) = (last.height, last.epoch);
        // What comes with the tip may be what closed its epoch.
        let is_past = end < tip || end == tip && epoch < self.members.context.epoch;
        if is_past {
            self.pass_over(range.candidates, source)?;
            self.next = end.next();
            return Ok(());
        }
        let Proven { candidates, commit, closes, checkpoints } = self.prove(range, epoch)?;
        let known = candidates.iter().take_while(|block| block.height <= tip).count();
        let mut candidates = candidates;
        let new = candidates.split_off(known);
        self.pass_over(candidates, source)?;
        for signed in &checkpoints {
            self.compare_stored(from, end, signed)?;
        }
        let mut proven = Proven { candidates: Vec::new(), commit, closes, checkpoints };
        let mut new = new.into_iter().peekable();
        while new.peek().is_some() {
            let (group, failed) = self.gather(&mut new, source)?;
            for (candidate, batches) in group {
                let is_last = candidate.height == end;
                self.execute(candidate, &batches, is_last, &mut proven, watch)?;
            }
            failed.map_or(Ok(()), Err)?;
        }
        self.position = startup::position(self.store, self.genesis).map_err(ReplayError::Position)?;
        self.members = members(self.genesis, &self.position);
        self.next = end.next();
        Ok(())
    }

    /// Checks the certificates of a range, by this epoch's validators. All that came must be of use: what is damaged is
    /// refused, and not passed over.
    fn prove(&self, range: Range, epoch: Epoch) -> Result<Proven, ReplayError> {
        let from = self.next;
        let given = [range.cited.as_ref(), range.checkpoint.as_ref()].into_iter().flatten();
        let given: Vec<Height> = given.map(|certificate| certificate.checkpoint.height).collect();
        let checked = check_range(range, 0, from, &self.members);
        let checked = checked.map_err(|problem| ReplayError::Unproven { from, problem })?;
        let Some(piece) = checked.blocks else {
            return Err(ReplayError::OtherEpoch { from, found: epoch, here: self.members.context.epoch });
        };
        let Blocks { candidates, finality, cited } = piece.content;
        let taken = [&cited, &checked.checkpoint].into_iter().flatten().count();
        if let Some(height) = given.first().filter(|_| taken < given.len()) {
            return Err(ReplayError::Stray { from, height: *height });
        }
        let Some(cites) = candidates.last().map(|last| last.cites) else {
            return Err(ReplayError::Empty { from });
        };
        let (opens, pending) = self.position.opens(self.genesis);
        let closes = match &cited {
            Some(cited) => cited.checkpoint.pending,
            None if cites == opens => pending,
            None => return Err(ReplayError::Stray { from, height: cites.height }),
        };
        let mut checkpoints: Vec<_> =
            [cited, checked.checkpoint].into_iter().flatten().map(consensus::Verified::into_inner).collect();
        let commit = match finality.into_inner() {
            Finality::Commit(certificate) => Some(certificate),
            Finality::Checkpoint(certificate) => {
                checkpoints.push(certificate);
                None
            }
        };
        Ok(Proven { candidates, commit, closes, checkpoints })
    }

    /// Compares blocks with those that the ledger has.
    fn pass_over(&mut self, candidates: Vec<Candidate>, source: &mut impl Source) -> Result<(), ReplayError> {
        for (height, candidate) in (self.next.0..).map(Height).zip(candidates) {
            let there = candidate.digest();
            let Some(here) = self.store.block(height)?.map(|block| block.digest) else {
                return Err(ReplayError::NotKept {
                    from: height,
                    first: from_store::first_height(self.store),
                });
            };
            if here != there {
                return Err(ReplayError::Fork { height, here, there });
            }
            for digest in &candidate.payload {
                named(height, digest, &source.batch(height, digest)?)?;
            }
        }
        Ok(())
    }

    /// Compares a checkpoint of a block that the ledger has, and keeps it.
    fn compare_stored(
        &mut self,
        from: Height,
        end: Height,
        signed: &CheckpointCertificate,
    ) -> Result<(), ReplayError> {
        let height = signed.checkpoint.height;
        if height > end {
            return Err(ReplayError::Stray { from, height });
        }
        if height > self.store.tip().height {
            return Ok(()); // Compared when its block is executed.
        }
        let (Some(block), Some(outcome)) = (self.store.block(height)?, self.store.outcome_of(height)?) else {
            return Ok(());
        };
        let proof = Proof::decode(&block.proof).map_err(AnswerError::Encoding)?;
        compare(executor::checkpoint(&proof.candidate, &outcome), signed)?;
        self.keep(signed)
    }

    fn keep(&mut self, signed: &CheckpointCertificate) -> Result<(), ReplayError> {
        let height = signed.checkpoint.height;
        self.store.put_checkpoint(height, &encode_checkpoint(signed))?;
        self.certified = self.certified.max(Some(height));
        Ok(())
    }

    fn execute(
        &mut self,
        candidate: Candidate,
        batches: &[Arc<CheckedBatch>],
        is_last: bool,
        proven: &mut Proven,
        watch: &mut impl FnMut(Height, &Outcome) -> Result<(), ReplayError>,
    ) -> Result<(), ReplayError> {
        let height = candidate.height;
        let (commit, closes) = if is_last { (proven.commit.take(), proven.closes) } else { (None, None) };
        let block = Block::new(candidate);
        let row = executor::row(&block, commit);
        let changes = apply(self.store, row.moment(), closes, batches)?;
        let of_it = proven.checkpoints.iter().filter(|signed| signed.checkpoint.height == height);
        for signed in of_it.clone() {
            compare(executor::checkpoint(&block, &changes.outcome), signed)?;
        }
        watch(height, &changes.outcome)?;
        self.store.commit(&row, &changes)?;
        for signed in of_it {
            self.keep(signed)?;
        }
        Ok(())
    }

    /// The next few blocks with their batches, which are durable then; and what is wrong with the block after them.
    fn gather(
        &self,
        blocks: &mut impl Iterator<Item = Candidate>,
        source: &mut impl Source,
    ) -> Result<(Vec<Gathered>, Option<ReplayError>), ReplayError> {
        let (mut group, mut waiting, mut failed) = (Vec::new(), Waiting::default(), None);
        while waiting.total < BYTES_A_WRITE
            && let Some(candidate) = blocks.next()
        {
            match self.batches(&candidate, source, &mut waiting) {
                Ok(batches) => group.push((candidate, batches)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        waiting.store(self.store)?;
        Ok((group, failed))
    }

    /// The batches of a block, every signature checked.
    fn batches(
        &self,
        candidate: &Candidate,
        source: &mut impl Source,
        waiting: &mut Waiting,
    ) -> Result<Vec<Arc<CheckedBatch>>, ReplayError> {
        let height = candidate.height;
        let mut batches = Vec::with_capacity(candidate.payload.len());
        for digest in &candidate.payload {
            if waiting.bytes >= BYTES_A_WRITE {
                waiting.store(self.store)?;
            }
            let bytes = source.batch(height, digest)?;
            named(height, digest, &bytes)?;
            let batch = CheckedBatch::decode_and_check(&bytes, self.genesis);
            let batch = batch.map_err(|problem| ReplayError::Batch { height, digest: *digest, problem })?;
            waiting.bytes += bytes.len();
            waiting.total += bytes.len();
            waiting.rows.push((*digest, batch.expires_at(), bytes));
            batches.push(Arc::new(batch));
        }
        Ok(batches)
    }
}

/// A block with its batches.
type Gathered = (Candidate, Vec<Arc<CheckedBatch>>);

/// Batches that are checked and not stored yet.
#[derive(Default)]
struct Waiting {
    rows: Vec<(Digest, Height, Vec<u8>)>,
    /// The bytes of these.
    bytes: usize,
    /// With those that were stored.
    total: usize,
}

impl Waiting {
    fn store(&mut self, store: &Store) -> Result<(), ReplayError> {
        let rows: Vec<_> =
            self.rows.iter().map(|(digest, expires, bytes)| (*digest, *expires, &bytes[..])).collect();
        store.put_batches(&rows)?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

fn members(genesis: &Genesis, position: &Position) -> Members {
    let validators = position.configuration.validators.clone();
    let context = Context { chain: genesis.chain(), epoch: position.epoch, validators };
    Members { context, began: position.began, me: None }
}

/// Whether these are the bytes of the batch that a block names.
fn named(height: Height, expected: &Digest, bytes: &[u8]) -> Result<(), ReplayError> {
    let (expected, found) = (*expected, CheckedBatch::digest_of(bytes));
    if found == expected { Ok(()) } else { Err(ReplayError::OtherBatch { height, expected, found }) }
}

/// Whether a block led to what the validators signed.
fn compare(here: Checkpoint, signed: &CheckpointCertificate) -> Result<(), ReplayError> {
    if here == signed.checkpoint {
        return Ok(());
    }
    let (signers, signed) = (signed.signatures.len(), Box::new(signed.checkpoint.clone()));
    Err(ReplayError::OtherOutcome { here: Box::new(here), signed, signers })
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
