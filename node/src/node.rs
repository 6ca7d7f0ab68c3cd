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
//! In three steps: [`startup`] makes everything from what is on disk, [`Running`] starts the parts, and [`serve`] opens the
//! doors to clients, last, and closes them first.
//!
//! Whatever fails for good (a disk, a fork) stops the node: [`run`] returns its error. Invariant: it returns `Ok` only where somebody
//! told the node to stop.

pub(crate) mod startup;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use genesis::{Genesis, PublicKey};
use ledger::Store;
use p2p::{Inbox, Network};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::startup::Recovered;
use self::threads::Threads;
use crate::admin::{Admin, Office};
use crate::availability::Availability;
use crate::batcher::Batcher;
use crate::clocks::Clocks;
use crate::config::Config;
use crate::disk::Disk;
use crate::driver::{Driver, Event, Snapshot};
use crate::executor::Executor;
use crate::fetcher::{self, Fetcher};
use crate::health::Health;
use crate::home::Home;
use crate::http::{self, Pages};
use crate::intake::{self, Arrival, Entrance, Intake};
use crate::membership::Membership;
use crate::mempool::Mempool;
use crate::metrics::Metrics;
use crate::opaque::{Contents, Opaque};
use crate::quota::Quotas;
use crate::rpc::{self, Api};
use crate::shelf::Shelf;
use crate::snapshot::{self, keeper::Keeper};
use crate::sync::{self, Peers, Progress, Sync};

/// How many events may wait for the driver.
const EVENTS: usize = 1_024;
/// How long calls that are under way may take when the node stops.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// What the parts share. Cheap to clone.
#[derive(Clone)]
struct Common {
    genesis: Arc<Genesis>,
    membership: Membership,
    network_key: PublicKey,
    store: Arc<Store>,
    network: Network,
    mempool: Arc<Mempool>,
    shelf: Arc<Shelf>,
    quotas: Arc<Quotas>,
    metrics: Arc<Metrics>,
    clocks: Clocks,
    disk: Arc<Disk>,
    snapshot: watch::Receiver<Snapshot>,
    health: Arc<Health>,
    progress: Arc<Progress>,
    snapshots: snapshot::Shelf,
    contents: Contents,
    stop: CancellationToken,
}

/// Runs the node in `home` until it is told to stop (SIGTERM, SIGINT), or fails.
///
/// # Errors
/// When a file, a port or a disk can not be used, or safety was lost. Says what to do.
pub async fn run(home: Home) -> anyhow::Result<()> {
    let config = home.config()?;
    run_with(home, config, Contents::Transactions).await
}

/// Runs a node that orders what clients send to `listen`, and looks at none of it ([`crate::opaque`]): for measurements. Takes no
/// transactions. All nodes of a network must run so, or none.
///
/// # Errors
/// As [`run`].
pub async fn run_opaque(home: Home, listen: SocketAddr) -> anyhow::Result<()> {
    let mut config = home.config()?;
    config.mempool.max_bytes = 0;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let opaque = Arc::new(Opaque::new(&home.genesis()?));
    let mut clients = JoinSet::new();
    clients.spawn(Arc::clone(&opaque).serve(listener));
    let ended = run_with(home, config, Contents::Opaque(opaque)).await;
    clients.shutdown().await;
    ended
}

async fn run_with(home: Home, config: Config, contents: Contents) -> anyhow::Result<()> {
    let _lock = home.lock()?;
    let disk = Arc::new(Disk::open(&home, config.disk)?);
    let mut recovered = startup::recover(&home, &config)?;
    let admin = Admin::open(&home)?;
    let (network, inbox) = Network::start(recovered.network(&config)?).await?;
    let (snapshots, snapshot) = watch::channel(recovered.snapshot());
    let genesis = Arc::clone(&recovered.genesis);
    let progress = Arc::new(Progress::default());
    let mempool = Arc::new(Mempool::new(usize::try_from(config.mempool.max_bytes).unwrap_or(usize::MAX)));
    let common = Common {
        membership: recovered.membership.clone(),
        network_key: recovered.network_key,
        store: Arc::clone(&recovered.store),
        mempool: Arc::clone(&mempool),
        shelf: Arc::new(Shelf::default()),
        quotas: Arc::new(Quotas::default()),
        metrics: Arc::new(Metrics::new()?),
        clocks: Clocks::default(),
        disk: Arc::clone(&disk),
        health: Arc::new(Health {
            network: network.clone(),
            membership: recovered.membership.clone(),
            snapshot: snapshot.clone(),
            progress: Arc::clone(&progress),
            mempool,
            disk: Arc::clone(&disk),
            started: recovered.started,
        }),
        progress,
        snapshots: home.snapshots(),
        contents,
        stop: CancellationToken::new(),
        genesis,
        network,
        snapshot,
    };
    let mut running = Running::start(&common, recovered, inbox, snapshots, &config, admin)?;
    let served = serve(&common, &config, &mut running).await;
    common.stop.cancel();
    let ended = running.stop(common.network).await;
    tracing::info!(height = %common.store.tip().height, "stopped");
    // A thread's failure is why the others stopped; a task's end may follow from one.
    let why = served?;
    ended?;
    match why {
        Why::Told(_) => Ok(()),
        Why::Failed(part) => bail!("{part} ended without being told to: a mistake in this program"),
    }
}

/// Why a node stops.
#[derive(Debug)]
enum Why {
    /// By this signal.
    Told(&'static str),
    /// Because this ended.
    Failed(&'static str),
}

/// The parts at work.
struct Running {
    threads: Threads,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(
        common: &Common,
        recovered: Recovered,
        inbox: Inbox,
        snapshots: watch::Sender<Snapshot>,
        config: &Config,
        admin: Admin,
    ) -> anyhow::Result<Self> {
        let Common { genesis, membership, store, network, mempool, .. } = common.clone();
        let members = membership.now();
        common.metrics.begin(None, &members.context.validators);
        let parameters = genesis.parameters();
        let mut availability = Availability::new(
            common.network_key,
            &members.keys(),
            members.context.validators.quorum(),
            parameters.max_batch_lifetime,
        );
        let held = startup::restore_batches(common, &mut availability)?;
        let (events, driver_events) = mpsc::channel(EVENTS);
        events.try_send(Event::Held(held)).context("the first event of the driver")?;
        let (arrivals, intake_arrivals) = intake::channel();
        let (finals, executor_finals) = std::sync::mpsc::channel();
        let (fetch, wants) = fetcher::channel();
        let (sync_starts, starts) = mpsc::channel(1);

        let intake = Intake {
            genesis: Arc::clone(&genesis),
            me: common.network_key,
            store: Arc::clone(&store),
            shelf: Arc::clone(&common.shelf),
            quotas: Arc::clone(&common.quotas),
            snapshot: common.snapshot.clone(),
            events: events.clone(),
            metrics: Arc::clone(&common.metrics),
            contents: common.contents.clone(),
        };
        let (keeper, due) = Keeper::new(
            Arc::clone(&store),
            Arc::clone(&genesis),
            common.snapshots.clone(),
            config.snapshots,
            config.history,
        );
        let executor = Executor {
            snapshots: due,
            genesis: Arc::clone(&genesis),
            store: Arc::clone(&store),
            shelf: Arc::clone(&common.shelf),
            mempool: Arc::clone(&mempool),
            fetch: fetch.clone(),
            events: events.clone(),
            metrics: Arc::clone(&common.metrics),
            contents: common.contents.clone(),
        };
        let peers = Peers::new(membership.clone(), Arc::clone(&common.metrics));
        let sync = Sync {
            membership: membership.clone(),
            network: network.clone(),
            peers: peers.clone(),
            progress: Arc::clone(&common.progress),
            metrics: Arc::clone(&common.metrics),
            fetch: fetch.clone(),
            events: events.clone(),
            snapshot: common.snapshot.clone(),
        };
        let driver = Driver {
            replica: recovered.replica,
            journal: recovered.journal,
            availability,
            network: network.clone(),
            membership: membership.clone(),
            me: common.network_key,
            store: Arc::clone(&store),
            finals,
            fetch,
            sync: sync_starts,
            quotas: Arc::clone(&common.quotas),
            mempool: Arc::clone(&mempool),
            snapshot: snapshots,
            metrics: Arc::clone(&common.metrics),
            clocks: common.clocks.clone(),
            started: recovered.started,
        };
        let fetcher = Fetcher {
            store: Arc::clone(&store),
            network: network.clone(),
            peers,
            quotas: Arc::clone(&common.quotas),
            intake: arrivals.clone(),
            metrics: Arc::clone(&common.metrics),
        };
        let batcher = Batcher {
            genesis: Arc::clone(&genesis),
            author: common.network_key,
            store: Arc::clone(&store),
            mempool,
            intake: arrivals.clone(),
            network,
            contents: common.contents.clone(),
        };

        let mut threads = Threads::new(common.stop.clone());
        threads.start("intake", move || Ok(intake.run(intake_arrivals)?));
        let stop = common.stop.clone();
        threads.start("executor", move || Ok(executor.run(&executor_finals, &stop)?));
        let stop = common.stop.clone();
        threads.start("keeper", move || {
            keeper.run(&stop);
            Ok(())
        });
        let (stop, first, votes) = (common.stop.clone(), recovered.first, inbox.votes);
        threads.start("driver", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
            Ok(runtime.block_on(driver.run(first, votes, driver_events, stop))?)
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(fetcher.run(wants));
        tasks.spawn(batcher.run());
        tasks.spawn(sync.run(starts));
        tasks.spawn(sync::serve(inbox.requests, Arc::clone(&store), common.snapshots.clone()));
        tasks.spawn(admin.run(Office {
            store,
            genesis,
            shelf: common.snapshots.clone(),
            disk: Arc::clone(&common.disk),
            stop: common.stop.clone(),
        }));
        tasks.spawn(forward_batches(inbox.batches, arrivals, membership));
        tasks.spawn(forward_peers(inbox.peers, events));
        Ok(Self { threads, tasks })
    }

    /// Ends the tasks, then the connections, then the threads, which end when nobody can give them work any more.
    async fn stop(mut self, network: Network) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        network.shutdown().await;
        tokio::task::spawn_blocking(move || self.threads.join()).await?
    }
}

/// Serves clients until the node is told to stop, or a part of it fails.
async fn serve(common: &Common, config: &Config, running: &mut Running) -> anyhow::Result<Why> {
    let Common {
        genesis, membership, store, network, mempool, metrics, clocks, snapshot, health, stop, ..
    } = common.clone();
    let pages = Pages {
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health),
        mempool: Arc::clone(&mempool),
        store: Arc::clone(&store),
        clocks: clocks.clone(),
        disk: Arc::clone(&common.disk),
    };
    let (checker, checking) = rpc::Checker::new();
    // Calls that are cut off at the end may hold on to it.
    running.threads.start_unattended("checker", || checking.run());
    let api = Api {
        genesis,
        membership,
        store,
        mempool: Arc::clone(&mempool),
        network,
        snapshot,
        health,
        metrics,
        clocks,
        checker,
        config: config.rpc.clone(),
    };
    let (metrics_address, pages) = http::serve(config.metrics_listen, pages, stop.clone()).await?;
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("rpc").enable_all().build()?;
    let opened = rpc::serve(config.rpc_listen, api, runtime.handle().clone()).await;
    let served = match opened {
        Ok((rpc_address, rpc)) => {
            announce(common, rpc_address, metrics_address);
            let told = told_to_stop(&stop, &mut running.tasks, Arc::clone(&common.disk)).await;
            mempool.close();
            // A server that is stopped already is what is wanted; what is not done in time is cut off.
            let _ = rpc.stop();
            drop(tokio::time::timeout(LAST_CALLS, rpc.stopped()).await);
            told
        }
        Err(error) => Err(error),
    };
    stop.cancel();
    drop(tokio::time::timeout(LAST_CALLS, pages).await);
    runtime.shutdown_background();
    served
}

async fn forward_batches(
    mut batches: mpsc::Receiver<p2p::Incoming>,
    arrivals: Entrance,
    membership: Membership,
) {
    while let Some(incoming) = batches.recv().await {
        // Observers push nothing.
        if membership.now().by_network_key(&incoming.from).is_none() {
            continue;
        }
        if arrivals.send(Arrival::Pushed(incoming)).await.is_err() {
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

fn announce(common: &Common, rpc: SocketAddr, metrics: SocketAddr) {
    let (genesis, p2p) = (&common.genesis, common.network.local_address());
    let members = common.membership.now();
    let validators = &members.context.validators;
    let name = members.me.map_or_else(|| "an observer".to_owned(), |me| members.name(me));
    let (chain, height) = (genesis.chain(), common.store.tip().height);
    tracing::info!(node = name, network = genesis.network(), %chain, %height, %p2p, %rpc, %metrics, "started");
    if validators.faulty() == 0 {
        let count = validators.len();
        tracing::warn!(
            validators = count,
            "fewer than four validators bear no faulty one: for development only"
        );
    }
}

/// Waits for SIGTERM, SIGINT, a full disk, or the failure of a part. The tasks end only when the node stops.
async fn told_to_stop(
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
    disk: Arc<Disk>,
) -> anyhow::Result<Why> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let why = tokio::select! {
        _ = terminate.recv() => Why::Told("SIGTERM"),
        _ = interrupt.recv() => Why::Told("SIGINT"),
        () = stop.cancelled() => Why::Failed("a thread of the node"),
        full = disk.until_full() => {
            tracing::error!(free = %crate::disk::Size(full.free_bytes), "the disk is nearly full: stopping");
            return Err(full.into());
        }
        Some(ended) = tasks.join_next() => {
            ended.context("a task of the node panicked: a mistake in this program")?;
            Why::Failed("a task of the node")
        }
    };
    let (Why::Told(reason) | Why::Failed(reason)) = &why;
    tracing::info!(why = reason, "stopping");
    Ok(why)
}
