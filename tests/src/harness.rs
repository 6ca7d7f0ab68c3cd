//! A network of real processes: the `realdid` binary, in folders, on ports and with keys of their own.
//!
//! Nothing is mocked. Nodes are killed and started by their process ids; whatever still runs when a [`Cluster`] is
//! dropped is killed, and if its test failed, the last lines of each log are shown.
//!
//! - [`fault`]: what a test does to the machine under a node: its clock, its disk
//! - [`folders`]: what a test does to the folders of nodes: copies, backups, losses
//! - [`govern`]: votes, by the commands that operators use, and what nodes tell of them
//! - [`process`]: what the system knows of a process, and signals
//! - [`watch`]: a Prometheus that watches the nodes

pub mod fault;
pub mod folders;
pub mod govern;
pub mod process;
pub mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::api::Receipt;
use client::wallet::{self, Terms};
use client::{Client, RpcError};
use genesis::{Height, SecretKey};
use ledger::Did;

use process::signal;
pub use process::{cpu_ticks, memory_kib, written_bytes};
pub use watch::figure;

use crate::relay::{Door, Relay, dialler};

/// How long anything may take that takes a moment on an idle machine: tests wait for conditions, not for times.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Ports below those that the system hands out by itself.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
const PORTS_PER_CLUSTER: u16 = 100;

/// A local network.
#[derive(Debug)]
pub struct Cluster {
    folder: tempfile::TempDir,
    base: u16,
    /// Holds a port of the range, so that no other test takes the range.
    _claim: TcpListener,
    nodes: Vec<Option<Child>>,
    /// What the nodes' folders are called: the validators' first, then the observers', then copies.
    names: Vec<String>,
    /// What the nodes' processes are started with, beside what this one has.
    environment: Vec<Vec<(String, OsString)>>,
    /// The process ids of those that run, for the relay too.
    processes: Arc<Mutex<Vec<Option<u32>>>>,
    /// What stands between the nodes, if anything does.
    relay: Option<Relay>,
    /// Disks of nodes that have one of their own.
    disks: Vec<fault::SmallDisk>,
    /// Whether the nodes look into what they order.
    orders_only: bool,
}

/// The binary under test: built beside the tests.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    beside("realdid")
}

/// A program that was built beside the tests.
fn beside(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // A test stands in target/release/deps, a program of this package beside the binary.
    let folders = test.ancestors().skip(1).take(2);
    let binary = folders.map(|folder| folder.join(name)).find(|binary| binary.exists());
    binary.unwrap_or_else(|| panic!("no {name} near {}: cargo build --release --workspace", test.display()))
}

/// Runs `realdid` with `arguments`, to its end.
///
/// # Panics
/// When it cannot be started.
pub fn realdid(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("realdid starts")
}

/// What a run printed, both ways, for messages.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Cluster {
    /// Makes the folders of `validators` nodes and starts none.
    ///
    /// # Panics
    /// When that fails.
    pub fn prepare(validators: usize) -> Self {
        Self::prepare_with(validators, 0)
    }

    /// As [`Self::prepare`], with observers: they come after the validators.
    ///
    /// # Panics
    /// When that fails.
    pub fn prepare_with(validators: usize, observers: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (base, claim) = claim_ports();
        let names = (0..validators).map(|node| format!("node{node}"));
        let names: Vec<_> = names.chain((0..observers).map(|node| format!("observer{node}"))).collect();
        let cluster = Self::of(folder, (base, claim), names);
        let [validators, observers] = [validators, observers].map(|count| count.to_string());
        let (dir, port) = (cluster.folder.path().join("net"), base.to_string());
        let dir = dir.to_str().expect("a path in UTF-8");
        let count = ["--validators", &validators, "--observers", &observers];
        let made = realdid(&[&["testnet", "--dir", dir, "--base-port", &port], &count[..]].concat());
        assert!(made.status.success(), "{}", printed(&made));
        cluster
    }

    fn of(folder: tempfile::TempDir, (base, claim): (u16, TcpListener), names: Vec<String>) -> Self {
        Self {
            folder,
            base,
            _claim: claim,
            nodes: names.iter().map(|_| None).collect(),
            environment: vec![Vec::new(); names.len()],
            processes: Arc::new(Mutex::new(vec![None; names.len()])),
            names,
            relay: None,
            disks: Vec::new(),
            orders_only: false,
        }
    }

    /// As [`Self::prepare`], with a relay between the nodes: the genesis document names its doors as their addresses.
    ///
    /// # Panics
    /// When that fails.
    pub fn prepare_relayed(validators: usize, seed: u64) -> Self {
        let mut cluster = Self::prepare(validators);
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let addresses: Vec<_> = (0..validators)
            .map(|node| {
                let [p2p, _, metrics] = cluster.ports(node);
                [p2p, metrics + 1].map(at)
            })
            .collect();
        for [node, door] in &addresses {
            cluster.found_with(&format!("\"{node}\""), &format!("\"{door}\""));
        }
        let doors = addresses.into_iter().map(|[node, door]| Door {
            node,
            listener: TcpListener::bind(door).expect("a port of the cluster's range"),
        });
        let processes = Arc::clone(&cluster.processes);
        let whose = move |from, to| {
            let processes = processes.lock().unwrap_or_else(PoisonError::into_inner).clone();
            dialler::owner(from, to, &processes)
        };
        cluster.relay = Some(Relay::start(seed, doors.collect(), Arc::new(whose)));
        cluster
    }

    /// Puts `new` in the place of `old` in the genesis document of all nodes, before any was started.
    ///
    /// # Panics
    /// When a document cannot be read or written, or does not hold `old`.
    pub fn found_with(&self, old: &str, new: &str) {
        for node in 0..self.len() {
            let path = self.home(node).join("genesis.toml");
            let text = std::fs::read_to_string(&path).expect("a genesis document");
            assert!(text.contains(old), "{old} is not in the genesis document");
            std::fs::write(&path, text.replace(old, new)).expect("written");
        }
    }

    /// Starts a network and waits until each node is ready.
    pub async fn start(validators: usize) -> Self {
        let mut cluster = Self::prepare(validators);
        cluster.start_all_ready().await;
        cluster
    }

    /// As [`Self::start`], with observers: they come after the validators.
    pub async fn start_with(validators: usize, observers: usize) -> Self {
        let mut cluster = Self::prepare_with(validators, observers);
        cluster.start_all_ready().await;
        cluster
    }

    /// As [`Self::start`], with a relay between the nodes.
    pub async fn start_relayed(validators: usize, seed: u64) -> Self {
        let mut cluster = Self::prepare_relayed(validators, seed);
        cluster.start_all_ready().await;
        cluster
    }

    /// Starts all nodes that do not run, and waits until each is ready.
    pub async fn start_all_ready(&mut self) {
        self.start_all();
        for node in 0..self.nodes.len() {
            self.ready(node).await;
        }
    }

    /// The relay.
    ///
    /// # Panics
    /// When there is none.
    pub fn relay(&self) -> &Relay {
        self.relay.as_ref().expect("a cluster that was started with a relay")
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a cluster has at least one node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Gives a node's process an environment variable from its next start on.
    pub fn set_environment(&mut self, node: usize, name: &str, value: impl Into<OsString>) {
        self.environment[node].push((name.to_owned(), value.into()));
    }

    /// Takes all variables of [`Self::set_environment`] back, from the node's next start on.
    pub fn clear_environment(&mut self, node: usize) {
        self.environment[node].clear();
    }

    /// Starts all nodes that do not run.
    pub fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|node| self.start_node(node));
    }

    /// Starts a node that does not run.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_node(&mut self, node: usize) {
        if self.nodes[node].is_some() {
            return;
        }
        let log = File::options().create(true).append(true).open(self.log(node)).expect("a log file");
        let mut command = if self.orders_only {
            let mut command = Command::new(beside("opaque-node"));
            command.arg(self.home(node)).arg(format!("127.0.0.1:{}", self.items_port(node)));
            command
        } else {
            let mut command = Command::new(binary());
            command.arg("start").arg("--home").arg(self.home(node));
            command
        };
        let child = command
            .envs(self.environment[node].iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("realdid starts");
        self.running(node, Some(child.id()));
        self.nodes[node] = Some(child);
    }

    fn running(&self, node: usize, process: Option<u32>) {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)[node] = process;
    }

    /// The process of a running node, which is to end.
    fn take(&mut self, node: usize) -> Child {
        self.running(node, None);
        self.nodes[node].take().expect("the node runs")
    }

    /// Ends a node as a power cut would (SIGKILL).
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, node: usize) {
        let mut child = self.take(node);
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// Ends all nodes at once.
    pub fn kill_all(&mut self) {
        let running: Vec<_> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_some()).collect();
        let children: Vec<_> = running.into_iter().map(|node| self.take(node)).collect();
        let ids: Vec<String> = children.iter().map(|child| child.id().to_string()).collect();
        signal("-KILL", &ids);
        for mut child in children {
            child.wait().expect("wait");
        }
    }

    /// Asks a node to stop (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&mut self, node: usize) -> ExitStatus {
        signal("-TERM", &[self.pid(node).to_string()]);
        self.ended(node)
    }

    /// Waits for the end of a node that ends by itself.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn ended(&mut self, node: usize) -> ExitStatus {
        let mut child = self.take(node);
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                return status;
            }
            if Instant::now() >= end {
                self.nodes[node] = Some(child);
                panic!("node {node} does not end");
            }
            std::thread::sleep(POLL);
        }
    }

    /// Freezes a node's process (SIGSTOP): it keeps its connections and does nothing.
    pub fn pause(&self, node: usize) {
        signal("-STOP", &[self.pid(node).to_string()]);
    }

    /// Lets a frozen node go on (SIGCONT).
    pub fn resume(&self, node: usize) {
        signal("-CONT", &[self.pid(node).to_string()]);
    }

    /// The process id of a running node.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self, node: usize) -> u32 {
        self.nodes[node].as_ref().expect("the node runs").id()
    }

    /// Whether the process of a node has not ended.
    pub fn is_alive(&mut self, node: usize) -> bool {
        self.nodes[node].as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// A node's folder.
    pub fn home(&self, node: usize) -> PathBuf {
        self.folder.path().join("net").join(&self.names[node])
    }

    /// A folder for whatever a test writes.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// A node's log file.
    pub fn log(&self, node: usize) -> PathBuf {
        self.home(node).join("log")
    }

    /// A node's ports: p2p, RPC, metrics.
    pub fn ports(&self, node: usize) -> [u16; 3] {
        let port = self.base + 10 * node as u16;
        [port, port + 1, port + 2]
    }

    /// Has all nodes, from their next start on, order bytes that they do not look into (`node::opaque`), in the place of
    /// transactions.
    pub fn order_only(&mut self) {
        self.orders_only = true;
    }

    /// Where a node that only orders takes what it orders.
    pub fn items_port(&self, node: usize) -> u16 {
        // The one after is the relay's.
        self.ports(node)[2] + 2
    }

    /// The URL of a node's RPC.
    pub fn url(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports(node)[1])
    }

    /// A client of a node.
    ///
    /// # Panics
    /// Never: the URL is well formed.
    pub fn client(&self, node: usize) -> Client {
        Client::new(&self.url(node)).expect("a URL")
    }

    /// Waits until a node says that it is ready.
    pub async fn ready(&mut self, node: usize) {
        let port = self.ports(node)[2];
        eventually(&format!("node {node} is ready"), async || {
            get(port, "/health/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await;
    }

    /// Waits until a node has executed the block at `height`.
    pub async fn reaches(&self, node: usize, height: Height) {
        let client = self.client(node);
        eventually(&format!("node {node} reaches height {height}"), async || {
            client.status().await.is_ok_and(|status| status.height >= height)
        })
        .await;
    }

    /// Registers a DID through a node and waits for its receipt.
    ///
    /// # Panics
    /// When there is none in time, or it is not applied.
    pub async fn register(&self, node: usize) -> (Did, Receipt) {
        let (did, id) = self.submit(node).await.expect("submitted");
        let receipt = self.client(node).wait(&id, PATIENCE).await.expect("a receipt");
        assert!(receipt.is_applied(), "{receipt:?}");
        (did, receipt)
    }

    /// Submits a registration and does not wait.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn submit(&self, node: usize) -> Result<(Did, genesis::Digest), RpcError> {
        submit(&self.client(node)).await
    }
}

/// Submits a registration and does not wait.
///
/// # Errors
/// Those of the call.
pub async fn submit(client: &Client) -> Result<(Did, genesis::Digest), RpcError> {
    let status = client.status().await?;
    let expires_at = status.height.plus(wallet::LIFETIME.min(status.parameters.max_transaction_lifetime));
    let terms = Terms { network: status.network, chain: status.chain, expires_at };
    let (did, transaction) = wallet::registration(&terms, &SecretKey::generate());
    let submitted = client.submit(&genesis::encoding::encode(&transaction)).await?;
    Ok((did, submitted.id))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for mut child in self.nodes.iter_mut().filter_map(Option::take) {
            // One that has ended by itself needs no killing.
            let _ = child.kill();
            let _ = child.wait();
        }
        // Nothing uses them any more; under a mount the folder could not be removed.
        self.disks.clear();
        if std::thread::panicking() {
            for node in 0..self.nodes.len() {
                let log = std::fs::read_to_string(self.log(node)).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                eprintln!("--- {}\n{}", self.names[node], lines[lines.len().saturating_sub(15)..].join("\n"));
            }
        }
    }
}

/// Waits until `holds`, for at most [`PATIENCE`].
///
/// # Panics
/// When the time is up; names `what`.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

/// A GET over plain HTTP on this machine; the answer with its head.
pub fn get(port: u16, path: &str) -> Option<String> {
    send(port, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A POST of `body` to a node's RPC; the answer with its head.
pub fn post(port: u16, body: &[u8]) -> Option<String> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    send(port, &[head.as_bytes(), body].concat())
}

/// Sends bytes to a port and reads until the other side closes. None where there is no answer.
pub fn send(port: u16, bytes: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    // The node may close before it has read everything; its answer counts all the same.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

fn claim_ports() -> (u16, TcpListener) {
    // Tests run as processes side by side: start at different places, and move on where a range is taken.
    let ranges = (PORTS.end - PORTS.start) / PORTS_PER_CLUSTER;
    let first = (std::process::id() % u32::from(ranges)) as u16;
    for turn in 0..ranges {
        let base = PORTS.start + (first + turn) % ranges * PORTS_PER_CLUSTER;
        if let Ok(claim) = claim_range(base) {
            return (base, claim);
        }
    }
    panic!("no ports are free between {} and {}", PORTS.start, PORTS.end);
}

/// Takes the range of ports that begins with `base`.
fn claim_range(base: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", base + PORTS_PER_CLUSTER - 1))
}
