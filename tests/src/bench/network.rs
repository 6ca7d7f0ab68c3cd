//! A network of real processes, set up for a run, and thrown away with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::wallet::Terms;
use client::{Client, wallet};
use genesis::SecretKey;
use tokio::task::JoinSet;

use super::figures::{Figures, Used};
use super::load::{self, DRAIN, Outcome};
use super::resources::{Use, own_cpu};
use super::send::{self, Answer, Fate};
use super::setup::{Kind, Policy, Setup};
use super::sign::{Author, Registrar, Signed};
use super::state::Kept;
use crate::harness::{Cluster, PATIENCE};
use crate::say::tell;

/// How many DIDs are registered before a load at least, so that no run begins with the first transactions of a network.
const WARM: usize = 100;
/// The same where ledgers are full: nodes that have just started find nothing of them in their caches yet.
const WARM_FULL: usize = 5_000;
/// How many of them travel in one call.
const CHUNK: usize = 100;
/// How long validators are given at the end to be level.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// As many as anybody registers.
const QUOTA: &str = "1000000000";

/// A network that runs.
#[derive(Debug)]
pub struct Network {
    cluster: Cluster,
    clients: Vec<Client>,
    author: Author,
    setup: Setup,
}

impl Network {
    /// Makes a network, starts it, and waits until each validator is ready. Its ledgers are what is `kept`, where there are no
    /// links.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(setup: &Setup, kept: Option<&Kept>) -> Self {
        let mut cluster = kept.map_or_else(|| cluster(setup), Kept::cluster);
        if setup.policy == Policy::Endorsed {
            cluster.found_with("registration = \"open\"", "registration = \"endorsed\"");
        }
        cluster.start_all_ready().await;
        let clients: Vec<_> = (0..setup.validators).map(|node| cluster.client(node)).collect();
        let status = clients[0].status().await.expect("a ready node tells where it stands");
        // The load is signed before it is sent: it may live as long as any. A validator that is a few blocks behind must take
        // it too.
        let lifetime = status.parameters.max_transaction_lifetime.saturating_sub(10).max(1);
        let terms = Terms {
            network: status.network.clone(),
            chain: status.chain,
            expires_at: status.height.plus(lifetime),
        };
        let author = Author { terms, policy: setup.policy, registrar: None };
        let mut network = Self { cluster, clients, author, setup: setup.clone() };
        if setup.policy == Policy::Endorsed || setup.mix.needs_registrar() {
            network.accredit().await;
        }
        network
    }

    /// Has the validators accredit a registrar, which is registered then.
    async fn accredit(&mut self) {
        let key = SecretKey::generate();
        let (did, transaction) = wallet::registration(&self.author.terms, &key);
        let validators = self.setup.validators;
        let voters: Vec<usize> = (0..validators - (validators - 1) / 3).collect();
        let accredit = ["accredit", &did.to_string(), "--role", "registrar", "--quota", QUOTA];
        tokio::task::block_in_place(|| self.cluster.decide(&voters, &accredit));
        let client = &self.clients[0];
        client.submit(&genesis::encoding::encode(&transaction)).await.expect("a registration is accepted");
        let receipt = client.wait(&transaction.id(), PATIENCE).await.expect("a receipt");
        assert!(receipt.is_applied(), "{receipt:?}");
        self.author.registrar = Some(Registrar { did: did.id(), key });
    }

    /// Signs so many transactions of the mix, and registers what they need.
    pub async fn prepare(&self, count: usize) -> Vec<Signed> {
        let kinds = self.setup.mix.draw(count, 1);
        let updates = kinds.iter().filter(|kind| **kind == Kind::Update).count();
        let author = self.author.clone();
        let warm = if self.setup.state.is_some() { WARM_FULL } else { WARM };
        let (mut owned, creates) = signing(move || author.creates(updates.max(warm))).await;
        self.register(creates).await;
        owned.truncate(updates);
        let author = self.author.clone();
        signing(move || author.load(&kinds, owned)).await
    }

    /// Registers all of these, as fast as the nodes take them, and waits for the receipts.
    async fn register(&self, mut creates: Vec<Signed>) {
        let mut tasks = JoinSet::new();
        let share = creates.len().div_ceil(self.clients.len());
        for client in &self.clients {
            let rest = creates.split_off(share.min(creates.len()));
            let mine = std::mem::replace(&mut creates, rest);
            let client = client.clone();
            tasks.spawn(async move {
                for chunk in mine.chunks(CHUNK) {
                    register_all(&client, chunk).await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("what the load needs is registered");
        }
    }

    /// Sends a load at `rate` a second, and takes down what came of it and what it took.
    pub async fn run(&self, transactions: Vec<Signed>, rate: u64) -> Figures {
        let told = |committed| tell(format!("      {committed} committed"));
        let load = load::run(transactions, rate, self.clients.clone(), told);
        measured(&self.cluster, &self.clients, rate, load).await
    }

    /// One transaction at a time: how long each took, in ms, ascending.
    ///
    /// # Errors
    /// What a node said instead.
    pub async fn run_lone(&self, transactions: &[Signed], time: Duration) -> Result<Vec<f64>, String> {
        load::one_at_a_time(transactions, &self.clients, time).await
    }
}

/// The folders of a network that is set up so.
pub(super) fn cluster(setup: &Setup) -> Cluster {
    let Some(links) = setup.links else { return Cluster::prepare(setup.validators) };
    let cluster = Cluster::prepare_relayed(setup.validators, 1);
    cluster.relay().weather(links.weather());
    cluster
}

/// The figures of a `load` of `rate` a second: what came of it, and what it took of the validators and this process.
pub(super) async fn measured(
    cluster: &Cluster,
    clients: &[Client],
    rate: u64,
    load: impl Future<Output = Outcome>,
) -> Figures {
    let use_of = |node| Use::of(cluster, node);
    let before: Vec<_> = (0..clients.len()).map(use_of).collect();
    let client_before = own_cpu();
    let Outcome { counts, seen, elapsed } = load.await;
    let client = own_cpu().saturating_sub(client_before);
    let heights = settled(clients).await;
    let nodes = heights.into_iter().zip(before).enumerate();
    let validators = nodes.map(|(node, (height, before))| {
        // One that does not answer is why the run does not count, and is not asked for more.
        (height.map(|_| use_of(node).since(before)).unwrap_or_default(), height)
    });
    let used = Used { validators: validators.collect(), client };
    Figures::new(rate, elapsed, counts, seen, &used)
}

/// Where the validators stand, once they are level or had the time for it.
async fn settled(clients: &[Client]) -> Vec<Option<u64>> {
    let end = Instant::now() + GRACE;
    loop {
        let mut tips = Vec::new();
        for client in clients {
            let status = tokio::time::timeout(GRACE, client.status()).await;
            tips.push(status.ok().and_then(Result::ok).map(|status| (status.height.0, status.digest)));
        }
        let highest = tips.iter().flatten().map(|(height, _)| *height).max().unwrap_or(0);
        // A block names the one before: where two are the same, so are all up to them.
        let mut known = BTreeMap::new();
        for (height, digest) in tips.iter().flatten() {
            assert_eq!(known.entry(*height).or_insert(*digest), digest, "the chains fork at height {height}");
        }
        let heights: Vec<_> = tips.iter().map(|tip| tip.map(|(height, _)| height)).collect();
        let are_level = heights.iter().all(|height| height.is_some_and(|height| height == highest));
        if are_level || Instant::now() >= end {
            return heights;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Off the threads that serve connections.
async fn signing<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("signing does not fail")
}

async fn register_all(client: &Client, creates: &[Signed]) {
    let end = Instant::now() + DRAIN;
    let mut open: Vec<&Signed> = creates.iter().collect();
    while !open.is_empty() {
        let answers = send::submit(client, &open).await.expect("a node takes what is registered first");
        let refused = answers.iter().find(|answer| matches!(answer, Answer::Refused(_)));
        assert!(refused.is_none(), "a registration before the load: {refused:?}");
        let ids: Vec<_> = open.iter().map(|signed| signed.id).collect();
        let fates = send::wait(client, &ids, Duration::from_secs(5)).await.expect("a node tells of receipts");
        let mut left = Vec::new();
        for (signed, fate) in open.into_iter().zip(fates) {
            match fate {
                Fate::Ordered(receipt) => assert!(receipt.is_applied(), "before the load: {receipt:?}"),
                // Submitted again: the same transaction is taken once.
                Fate::Open => left.push(signed),
                Fate::Expired => panic!("a registration before the load expired"),
            }
        }
        open = left;
        assert!(open.is_empty() || Instant::now() < end, "{} registrations before the load hang", open.len());
    }
}
