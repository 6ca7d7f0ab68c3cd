//! Ledgers that are filled without a network: blocks of 1,000 new DIDs, one after another, as fast as the disk takes them.
//!
//! Invariant: what comes of it is a chain like any other. Every transaction is signed, every block and every checkpoint has the
//! certificate of a quorum, and each block cites the checkpoint of the one before it: nodes take the ledger up as theirs, and
//! `realdid chain verify` finds nothing wrong with it. Nobody checks the signatures while it is filled: that is the batches' affair.
//!
//! All DIDs have one key. The ledger itself says how far it is: filling goes on wherever it was cut short.
//!
//! Left to others: which network it is, and what is measured on it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::wallet::{Terms, registration};
use consensus::message::VoteKind;
use consensus::{Candidate, Checkpoint, CheckpointCertificate, Cited, Context, Parent};
use genesis::{
    Configuration, Digest, Epoch, Genesis, Height, PublicKey, SecretKey, UnixMillis, ValidatorIndex, View,
};
use ledger::tree::{Change, Update};
use ledger::{
    Batch, CheckedBatch, DidId, Governance, Outcome, Record, RegistryEntry, RegistryKey, StateView, Store,
    StoreError, apply,
};
use node::executor;
use node::wire::{Proof, decode_checkpoint, encode_checkpoint};

use crate::simulation::forge;

/// How many new DIDs a block has.
pub const BLOCK: usize = 1_000;

/// Fills ledgers of one network.
#[derive(Debug)]
pub struct Filler {
    genesis: Genesis,
    context: Context,
    /// A quorum's consensus keys.
    quorum: Vec<(ValidatorIndex, SecretKey)>,
    /// In whose name batches are made.
    author: PublicKey,
    /// Of all DIDs.
    key: SecretKey,
}

/// What blocks cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Their execution, the state tree included.
    pub apply: Duration,
    /// The state tree alone.
    pub tree: Duration,
    /// Their write.
    pub commit: Duration,
    /// What the process handed to the disk, batches and compaction included.
    pub written_bytes: u64,
}

impl Filler {
    /// Fills ledgers of the network of `genesis`, whose validators have these consensus keys, in their order.
    ///
    /// # Panics
    /// When there are fewer keys than a quorum has.
    pub fn new(genesis: Genesis, secrets: Vec<SecretKey>) -> Self {
        let validators = genesis.validators().clone();
        let quorum: Vec<_> = (0..).map(ValidatorIndex).zip(secrets).take(validators.quorum()).collect();
        assert_eq!(quorum.len(), validators.quorum(), "a quorum signs");
        let author = validators.get(ValidatorIndex(0)).expect("a network has validators").network_key;
        let context = Context { chain: genesis.chain(), epoch: Epoch::ZERO, validators };
        Self { genesis, context, quorum, author, key: SecretKey::from_seed([4; 32]) }
    }

    /// The network's founding document.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Opens the ledger at `path`, or makes one.
    ///
    /// # Errors
    /// When it is another chain's, of another format, or damaged.
    pub fn open(&self, path: &Path) -> Result<Store, StoreError> {
        Store::open(path, &self.genesis)
    }

    /// The next block's registrations, signed on two cores.
    fn batch(&self, height: Height) -> (CheckedBatch, Vec<u8>) {
        let network = self.genesis.network().to_owned();
        let terms = Terms { network, chain: self.genesis.chain(), expires_at: height.plus(1_000) };
        let sign = |count: usize| -> Vec<_> { (0..count).map(|_| registration(&terms, &self.key)).collect() };
        let signed = std::thread::scope(|scope| {
            let half = scope.spawn(|| sign(BLOCK / 2));
            let mut signed = sign(BLOCK - BLOCK / 2);
            signed.extend(half.join().expect("signing does not fail"));
            signed
        });
        let transactions = signed.into_iter().map(|(_, transaction)| transaction).collect();
        let batch = Batch { author: self.author, sequence: height.0, expires_at: height, transactions };
        let bytes = batch.encode();
        let checked = CheckedBatch::decode_already_verified(&bytes, &self.genesis);
        (checked.expect("the batch is sound"), bytes)
    }

    /// Adds a block of [`BLOCK`] new DIDs, and says what that cost.
    ///
    /// # Panics
    /// When the disk fails.
    pub fn block(&self, store: &Store) -> Cost {
        self.certify_tip(store);
        let tip = store.tip();
        let height = tip.height.next();
        let (batch, bytes) = self.batch(height);
        let written = written_bytes();
        let digest = batch.digest();
        store.put_batches(&[(digest, height, &bytes)]).expect("the disk works");
        let block = consensus::Block::new(Candidate {
            epoch: Epoch::ZERO,
            // Every view decides.
            view: View(height.0),
            height,
            parent: Parent { view: View(tip.height.0), digest: tip.digest },
            // A block takes longer than that to fill in, so no time is ahead of the clock.
            time: UnixMillis(tip.time.0 + 1),
            cites: self.cites(store, tip.height),
            nonces: Vec::new(),
            payload: vec![digest],
        });
        let vote = |(index, secret): &(ValidatorIndex, SecretKey)| {
            forge::vote(&self.context, (*index, secret), VoteKind::Commit, block.view, block.digest())
        };
        let votes: Vec<_> = self.quorum.iter().map(vote).collect();
        let row = executor::row(&block, forge::certificate(&votes));
        let timed = Timed { store, tree_ns: AtomicU64::new(0) };
        let start = Instant::now();
        let changes = apply(&timed, row.moment(), None, &[Arc::new(batch)]).expect("the block applies");
        let apply = start.elapsed();
        assert_eq!(changes.records.len(), BLOCK, "every registration is applied");
        let tree = Duration::from_nanos(timed.tree_ns.into_inner());
        let start = Instant::now();
        store.commit(&row, &changes).expect("the block is committed");
        let commit = start.elapsed();
        self.certify_tip(store);
        Cost { apply, tree, commit, written_bytes: written_bytes() - written }
    }

    /// What a block after the one at `height` cites: that one's checkpoint.
    fn cites(&self, store: &Store, height: Height) -> Cited {
        if height == self.genesis.height() {
            return Cited::genesis(&self.genesis);
        }
        let bytes = store.checkpoint(height).expect("the disk works").expect("every block has a checkpoint");
        decode_checkpoint(&bytes).expect("it is sound").checkpoint.cited()
    }

    /// Signs what the newest block led to, unless that was done: filling may have been cut short between the two.
    fn certify_tip(&self, store: &Store) {
        let height = store.tip().height;
        let is_certified = || store.checkpoint(height).expect("the disk works").is_some();
        if height == self.genesis.height() || is_certified() {
            return;
        }
        let block = store.block(height).expect("the disk works").expect("the tip is there");
        let proof = Proof::decode(&block.proof).expect("it is sound");
        let certificate = self.certify(executor::checkpoint(&proof.candidate, &store.outcome()));
        store.put_checkpoint(height, &encode_checkpoint(&certificate)).expect("the disk works");
    }

    fn certify(&self, checkpoint: Checkpoint) -> CheckpointCertificate {
        let vote = |(index, secret): &(ValidatorIndex, SecretKey)| {
            let vote = forge::checkpoint(&self.context, (*index, secret), checkpoint.clone());
            (vote.voter, vote.signature)
        };
        let signatures = self.quorum.iter().map(vote).collect();
        CheckpointCertificate { checkpoint, signatures }
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.apply += more.apply;
        self.tree += more.tree;
        self.commit += more.commit;
        self.written_bytes += more.written_bytes;
    }
}

/// What this process handed to the disk so far.
fn written_bytes() -> u64 {
    crate::harness::written_bytes(std::process::id()).expect("Linux tells a process what it wrote")
}

/// A store that tells how long its tree took.
struct Timed<'a> {
    store: &'a Store,
    tree_ns: AtomicU64,
}

impl StateView for Timed<'_> {
    type Error = StoreError;

    fn record(&self, did: &DidId) -> Result<Option<Record>, StoreError> {
        self.store.record(did)
    }

    fn has_receipt(&self, id: &Digest) -> Result<bool, StoreError> {
        self.store.has_receipt(id)
    }

    fn records(&self, dids: &[DidId]) -> Result<Vec<Option<Record>>, StoreError> {
        StateView::records(self.store, dids)
    }

    fn have_receipts(&self, ids: &[Digest]) -> Result<Vec<bool>, StoreError> {
        self.store.have_receipts(ids)
    }

    fn governance(&self) -> Result<Arc<Governance>, StoreError> {
        Ok(self.store.governance())
    }

    fn configuration(&self, digest: &Digest) -> Result<Option<Configuration>, StoreError> {
        self.store.configuration(digest)
    }

    fn registry(&self, key: &RegistryKey) -> Result<Option<RegistryEntry>, StoreError> {
        self.store.registry(key)
    }

    fn outcome(&self) -> Result<Outcome, StoreError> {
        Ok(self.store.outcome())
    }

    fn update_tree(&self, changes: &[Change]) -> Result<Update, StoreError> {
        let start = Instant::now();
        let update = self.store.update_tree(changes);
        self.tree_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        update
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::founding::{Founding, secret};
    use consensus::Certificate;
    use genesis::Parameters;
    use node::wire::Proof;

    #[test]
    fn what_is_filled_in_is_certified_by_a_quorum_and_goes_on_where_it_was_cut_short() {
        let founding = Founding::new(4, Parameters::default());
        let secrets = (0..4).map(|index| secret(ValidatorIndex(index))).collect();
        let filler = Filler::new(founding.genesis.clone(), secrets);
        let folder = tempfile::tempdir().unwrap();
        let store = filler.open(folder.path()).unwrap();
        filler.block(&store);
        drop(store);
        let store = filler.open(folder.path()).unwrap();
        filler.block(&store);
        assert_eq!(store.tip().height, Height(2));
        assert_eq!(store.statistics().unwrap().counts.dids, 2 * BLOCK as u64);
        let row = store.block(Height(2)).unwrap().unwrap();
        let Proof { candidate, commit } = Proof::decode(&row.proof).unwrap();
        let commit: Certificate = commit.expect("a certificate");
        assert_eq!(commit.digest, candidate.digest());
        commit.verify(&founding.context).unwrap();
        let certified =
            |height| decode_checkpoint(&store.checkpoint(Height(height)).unwrap().unwrap()).unwrap();
        assert_eq!(candidate.cites, certified(1).checkpoint.cited());
        let checkpoint = certified(2).verify(&founding.context).unwrap();
        assert_eq!(checkpoint.checkpoint.state_root, store.outcome().state_root);
    }
}
