//! What can go wrong with the disk, and what to do about it.

use std::path::{Path, PathBuf};

use genesis::{Digest, Height};

use crate::HOW_TO_REPLACE;

/// Why the store cannot do what it was asked. Every message says what was being done and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be opened.
    #[error("cannot open the ledger in {}: {problem}. Check that the directory exists, belongs to this user and has space", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        problem: String,
    },
    /// Another process holds the directory.
    #[error("the ledger in {} is in use by another process. Stop the other node, or give this one a directory of its own", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The files are damaged, found while opening.
    #[error("the ledger in {} is damaged: {problem}. {HOW_TO_REPLACE}", path.display())]
    DamagedFiles {
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        problem: String,
    },
    /// The directory holds another chain.
    #[error("the ledger in {} is of chain {found}, but the genesis document is of chain {expected}. Use the genesis document of that chain, or another directory, or `realdid reset` to start over", path.display())]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// The chain in it.
        found: Digest,
        /// The chain of the genesis document.
        expected: Digest,
    },
    /// The directory holds the chain that the genesis document's goes on from.
    #[error("the ledger in {} is of chain {found}, which chain {expected} of the genesis document goes on from. Take the step with `realdid genesis adopt`, which looks whether the ledger stands where the new chain begins", path.display())]
    NotAdopted {
        /// The directory.
        path: PathBuf,
        /// The chain in it.
        found: Digest,
        /// The chain of the genesis document.
        expected: Digest,
    },
    /// A chain that goes on from another, and no ledger to go on from.
    #[error("there is no ledger in {} to go on from: this chain begins with the state of chain {predecessor}, which is not in its own blocks. Stop a node of the network, copy its data/store here (never its data/journal), and start both", path.display())]
    NothingToGoOnFrom {
        /// The directory.
        path: PathBuf,
        /// The chain before.
        predecessor: Digest,
    },
    /// A genesis document that goes on from nothing.
    #[error(
        "the genesis document of chain {chain} names no chain that it goes on from: `realdid genesis succeed` makes one that does"
    )]
    NoPredecessor {
        /// The document's chain.
        chain: Digest,
    },
    /// A genesis document that goes on from a chain that is not here.
    #[error("the ledger in {} is of chain {found}, but the genesis document goes on from chain {expected}. Check which document it is, and --home", path.display())]
    OtherPredecessor {
        /// The directory.
        path: PathBuf,
        /// The chain in it.
        found: Digest,
        /// The chain that the document goes on from.
        expected: Digest,
    },
    /// The ledger does not stand where the new chain begins.
    #[error(
        "the ledger in {} is at {found}, but the new chain goes on from {expected}. Where this ledger is the higher one, make the genesis document here instead. Else copy data/store from the node on which it was made (stop it first; never copy its data/journal), and adopt again", path.display()
    )]
    StandsElsewhere {
        /// The directory.
        path: PathBuf,
        /// Where it stands.
        found: Box<Stand>,
        /// Where the new chain begins.
        expected: Box<Stand>,
    },
    /// The chain was given up.
    #[error("the chain in {} was ended by `realdid genesis succeed`: the ledger may hold blocks that were never final. Go on with `realdid genesis adopt`; or, if the old chain is to go on after all: {HOW_TO_REPLACE}", path.display())]
    Ended {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was written by a build with another layout.
    #[error("the ledger in {} has format {found}, but this build reads format {expected}. Use the build that wrote it. Do not delete it on all nodes: the chain would be gone. Once other nodes have the chain in the format of this build: {HOW_TO_REPLACE}", path.display())]
    OtherFormat {
        /// The directory.
        path: PathBuf,
        /// The format in it.
        found: u32,
        /// The format that this build reads.
        expected: u32,
    },
    /// A read failed.
    #[error("cannot read {family}[{key}] of the ledger in {}: {problem}. Check the disk. Where the files are damaged: {HOW_TO_REPLACE}", path.display())]
    Read {
        /// The column family.
        family: &'static str,
        /// The row's key in hex.
        key: String,
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        problem: String,
    },
    /// A row is not what it must be.
    #[error("the row {family}[{key}] of the ledger in {} is damaged: {problem}. {HOW_TO_REPLACE}", path.display())]
    DamagedRow {
        /// The column family.
        family: &'static str,
        /// The row's key in hex.
        key: String,
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A write failed: whether it reached the disk is unknown until the store is opened again.
    #[error("{doing} failed on the ledger in {}: {problem}. The node must stop; check the disk and its free space, then start it again", path.display())]
    Write {
        /// What was being done.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// What RocksDB said.
        problem: String,
    },
    /// A copy of the ledger could not be made.
    #[error("cannot copy the ledger to {}: {problem}. The directory must not exist, the one it lies in must, with space for the ledger", path.display())]
    Backup {
        /// Where to.
        path: PathBuf,
        /// What RocksDB said.
        problem: String,
    },
    /// A snapshot was taken in to a part only.
    #[error("the ledger in {} was begun from a snapshot that was not taken in to its end. Do that again: it goes on where it ended; or delete the directory", path.display())]
    Restoring {
        /// The directory.
        path: PathBuf,
    },
    /// A ledger where a new one was to be begun.
    #[error("there is a ledger in {}, at height {height}. A snapshot is for a node without one: move the directory away first", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// Its height.
        height: Height,
    },
    /// An earlier write failed.
    #[error(
        "{doing} was refused, as an earlier write to the ledger failed: {problem}. Stop the node, check the disk, and start it \
         again"
    )]
    Halted {
        /// What was being done.
        doing: &'static str,
        /// What the disk said to the earlier one.
        problem: String,
    },
    /// A block that does not come directly after the tip.
    #[error(
        "block {height} with parent {parent} does not extend the ledger's tip, block {tip_height} with digest {tip_digest}. Commit the blocks between first; where the parent differs, the ledger is of another history: {HOW_TO_REPLACE}"
    )]
    NotNext {
        /// The block's height.
        height: Height,
        /// The parent that it names.
        parent: Digest,
        /// The tip's height.
        tip_height: Height,
        /// The tip's digest.
        tip_digest: Digest,
    },
    /// A block names a batch that was not stored.
    #[error(
        "block {height} names batch {digest}, which is not in the ledger. Fetch it from a peer and store it first"
    )]
    NoBatch {
        /// The block's height.
        height: Height,
        /// The batch.
        digest: Digest,
    },
}

/// A place in a chain, and the state there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The height.
    pub height: Height,
    /// The block there.
    pub block: Digest,
    /// The state after it.
    pub state_root: Digest,
}

impl std::fmt::Display for Stand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "height {}, block {}, state {}", self.height, self.block, self.state_root)
    }
}

impl StoreError {
    /// Sorts what RocksDB says when a directory cannot be opened.
    pub(super) fn from_open(path: &Path, source: &rocksdb::Error) -> Self {
        let (path, problem) = (path.to_owned(), source.to_string());
        // RocksDB has no kind of its own for a held lock: the first text is another process, the second this one.
        let locked = problem.contains("While lock file") || problem.contains("lock hold by current process");
        match source.kind() {
            _ if locked => Self::Locked { path },
            rocksdb::ErrorKind::Corruption => Self::DamagedFiles { path, problem },
            _ => Self::Open { path, problem },
        }
    }
}
