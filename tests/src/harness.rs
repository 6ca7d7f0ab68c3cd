//! A network of real processes: the `realdid` binary, in folders, on ports and with keys of their own.
//!
//! Nothing is mocked. Nodes are killed and started by their process ids; whatever still runs when a [`Cluster`] is
//! dropped is killed, and if its test failed, the last lines of each log are shown.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use client::api::Receipt;
use client::wallet::{self, Terms};
use client::{Client, RpcError};
use genesis::{Height, SecretKey};
use ledger::Did;

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
}

/// The binary under test: built beside the tests.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().and_then(Path::parent).expect("target/release/deps/test");
    let binary = folder.join("realdid");
    assert!(binary.exists(), "{} is missing: cargo build --release --workspace", binary.display());
    binary
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
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (base, claim) = claim_ports();
        let cluster = Self { folder, base, _claim: claim, nodes: (0..validators).map(|_| None).collect() };
        let (count, port) = (validators.to_string(), base.to_string());
        let dir = cluster.folder.path().join("net");
        let dir = dir.to_str().expect("a path in UTF-8");
        let made = realdid(&["testnet", "--validators", &count, "--dir", dir, "--base-port", &port]);
        assert!(made.status.success(), "{}", printed(&made));
        cluster
    }

    /// Starts a network and waits until each node is ready.
    pub async fn start(validators: usize) -> Self {
        let mut cluster = Self::prepare(validators);
        cluster.start_all();
        for node in 0..validators {
            cluster.ready(node).await;
        }
        cluster
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
        let child = Command::new(binary())
            .arg("start")
            .arg("--home")
            .arg(self.home(node))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("realdid starts");
        self.nodes[node] = Some(child);
    }

    /// Ends a node as a power cut would (SIGKILL).
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, node: usize) {
        let mut child = self.nodes[node].take().expect("the node runs");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// Ends all nodes at once.
    pub fn kill_all(&mut self) {
        let children: Vec<_> = self.nodes.iter_mut().filter_map(Option::take).collect();
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
        let mut child = self.nodes[node].take().expect("the node runs");
        signal("-TERM", &[child.id().to_string()]);
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < end, "node {node} does not stop");
            std::thread::sleep(POLL);
        }
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
        self.folder.path().join("net").join(format!("node{node}"))
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
    let expires_at = status.height.plus(wallet::LIFETIME);
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
        if std::thread::panicking() {
            for node in 0..self.nodes.len() {
                let log = std::fs::read_to_string(self.log(node)).unwrap_or_default();
                let lines: Vec<_> = log.lines().collect();
                eprintln!("--- node {node}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
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

/// A figure of a process from /proc/PID/status, in KiB, such as `VmRSS`.
pub fn memory_kib(pid: u32, figure: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(figure))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The processor time that a process has used, in clock ticks (usually 10 ms).
pub fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces: the fields after it are counted from there.
    let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn signal(signal: &str, ids: &[String]) {
    if !ids.is_empty() {
        let done = Command::new("kill").arg(signal).args(ids).status().expect("kill");
        assert!(done.success(), "kill {signal} {ids:?}");
    }
}

fn claim_ports() -> (u16, TcpListener) {
    // Tests run as processes side by side: start at different places, and move on where a range is taken.
    let ranges = (PORTS.end - PORTS.start) / PORTS_PER_CLUSTER;
    let first = (std::process::id() % u32::from(ranges)) as u16;
    for turn in 0..ranges {
        let base = PORTS.start + (first + turn) % ranges * PORTS_PER_CLUSTER;
        if let Ok(claim) = TcpListener::bind(("127.0.0.1", base + PORTS_PER_CLUSTER - 1)) {
            return (base, claim);
        }
    }
    panic!("no ports are free between {} and {}", PORTS.start, PORTS.end);
}
