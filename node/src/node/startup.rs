//! Everything that a node is made of, from what is on its disk, checked before anything is started.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use client::key_file::Role as KeyRole;
use consensus::{CheckpointCertificate, Cited, Executed, Memory, Output, Record, Replica, Start, Tip};
use genesis::{Configuration, Digest, Epoch, Genesis, Height, PublicKey, SecretKey};
use ledger::{CheckedBatch, HOW_TO_REPLACE, Store};
use p2p::Limits;

use super::Common;
use crate::availability::{Availability, Held};
use crate::config::Config;
use crate::driver::{Driver, Snapshot};
use crate::executor;
use crate::home::Home;
use crate::journal::{Journal, JournalError, Owner};
use crate::membership::{Membership, Others};
use crate::opaque::Contents;
use crate::quota::Account;
use crate::wire::{MAX_ANSWER_BYTES, MAX_GOSSIP_BYTES, Proof, decode_checkpoint};

/// A node as its disk has it.
pub(super) struct Recovered {
    pub genesis: Arc<Genesis>,
    pub network_key: PublicKey,
    pub membership: Membership,
    pub store: Arc<Store>,
    pub journal: Journal,
    pub replica: Replica,
    /// What the replica's recovery asks for.
    pub first: Output,
    /// What the replica's time counts from.
    pub started: Instant,
    executed: Height,
    /// Until the network takes it.
    network_secret: Option<SecretKey>,
}

/// Who this node is.
struct Identity {
    genesis: Arc<Genesis>,
    consensus: SecretKey,
    network: SecretKey,
}

/// Where in the chain the ledger stands, as consensus takes it up.
pub(crate) struct Position {
    pub(crate) epoch: Epoch,
    /// The height of the block that closed the epoch before; in the first, where the chain begins.
    pub(crate) began: Height,
    pub(crate) configuration: Configuration,
    pub(crate) opening: Option<CheckpointCertificate>,
    pub(crate) start: Start,
}

impl Position {
    /// The checkpoint that the epoch's first blocks cite, and the configuration that it says is aimed at (P12).
    pub(crate) fn opens(&self, genesis: &Genesis) -> (Cited, Option<Digest>) {
        match &self.opening {
            Some(opening) => (opening.checkpoint.cited(), opening.checkpoint.pending),
            None => (Cited::genesis(genesis), None),
        }
    }
}

/// Reads keys, genesis document, ledger and journal, and makes the replica.
pub(super) fn recover(home: &Home, config: &Config) -> anyhow::Result<Recovered> {
    let identity = identify(home)?;
    let genesis = Arc::clone(&identity.genesis);
    let store = Arc::new(Store::open(&home.store(), &genesis)?);
    let position = position(&store, &genesis)?;
    check_network_key(home, &identity, &position.configuration)?;
    let (mut journal, records, memory) = open_journal(home, &identity, &position)?;
    let membership = Membership::new(
        genesis.chain(),
        identity.consensus.public(),
        config.observers.clone(),
        (position.epoch, position.began),
        &position.configuration.validators,
        others(&store, &genesis, position.epoch)?,
    );
    let executed = position.start.tip.height;
    let config = consensus::Config {
        chain: genesis.chain(),
        origin: genesis.height(),
        epoch: position.epoch,
        configuration: position.configuration,
        opening: position.opening,
        secret: identity.consensus,
        memory,
        nonce: Digest::from_bytes(*SecretKey::generate().seed()),
    };
    let started = Instant::now();
    let (replica, first) = Replica::recover(config, Driver::now(started), position.start, records)?;
    // Each start leaves one segment with what matters; the older ones go once the ledger has caught up.
    journal.begin(&replica.records(), replica.status().tip.height)?;
    consume_first_start(home)?;
    let (network_key, network_secret) = (identity.network.public(), Some(identity.network));
    Ok(Recovered {
        genesis,
        network_key,
        membership,
        store,
        journal,
        replica,
        first,
        started,
        executed,
        network_secret,
    })
}

impl Recovered {
    /// The replica's position before its first step.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { status: self.replica.status(), executed: self.executed, final_at: None }
    }

    /// How the network is to be started. Hands the network key over: once.
    pub(super) fn network(&mut self, config: &Config) -> anyhow::Result<p2p::Config> {
        Ok(p2p::Config {
            key: self.network_secret.take().context("the network takes its key once")?,
            chain: self.genesis.chain(),
            listen: config.p2p_listen,
            members: self.membership.admitted(),
            limits: limits(&self.genesis),
        })
    }
}

fn identify(home: &Home) -> anyhow::Result<Identity> {
    let genesis = Arc::new(home.genesis()?);
    let [consensus, network] = home.secrets([KeyRole::Consensus, KeyRole::Network])?;
    Ok(Identity { genesis, consensus, network })
}

/// Whether the network key is the one that the validators know of this one.
fn check_network_key(home: &Home, identity: &Identity, configuration: &Configuration) -> anyhow::Result<()> {
    let validators = &configuration.validators;
    let Some(me) = validators.by_consensus_key(&identity.consensus.public()) else { return Ok(()) };
    let expected = validators.get(me).map(|validator| validator.network_key);
    if expected != Some(identity.network.public()) {
        bail!(
            "{} holds the network key {}, but the validators know another one of this validator, and would refuse the \
             connection: bring the key back that belongs to {}",
            home.key_path(KeyRole::Network).display(),
            identity.network.public(),
            home.key_path(KeyRole::Consensus).display()
        );
    }
    Ok(())
}

/// Where the ledger stands. A block that closes an epoch belongs to it until its checkpoint has a certificate.
pub(crate) fn position(store: &Store, genesis: &Genesis) -> anyhow::Result<Position> {
    let (governance, tip) = (store.governance(), store.tip());
    let certificate = |height: Height| -> anyhow::Result<Option<CheckpointCertificate>> {
        let bytes = store.checkpoint(height)?;
        let read = bytes.map(|bytes| decode_checkpoint(&bytes)).transpose();
        read.with_context(|| format!("the stored checkpoint of block {height}"))
    };
    let has_closed = governance.epoch > Epoch::ZERO && governance.began == tip.height;
    let is_closing = has_closed && certificate(tip.height)?.is_none();
    let epoch = if is_closing { governance.epoch.previous() } else { governance.epoch };
    let began = store.epoch_start(epoch).map_or(store.origin(), |start| start.began);
    let configuration = store.configuration_of(epoch)?.context("the ledger has no validators")?;
    let opening = if epoch == Epoch::ZERO { None } else { certificate(began)? };
    if epoch > Epoch::ZERO && opening.is_none() {
        bail!(
            "the ledger lacks the checkpoint of block {began}, which opened epoch {epoch}: it is damaged. \
             {HOW_TO_REPLACE}"
        );
    }
    let Some(block) = store.block(tip.height)? else {
        let tip = Tip::genesis(genesis);
        let start = Start { tip, certificate: None, executed: None, certified: Vec::new() };
        return Ok(Position { epoch, began, configuration, opening, start });
    };
    if let Some(opening) = opening.as_ref().filter(|_| has_closed && !is_closing) {
        let tip = Tip::opening(opening);
        let start = Start { tip, certificate: None, executed: None, certified: Vec::new() };
        return Ok(Position { epoch, began, configuration, opening: Some(opening.clone()), start });
    }
    let proof =
        Proof::decode(&block.proof).with_context(|| format!("the proof of block {}", block.height))?;
    let outcome = store.outcome_of(tip.height)?.context("the ledger has no outcome of its newest block")?;
    let checkpoint = executor::checkpoint(&proof.candidate, &outcome);
    let next = is_closing.then(|| governance.configuration.clone());
    let mut certified = Vec::new();
    let mut height = proof.candidate.cites.height.max(began.next());
    while height <= tip.height {
        certified.extend(certificate(height)?.filter(|found| found.checkpoint.epoch == epoch));
        height = height.next();
    }
    let tip = Tip::of(&consensus::Block::new(proof.candidate));
    let executed = Some(Executed { checkpoint, next });
    let start = Start { tip, certificate: proof.commit, executed, certified };
    Ok(Position { epoch, began, configuration, opening, start })
}

/// Who is admitted in `epoch` beside its validators, as the ledger has it.
fn others(store: &Store, genesis: &Genesis, epoch: Epoch) -> anyhow::Result<Others> {
    let governance = store.governance();
    let before = if epoch == Epoch::ZERO { None } else { store.configuration_of(epoch.previous())? };
    let mut former: Vec<_> = before.map(|before| before.validators).into_iter().collect();
    // The founders are a way in for a node that has missed every epoch since.
    former.push(genesis.validators().clone());
    // Where the newest block closes its epoch, whom the validators aimed at is in charge next.
    let next =
        if governance.epoch > epoch { Some(&governance.configuration) } else { governance.pending.as_ref() };
    Ok(Others { former, pending: next.map(|next| next.validators.clone()) })
}

/// The voting record. Where it is lost, damaged, or behind the ledger, the validator must be told by the others where it
/// may vote again (P7).
fn open_journal(
    home: &Home,
    identity: &Identity,
    position: &Position,
) -> anyhow::Result<(Journal, Vec<Record>, Memory)> {
    let folder = home.journal();
    let owner = Owner { chain: identity.genesis.chain(), voter: identity.consensus.public() };
    let is_validator = position.configuration.validators.by_consensus_key(&owner.voter).is_some();
    let lost = |why: String| {
        if is_validator {
            tracing::warn!("{why}: this validator votes again once the others have told where it may");
        }
    };
    let existed = Journal::exists(&folder);
    let (journal, records) = match Journal::open(&folder, owner) {
        Err(error @ JournalError::Damaged { .. }) => {
            let aside = home.data().join(format!("journal-damaged-{}", std::process::id()));
            std::fs::rename(&folder, &aside)
                .with_context(|| format!("cannot move the damaged {} aside", folder.display()))?;
            lost(format!("{error}. It was moved to {}", aside.display()));
            let (journal, records) = Journal::open(&folder, owner)?;
            return Ok((journal, records, Memory::Lost));
        }
        opened => opened?,
    };
    // A journal that a node ever ran with is not empty: one whose first start was cut short has recorded nothing.
    if !existed || records.is_empty() {
        if home.first_start().exists() {
            return Ok((journal, records, Memory::Whole));
        }
        lost(format!("{} holds no voting record", folder.display()));
        return Ok((journal, records, Memory::Lost));
    }
    if !reaches(&records, identity.genesis.height(), position) {
        let height = position.start.tip.height;
        lost(format!(
            "the voting record in {} is older than the ledger, at height {height}",
            folder.display()
        ));
        return Ok((journal, records, Memory::Lost));
    }
    Ok((journal, records, Memory::Whole))
}

/// Whether the records go as far as the ledger: each final block left a certificate among them.
fn reaches(records: &[Record], origin: Height, position: &Position) -> bool {
    let tip = &position.start.tip;
    let mut of = Epoch::ZERO;
    let goes_as_far = |record: &Record| match record {
        Record::Epoch(epoch, _) => {
            of = *epoch;
            of > position.epoch || of == position.epoch && tip.view == genesis::View::ZERO
        }
        Record::Certificate(certificate) => of == position.epoch && certificate.view >= tip.view,
        Record::Checkpoint(certificate) => certificate.checkpoint.height >= tip.height,
        _ => false,
    };
    tip.height == origin || records.iter().any(goes_as_far)
}

/// The journal exists from now on, durably: the mark that says that there never was one goes, before anything is signed.
fn consume_first_start(home: &Home) -> anyhow::Result<()> {
    let mark = home.first_start();
    if mark.exists() {
        std::fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
        std::fs::File::open(home.keys())
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot sync {}", home.keys().display()))?;
    }
    Ok(())
}

pub(crate) fn limits(genesis: &Genesis) -> Limits {
    let mut limits = Limits::default();
    limits.votes.frame_bytes = MAX_GOSSIP_BYTES as u32;
    // The parameter is at most 4 MiB.
    limits.batches.frame_bytes = genesis.parameters().max_batch_bytes as u32;
    limits.response_bytes = MAX_ANSWER_BYTES as u32;
    limits
}

/// What the store still holds from before a restart: which batches were ordered, which wait, and which of those are
/// this node's own. Returns those that wait.
pub(super) fn restore_batches(common: &Common, availability: &mut Availability) -> anyhow::Result<Vec<Held>> {
    let (store, genesis) = (&common.store, &common.genesis);
    let lifetime = genesis.parameters().max_batch_lifetime;
    for (digest, height) in
        store.batches_named_after(Height(store.tip().height.0.saturating_sub(lifetime)))?
    {
        availability.order(&[digest], height);
    }
    let mut held = Vec::new();
    for (digest, expires_at) in store.unordered_batches()? {
        let Some(bytes) = store.batch(&digest)? else { continue };
        // Who it came from is not known any more; it is here, whoever must answer for it.
        common.quotas.charge(digest, Account::Acknowledged, bytes.len());
        held.push(Held { digest, expires_at });
        // Where nobody looks into batches nobody waits for them after a restart: they may expire.
        if let Contents::Transactions = common.contents {
            let batch = CheckedBatch::decode_already_verified(&bytes, genesis)?;
            if batch.author() == common.network_key {
                common.mempool.adopt(digest, batch.transactions());
            }
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests;
