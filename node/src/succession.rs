//! A chain that lost its quorum for good: what one survivor's folder holds of it, the genesis document of the chain that goes
//! on from there, and the step of a folder from the one to the other.
//!
//! Invariants:
//! - Nothing that is not final becomes part of the ledger before that is closed to the old chain ([`Store::end`]).
//! - The step to the new chain is made in an order in which a crash leaves a folder that no node starts in, until the step
//!   is made again: ledger, voting record, and the genesis document last.
//! - The new chain's voting record begins empty only where nothing was signed for it yet.
//!
//! Left to the operators: that the quorum is lost, that the highest survivor is asked, and that all take one document.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use client::key_file::Role as KeyRole;
use consensus::{Block, Certificate, Context, Record, Remains};
use genesis::{Configuration, Digest, Epoch, Genesis, Predecessor, Validator};
use ledger::{Adoption, CheckedBatch, Store, StoreError, apply};

use crate::executor;
use crate::home::Home;
use crate::journal::{Journal, Owner};
use crate::node::startup::{self, Position};
use crate::wire::decode_checkpoint;

/// What to do with blocks that a quorum prepared and that nobody here knows to be final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// Refuse to go on where there are any.
    Refuse,
    /// The new chain begins after them: what a lost node may have told its clients stays true.
    Include,
    /// They are left out: what they hold may have been final, and is gone.
    LeaveOut,
}

/// One survivor's ledger and voting record. The node must not run.
pub struct Survivor {
    store: Store,
    genesis: Genesis,
    position: Position,
    /// What the voting record holds above the ledger.
    pub remains: Remains,
    has_journal: bool,
}

impl Survivor {
    /// Opens the folder, and brings the ledger up to the newest block that the voting record knows to be final. The voting
    /// records in the folders `others` count too: one survivor may hold a block of which only another has the certificate.
    ///
    /// # Errors
    /// When ledger or voting record cannot be read, a batch of a final block is not there, or a certificate is not valid.
    pub fn open(home: &Home, others: &[PathBuf]) -> anyhow::Result<Self> {
        let genesis = home.genesis()?;
        let folder = home.store();
        if !folder.is_dir() {
            bail!("there is no {}: this node never ran, and has nothing to go on from", folder.display());
        }
        let store = Store::open_ended(&folder, &genesis)?;
        let position = startup::position(&store, &genesis)?;
        let owner = Owner { chain: genesis.chain(), voter: home.public_key(KeyRole::Consensus)? };
        let has_journal = Journal::exists(&home.journal());
        let mut records = if has_journal { Journal::read(&home.journal(), owner)? } else { Vec::new() };
        for folder in others {
            let found =
                Journal::owner(folder).with_context(|| format!("cannot read {}", folder.display()))?;
            let found = found.with_context(|| format!("{} holds no voting record", folder.display()))?;
            let owner = Owner { chain: genesis.chain(), ..found };
            // Each record begins anew to say of which epoch it speaks.
            records.push(Record::Epoch(Epoch::ZERO, None));
            records.extend(Journal::read(folder, owner)?);
        }
        let mut remains = Remains::of(records, position.epoch, &position.start.tip);
        check(&remains, &genesis, &position)?;
        let finished = std::mem::take(&mut remains.finished);
        let survivor = Self { store, genesis, position, remains, has_journal };
        for (block, certificate) in finished {
            survivor.execute(&block, certificate)?;
        }
        Ok(survivor)
    }

    /// The ledger.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The chain's genesis document.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Who signed the certificate of the highest prepared block, by name.
    pub fn signers(&self) -> Vec<String> {
        let validators = &self.position.configuration.validators;
        let signatures = self.remains.certificate.iter().flat_map(|certificate| &certificate.signatures);
        let name = |index| validators.get(index).map(|member| member.name.clone());
        signatures.filter_map(|(index, _)| name(*index)).collect()
    }

    /// The genesis document of the chain that the validators `names` go on with.
    ///
    /// # Errors
    /// When a name is unknown or given twice, the named ones could have gone on with the old chain, or something may be
    /// final that `prepared` does not decide about.
    pub fn succeed(&self, names: &[String], prepared: Prepared) -> anyhow::Result<Genesis> {
        named(&self.store.governance().configuration, names)?;
        self.decide(prepared)?;
        // A block that was prepared may have changed them.
        let configuration = self.store.governance().configuration.clone();
        let validators = named(&configuration, names)?;
        let tip = self.store.tip();
        let predecessor = Predecessor {
            chain: self.genesis.chain(),
            height: tip.height,
            block: tip.digest,
            state_root: self.store.outcome().state_root,
        };
        let network = self.genesis.network().to_owned();
        Ok(Genesis::succeeding(predecessor, network, tip.time, configuration.parameters, validators)?)
    }

    fn decide(&self, prepared: Prepared) -> anyhow::Result<()> {
        let Remains { prepared: blocks, missing, .. } = &self.remains;
        let has_ended = self.store.has_ended()?;
        match prepared {
            Prepared::LeaveOut if has_ended => bail!(
                "the ledger holds prepared blocks already: `genesis succeed --include-prepared` was run here before. To \
                 leave them out, delete data/store and copy that of another survivor"
            ),
            Prepared::LeaveOut => return Ok(()),
            Prepared::Refuse | Prepared::Include => {}
        }
        if let Some(missing) = missing {
            let kind = if missing.is_final { "is final" } else { "may be final" };
            bail!(
                "block {} {kind}, as a certificate in this node's voting record shows, but the block is not here: make \
                 the document on a survivor that has it, with this node's data/journal as --journal. If none has, give it \
                 up with --without-prepared",
                missing.digest
            );
        }
        if !self.has_journal {
            bail!(
                "this node has no voting record, so whether a block above height {} may be final cannot be told: make \
                 the document on another survivor, or give such blocks up with --without-prepared",
                self.store.tip().height
            );
        }
        let Some(last) = blocks.last() else { return Ok(()) };
        if prepared == Prepared::Refuse && !has_ended {
            bail!(
                "a quorum prepared block {} at height {}, above the newest final block, at height {}: a lost validator may \
                 know it to be final. Say --include-prepared to go on from it (nothing that was final is lost), or \
                 --without-prepared to give it up",
                last.digest(),
                last.height,
                self.store.tip().height
            );
        }
        // The batches are looked for first: afterwards there is no way back.
        for block in blocks {
            self.batches(block)?;
        }
        self.store.end()?;
        for block in blocks {
            self.execute(block, None)?;
        }
        Ok(())
    }

    fn execute(&self, block: &Block, certificate: Option<Certificate>) -> anyhow::Result<()> {
        let (batches, closes) = (self.batches(block)?, self.closes(block)?);
        let row = executor::row(block, certificate);
        let changes = apply(&self.store, row.moment(), closes, &batches)?;
        Ok(self.store.commit(&row, &changes)?)
    }

    fn batches(&self, block: &Block) -> anyhow::Result<Vec<Arc<CheckedBatch>>> {
        let batch = |digest: &Digest| {
            let Some(bytes) = self.store.batch(digest)? else {
                bail!(
                    "batch {digest} of block {} at height {} is not here: go on with the survivor that has the highest \
                     block, and copy its data/store here (never its data/journal)",
                    block.digest(),
                    block.height
                );
            };
            Ok(Arc::new(CheckedBatch::decode_already_verified(&bytes, &self.genesis)?))
        };
        block.payload.iter().map(batch).collect()
    }

    /// The hash of the configuration that takes over after `block`, where it closes its epoch (P12).
    fn closes(&self, block: &Block) -> anyhow::Result<Option<Digest>> {
        let (opens, pending) = self.position.opens(&self.genesis);
        if block.cites == opens {
            return Ok(pending);
        }
        let height = block.cites.height;
        let recorded = self.remains.checkpoints.get(&height).cloned();
        let stored = || -> anyhow::Result<_> {
            Ok(self.store.checkpoint(height)?.map(|bytes| decode_checkpoint(&bytes)).transpose()?)
        };
        let certificate = recorded.map_or_else(stored, |found| Ok(Some(found)))?;
        let cited = certificate.filter(|found| found.checkpoint.cited() == block.cites);
        let cited = cited.with_context(|| {
            format!("the checkpoint of height {height}, which block {} cites, is not here", block.digest())
        })?;
        Ok(cited.checkpoint.pending)
    }
}

/// Whether what the records say is proved by the validators' signatures: some of them come from others.
fn check(remains: &Remains, genesis: &Genesis, position: &Position) -> anyhow::Result<()> {
    let validators = position.configuration.validators.clone();
    let context = Context { chain: genesis.chain(), epoch: position.epoch, validators };
    let commits = remains.finished.iter().filter_map(|(_, certificate)| certificate.as_ref());
    for certificate in commits.chain(&remains.certificate).cloned() {
        let digest = certificate.digest;
        let verified = certificate.verify(&context);
        verified
            .with_context(|| format!("the certificate of block {digest} in a voting record is not valid"))?;
    }
    for (height, certificate) in &remains.checkpoints {
        let verified = certificate.clone().verify(&context);
        verified
            .with_context(|| format!("the checkpoint of height {height} in a voting record is not valid"))?;
    }
    Ok(())
}

/// The validators with these names. They must be fewer than what the old chain needs.
fn named(configuration: &Configuration, names: &[String]) -> anyhow::Result<Vec<Validator>> {
    let validators = &configuration.validators;
    let mut found: Vec<Validator> = Vec::new();
    for name in names {
        if found.iter().any(|member| member.name == *name) {
            bail!("validator {name} is named twice");
        }
        let member = validators.iter().map(|(_, member)| member).find(|member| member.name == *name);
        let known =
            || validators.iter().map(|(_, member)| member.name.as_str()).collect::<Vec<_>>().join(", ");
        found.push(
            member.with_context(|| format!("no validator is called {name}: there are {}", known()))?.clone(),
        );
    }
    if found.len() >= validators.quorum() {
        bail!(
            "{} of {} validators are a quorum: the chain is not lost, start their nodes. (Where they cannot vote because \
             they lost their voting records, name fewer of them, and take the others in later with `realdid gov`.)",
            found.len(),
            validators.len()
        );
    }
    Ok(found)
}

/// What became of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Whether the ledger was the new chain's already.
    pub ledger_was_adopted: bool,
    /// Where the old voting record is now.
    pub old_journal: Option<PathBuf>,
    /// Where the old genesis document is now.
    pub old_genesis: Option<PathBuf>,
}

/// Makes `home`, in which no node runs, that of a node of the chain `next`. With `restored`, the folder is a backup of one
/// that ran on that chain already: the key may have signed there.
///
/// # Errors
/// When the folder is of another chain, or its ledger does not stand where the new chain begins; then nothing has changed.
/// When the disk fails: do it again.
pub fn adopt(home: &Home, next: &Genesis, restored: bool) -> anyhow::Result<Adopted> {
    let before = home.genesis()?;
    let is_new = before.chain() == next.chain();
    let Some(predecessor) = next.predecessor() else {
        return Err(StoreError::NoPredecessor { chain: next.chain() }.into());
    };
    if !is_new && before.chain() != predecessor.chain || before.network() != next.network() {
        bail!(
            "{} is of chain {} (network `{}`), but the new document goes on from chain {} (network `{}`): check which \
             document it is, and --home",
            home.path().display(),
            before.chain(),
            before.network(),
            predecessor.chain,
            next.network()
        );
    }
    let folder = home.store();
    if !folder.is_dir() {
        return Err(StoreError::NothingToGoOnFrom { path: folder, predecessor: predecessor.chain }.into());
    }
    let ledger_was_adopted = Store::adopt(&folder, next)? == Adoption::Before;
    let old_journal = put_journal_aside(home, next, is_new, restored)?;
    let old_genesis = if is_new {
        None
    } else {
        let old = home.path().join(format!("genesis-{}.toml", short(&before.chain())));
        write_whole(&old, &before.to_toml())?;
        write_whole(&home.genesis_path(), &next.to_toml())?;
        Some(old)
    };
    Ok(Adopted { ledger_was_adopted, old_journal, old_genesis })
}

/// Moves the old chain's voting record aside, and marks that nothing was signed for the new one.
fn put_journal_aside(
    home: &Home,
    next: &Genesis,
    is_new: bool,
    restored: bool,
) -> anyhow::Result<Option<PathBuf>> {
    let folder = home.journal();
    let owner = if folder.is_dir() { Journal::owner(&folder)? } else { None };
    let chain = owner.map(|owner| owner.chain);
    if chain == Some(next.chain()) || chain.is_none() && is_new {
        return Ok(None);
    }
    // The mark first: while the old record is there, it says nothing.
    if restored {
        if home.first_start().exists() {
            fs::remove_file(home.first_start()).context("cannot remove keys/first-start")?;
        }
    } else {
        home.mark_first_start()?;
    }
    sync_folder(&home.keys())?;
    let Some(chain) = chain else { return Ok(None) };
    let aside = home.data().join(format!("journal-{}", short(&chain)));
    if aside.exists() {
        bail!("{} is there already: move it away, and adopt again", aside.display());
    }
    fs::rename(&folder, &aside).with_context(|| format!("cannot move {} aside", folder.display()))?;
    sync_folder(&home.data())?;
    Ok(Some(aside))
}

fn short(chain: &Digest) -> String {
    chain.to_string().chars().take(8).collect()
}

/// Writes a file so that after a crash it is the old one or the new one, whole.
fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let temporary = path.with_extension("toml.new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    path.parent().map_or(Ok(()), sync_folder)
}

fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot sync {}", folder.display()))
}

#[cfg(test)]
mod tests;
