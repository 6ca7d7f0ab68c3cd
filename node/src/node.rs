//! How the parts run together.
//!
//! ```text
//!   clients ─ rpc ─ mempool ─ batcher ──────► peers' intakes       threads: driver, executor, intake
//!                               │ own                              tasks: everything else
//!   p2p batches ─────────────► intake ─ held ─┐
//!   p2p votes ──────────────────────────────► driver ─ final ─► executor ─ receipts ─► mempool
//!                               sync, fetcher ┘  │ records
//!                                             journal
//! ```
//!
//! Whatever fails for good (a disk, a fork) stops the node: [`run`] returns its error.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use client::key_file::Role as KeyRole;
use consensus::{Replica, Tip};
use genesis::{Genesis, Height, SecretKey, ValidatorIndex};
use ledger::{CheckedBatch, Store};
use p2p::{Limits, Member, Network, Role};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::availability::{Availability, Held};
use crate::batcher::Batcher;
use crate::driver::{Driver, Event, Snapshot};
use crate::executor::Executor;
use crate::fetcher::{self, Fetcher};
use crate::health::Health;
use crate::home::Home;
use crate::http::{self, Pages};
use crate::intake::{self, Arrival, Intake};
use crate::journal::{Journal, Owner};
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::quota::{Account, Quotas};
use crate::rpc::{self, Api};
use crate::shelf::Shelf;
use crate::sync::{self, Sync};
use crate::wire::{MAX_ANSWER_BYTES, MAX_GOSSIP_BYTES, Proof};

/// How many events may wait for the driver.
const EVENTS: usize = 1_024;

/// Who this node is.
struct Identity {
    genesis: Arc<Genesis>,
    me: ValidatorIndex,
    consensus: SecretKey,
    network: SecretKey,
}

/// Runs the node in `home` until it is told to stop (SIGTERM, SIGINT), or fails.
///
/// # Errors
/// When a file, a port or a disk can not be used, or safety was lost. Says what to do.
pub async fn run(home: Home) -> anyhow::Result<()> {
    let _lock = home.lock()?;
    let config = home.config()?;
    let identity = identify(&home)?;
    let (genesis, me) = (Arc::clone(&identity.genesis), identity.me);
    let stop = CancellationToken::new();
    let started = Instant::now();

    let store = Arc::new(Store::open(&home.store(), &genesis)?);
    let (mut journal, records) = open_journal(&home, &store, &identity)?;
    let metrics = Arc::new(Metrics::new()?);
    let mempool = Arc::new(Mempool::new(usize::try_from(config.mempool.max_bytes).unwrap_or(usize::MAX)));
    let (shelf, quotas) = (Arc::new(Shelf::default()), Arc::new(Quotas::default()));

    let validators = genesis.validators();
    let context = consensus::Context {
        chain: genesis.chain(),
        epoch: genesis::Epoch::ZERO,
        validators: validators.clone(),
    };
    let (tip, certificate) = tip(&store, &genesis)?;
    check_journal(&home, &records, &tip)?;
    let replica_config = consensus::Config {
        context: context.clone(),
        me,
        secret: identity.consensus,
        parameters: genesis.parameters().clone(),
    };
    let (replica, first) = Replica::recover(replica_config, Driver::now(started), tip, certificate, records)?;
    // Each start leaves one segment with what matters; the older ones go once the ledger has caught up.
    journal.begin(&replica.records(), replica.status().tip.height)?;

    let members = members(&genesis, &config.observers);
    let network = p2p::Config {
        key: identity.network,
        chain: genesis.chain(),
        listen: config.p2p_listen,
        members,
        limits: limits(&genesis),
    };
    let (network, inbox) = Network::start(network).await?;

    let (events, driver_events) = mpsc::channel(EVENTS);
    let (arrivals, intake_arrivals) = intake::channel();
    let (finals, executor_finals) = std::sync::mpsc::channel();
    let (fetch, wants) = fetcher::channel();
    let (sync_starts, starts) = mpsc::channel(1);
    let status = replica.status();
    let (snapshot, snapshots) = watch::channel(Snapshot { status, executed: tip.height, final_at: None });

    let mut availability =
        Availability::new(me, validators.quorum(), genesis.parameters().max_batch_lifetime);
    let held = restore(&store, &genesis, me, &mempool, &quotas, &mut availability)?;
    events.try_send(Event::Held(held)).context("the first event of the driver")?;

    let intake = Intake {
        genesis: Arc::clone(&genesis),
        store: Arc::clone(&store),
        shelf: Arc::clone(&shelf),
        quotas: Arc::clone(&quotas),
        events: events.clone(),
        metrics: Arc::clone(&metrics),
    };
    let executor = Executor {
        genesis: Arc::clone(&genesis),
        store: Arc::clone(&store),
        shelf,
        mempool: Arc::clone(&mempool),
        fetch: fetch.clone(),
        events: events.clone(),
        metrics: Arc::clone(&metrics),
    };
    let driver = Driver {
        replica,
        journal,
        availability,
        network: network.clone(),
        keys: validators.iter().map(|(_, validator)| validator.network_key).collect(),
        me,
        store: Arc::clone(&store),
        finals,
        fetch: fetch.clone(),
        sync: sync_starts,
        quotas,
        mempool: Arc::clone(&mempool),
        snapshot,
        metrics: Arc::clone(&metrics),
        started,
    };
    let mut threads = Threads::new(stop.clone());
    threads.start("intake", move || Ok(intake.run(intake_arrivals)?));
    threads.start("executor", {
        let stop = stop.clone();
        move || Ok(executor.run(&executor_finals, &stop)?)
    });
    threads.start("driver", {
        let stop = stop.clone();
        let votes = inbox.votes;
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            Ok(runtime.block_on(driver.run(first, votes, driver_events, stop))?)
        }
    });

    let fetcher = Fetcher {
        store: Arc::clone(&store),
        network: network.clone(),
        intake: arrivals.clone(),
        metrics: Arc::clone(&metrics),
    };
    let batcher = Batcher {
        genesis: Arc::clone(&genesis),
        me,
        store: Arc::clone(&store),
        mempool: Arc::clone(&mempool),
        intake: arrivals.clone(),
        network: network.clone(),
    };
    let sync = Sync {
        context,
        network: network.clone(),
        fetch,
        events: events.clone(),
        snapshot: snapshots.clone(),
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(fetcher.run(wants));
    tasks.spawn(batcher.run());
    tasks.spawn(sync.run(starts));
    tasks.spawn(sync::serve(inbox.requests, Arc::clone(&store)));
    tasks.spawn(forward_batches(inbox.batches, arrivals, Arc::clone(&genesis)));
    tasks.spawn(forward_peers(inbox.peers, events));

    let health = Arc::new(Health {
        network: network.clone(),
        quorum: validators.quorum(),
        snapshot: snapshots.clone(),
        started,
    });
    let pages = Pages {
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
        mempool: Arc::clone(&mempool),
        store: Arc::clone(&store),
    };
    let api = Api {
        genesis: Arc::clone(&genesis),
        me,
        store: Arc::clone(&store),
        mempool: Arc::clone(&mempool),
        network: network.clone(),
        snapshot: snapshots,
        health,
        metrics,
        config: config.rpc.clone(),
    };
    let rpc_runtime = tokio::runtime::Builder::new_multi_thread().thread_name("rpc").enable_all().build()?;
    let rpc_handle = rpc_runtime.handle().clone();
    let served = async {
        let (rpc_address, rpc) = rpc::serve(config.rpc_listen, api, rpc_handle).await?;
        let (metrics_address, pages) = http::serve(config.metrics_listen, pages, stop.clone()).await?;
        anyhow::Ok((rpc_address, rpc, metrics_address, pages))
    };
    let failure = match served.await {
        Ok((rpc_address, rpc, metrics_address, pages)) => {
            announce(&genesis, me, &network, rpc_address, metrics_address, tip.height);
            let failure = told_to_stop(&stop, &mut tasks).await;
            mempool.close();
            // A server that is stopped already is what is wanted.
            let _ = rpc.stop();
            drop(tokio::time::timeout(std::time::Duration::from_secs(2), rpc.stopped()).await);
            stop.cancel();
            drop(tokio::time::timeout(std::time::Duration::from_secs(2), pages).await);
            failure.err()
        }
        Err(error) => Some(error),
    };
    stop.cancel();
    // What still waits for a client is not waited for.
    rpc_runtime.shutdown_background();
    tasks.shutdown().await;
    network.shutdown().await;
    let ended = tokio::task::spawn_blocking(move || threads.join()).await?;
    tracing::info!(height = %store.tip().height, "stopped");
    failure.map_or(ended, Err)
}

fn identify(home: &Home) -> anyhow::Result<Identity> {
    let genesis = Arc::new(home.genesis()?);
    let consensus = home.key(KeyRole::Consensus)?;
    let network = home.key(KeyRole::Network)?;
    let Some(me) = genesis.validators().by_consensus_key(&consensus.public()) else {
        bail!(
            "the consensus key {} of {} is not in the genesis document {} (chain {}): use the key that was given to \
             the ceremony, or the right genesis document",
            consensus.public(),
            home.key_path(KeyRole::Consensus).display(),
            home.genesis_path().display(),
            genesis.chain()
        );
    };
    let expected = genesis.validators().get(me).map(|validator| validator.network_key);
    if expected != Some(network.public()) {
        bail!(
            "{} holds {}, but the genesis document expects another network key for this validator ({:?}): peers \
             would refuse the connection",
            home.key_path(KeyRole::Network).display(),
            network.public(),
            expected
        );
    }
    Ok(Identity { genesis, me, consensus, network })
}

fn open_journal(
    home: &Home,
    store: &Store,
    identity: &Identity,
) -> anyhow::Result<(Journal, Vec<consensus::Record>)> {
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
fn check_journal(home: &Home, records: &[consensus::Record], tip: &Tip) -> anyhow::Result<()> {
    let reaches = |record: &consensus::Record| match record {
        consensus::Record::Certificate(certificate) => certificate.view >= tip.view,
        consensus::Record::Vote(_) | consensus::Record::PrePrepare(_) => false,
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

fn members(genesis: &Genesis, observers: &[genesis::PublicKey]) -> Vec<Member> {
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
/// this node's own.
fn restore(
    store: &Store,
    genesis: &Genesis,
    me: ValidatorIndex,
    mempool: &Mempool,
    quotas: &Quotas,
    availability: &mut Availability,
) -> anyhow::Result<Vec<Held>> {
    let tip = store.tip().height;
    let lifetime = genesis.parameters().max_batch_lifetime;
    for (digest, height) in store.batches_named_after(Height(tip.0.saturating_sub(lifetime)))? {
        availability.order(&[digest], height);
    }
    let mut held = Vec::new();
    for (digest, expires_at) in store.unordered_batches()? {
        let Some(bytes) = store.batch(&digest)? else { continue };
        let batch = CheckedBatch::decode_already_verified(&bytes, genesis)?;
        // Who it came from is not known any more; it is here, whoever must answer for it.
        quotas.charge(digest, Account::Acknowledged, bytes.len());
        held.push(Held { digest, expires_at });
        if batch.author() == me {
            mempool.adopt(digest, batch.transactions());
        }
    }
    Ok(held)
}

async fn forward_batches(
    mut batches: mpsc::Receiver<p2p::Incoming>,
    arrivals: mpsc::Sender<Arrival>,
    genesis: Arc<Genesis>,
) {
    while let Some(incoming) = batches.recv().await {
        // Observers push nothing.
        let Some(from) = genesis.validators().by_network_key(&incoming.from) else { continue };
        if arrivals.send(Arrival::Pushed(from, incoming)).await.is_err() {
            return;
        }
    }
}

async fn forward_peers(mut peers: mpsc::Receiver<p2p::PeerEvent>, events: mpsc::Sender<Event>) {
    while let Some(event) = peers.recv().await {
        if events.send(Event::Peer(event)).await.is_err() {
            return;
        }
    }
}

fn announce(
    genesis: &Genesis,
    me: ValidatorIndex,
    network: &Network,
    rpc: std::net::SocketAddr,
    metrics: std::net::SocketAddr,
    height: Height,
) {
    let validators = genesis.validators();
    let name = validators.get(me).map(|validator| validator.name.as_str()).unwrap_or_default();
    tracing::info!(
        node = name, network = genesis.network(), chain = %genesis.chain(), %height, p2p = %network.local_address(),
        %rpc, %metrics, "started"
    );
    if validators.len() < 4 {
        tracing::warn!(
            validators = validators.len(),
            "a network of fewer than four validators survives no fault: for development only"
        );
    }
}

/// Waits for SIGTERM, SIGINT, or the failure of a part. The tasks end only when the node stops.
async fn told_to_stop(stop: &CancellationToken, tasks: &mut tokio::task::JoinSet<()>) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let why = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stop.cancelled() => "a part of the node failed",
        Some(ended) = tasks.join_next() => {
            tracing::error!("a task of the node ended: stopping");
            return ended.context("a task of the node panicked: a mistake in this program");
        }
    };
    tracing::info!(why, "stopping");
    Ok(())
}

/// The node's threads. One that fails stops the others.
struct Threads {
    stop: CancellationToken,
    running: Vec<(&'static str, std::thread::JoinHandle<anyhow::Result<()>>)>,
    failed: Vec<anyhow::Error>,
}

impl Threads {
    fn new(stop: CancellationToken) -> Self {
        Self { stop, running: Vec::new(), failed: Vec::new() }
    }

    fn start(&mut self, name: &'static str, work: impl FnOnce() -> anyhow::Result<()> + Send + 'static) {
        // Cancelled on the way out, however the work ends: a panic too must stop the node.
        let guard = self.stop.clone().drop_guard();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _guard = guard;
            work()
        });
        match thread {
            Ok(thread) => self.running.push((name, thread)),
            Err(error) => self.failed.push(anyhow::anyhow!("cannot start the {name}: {error}")),
        }
    }

    fn join(mut self) -> anyhow::Result<()> {
        for (name, thread) in self.running.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.failed.push(error.context(format!("the {name} failed"))),
                Err(_) => self.failed.push(anyhow::anyhow!("the {name} panicked: a mistake in this program")),
            }
        }
        self.failed.into_iter().next().map_or(Ok(()), Err)
    }
}
