//! Everything that a node is made of, from what is on its disk, checked before anything is started.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use client::key_file::Role as KeyRole;
use consensus::{Output, Record, Replica, Tip};
use genesis::{Epoch, Genesis, Height, PublicKey, SecretKey, ValidatorIndex};
use ledger::{CheckedBatch, Store};
use p2p::{Limits, Member, Role};

use super::Common;
use crate::availability::{Availability, Held};
use crate::config::Config;
use crate::driver::{Driver, Snapshot};
use crate::home::Home;
use crate::journal::{Journal, Owner};
use crate::quota::Account;
use crate::wire::{MAX_ANSWER_BYTES, MAX_GOSSIP_BYTES, Proof};

/// A node as its disk has it.
pub(super) struct Recovered {
    pub genesis: Arc<Genesis>,
    pub me: ValidatorIndex,
    pub network_key: PublicKey,
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
    me: ValidatorIndex,
    consensus: SecretKey,
    network: SecretKey,
}

/// Reads keys, genesis document, ledger and journal, and makes the replica.
pub(super) fn recover(home: &Home) -> anyhow::Result<Recovered> {
    let identity = identify(home)?;
    let (genesis, me) = (Arc::clone(&identity.genesis), identity.me);
    let store = Arc::new(Store::open(&home.store(), &genesis)?);
    let (mut journal, records) = open_journal(home, &store, &identity)?;
    let (tip, certificate) = tip(&store, &genesis)?;
    check_journal(home, &records, &tip)?;
    let context = consensus::Context {
        chain: genesis.chain(),
        epoch: Epoch::ZERO,
        validators: genesis.validators().clone(),
    };
    let parameters = genesis.parameters().clone();
    let config = consensus::Config { context, me, secret: identity.consensus, parameters };
    let started = Instant::now();
    let (replica, first) = Replica::recover(config, Driver::now(started), tip, certificate, records)?;
    // Each start leaves one segment with what matters; the older ones go once the ledger has caught up.
    journal.begin(&replica.records(), replica.status().tip.height)?;
    let (network_key, network_secret) = (identity.network.public(), Some(identity.network));
    let executed = tip.height;
    Ok(Recovered { genesis, me, network_key, store, journal, replica, first, started, executed, network_secret })
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
            members: members(&self.genesis, &config.observers),
            limits: limits(&self.genesis),
        })
    }
}

fn identify(home: &Home) -> anyhow::Result<Identity> {
    let genesis = Arc::new(home.genesis()?);
    let consensus = home.key(KeyRole::Consensus)?;
    let network = home.key(KeyRole::Network)?;
    let Some(me) = genesis.validators().by_consensus_key(&consensus.public()) else {
        bail!(
            "the consensus key {} of {} is not in the genesis document {} (chain {}): use the key that this \
             validator was founded with, or the right genesis document",
            consensus.public(),
            home.key_path(KeyRole::Consensus).display(),
            home.genesis_path().display(),
            genesis.chain()
        );
    };
    let expected = genesis.validators().get(me).map(|validator| validator.network_key);
    if expected != Some(network.public()) {
        bail!(
            "{} holds the network key {}, but the genesis document has another for this validator, and the others \
             would refuse the connection: bring the key back that belongs to {}",
            home.key_path(KeyRole::Network).display(),
            network.public(),
            home.key_path(KeyRole::Consensus).display()
        );
    }
    Ok(Identity { genesis, me, consensus, network })
}

fn open_journal(home: &Home, store: &Store, identity: &Identity) -> anyhow::Result<(Journal, Vec<Record>)> {
    let folder = home.journal();
    let height = store.tip().height;
    if height > Height::ZERO && !Journal::exists(&folder) {
        bail!(
            "{} holds no voting journal, but the ledger is at height {height}: this validator has voted, and without \
             its record it could vote against itself. Restore the folder. (On a test network: stop all nodes and \
             `realdid reset` each.)",
            folder.display()
        );
    }
    let owner = Owner { chain: identity.genesis.chain(), voter: identity.me };
    Ok(Journal::open(&folder, owner)?)
}

/// Whether the journal goes as far as the ledger: each final block left a certificate in it.
fn check_journal(home: &Home, records: &[Record], tip: &Tip) -> anyhow::Result<()> {
    let reaches = |record: &Record| match record {
        Record::Certificate(certificate) => certificate.view >= tip.view,
        Record::Vote(_) | Record::PrePrepare(_) => false,
    };
    if tip.height > Height::ZERO && !records.iter().any(reaches) {
        bail!(
            "the voting journal in {} is older than the ledger, which is at height {}: it was restored from a backup, \
             perhaps. This validator could vote against itself, so it must not vote: bring the newest journal back, or \
             replace the validator's key",
            home.journal().display(),
            tip.height
        );
    }
    Ok(())
}

/// The ledger's newest block, as consensus knows it.
fn tip(store: &Store, genesis: &Genesis) -> anyhow::Result<(Tip, Option<consensus::Certificate>)> {
    let Some(block) = store.block(store.tip().height)? else { return Ok((Tip::genesis(genesis), None)) };
    let proof =
        Proof::decode(&block.proof).with_context(|| format!("the proof of block {}", block.height))?;
    let view = proof.candidate.view;
    Ok((Tip { height: block.height, view, digest: block.digest, time: block.time }, proof.commit))
}

fn members(genesis: &Genesis, observers: &[PublicKey]) -> Vec<Member> {
    let validators = genesis.validators().iter().map(|(_, validator)| Member {
        key: validator.network_key,
        role: Role::Validator,
        address: Some(validator.address.clone()),
    });
    let observers = observers.iter().map(|key| Member { key: *key, role: Role::Observer, address: None });
    validators.chain(observers).collect()
}

fn limits(genesis: &Genesis) -> Limits {
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
        let batch = CheckedBatch::decode_already_verified(&bytes, genesis)?;
        // Who it came from is not known any more; it is here, whoever must answer for it.
        common.quotas.charge(digest, Account::Acknowledged, bytes.len());
        held.push(Held { digest, expires_at });
        if batch.author() == common.network_key {
            common.mempool.adopt(digest, batch.transactions());
        }
    }
    Ok(held)
}
