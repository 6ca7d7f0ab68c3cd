//! Carries connections: one pump a direction, each a reader that stamps what it reads with the time at which it is due,
//! and a writer that waits for that time and for the path.
//!
//! Invariant: bytes keep their order, and none is dropped while the connection lasts. What is under way is bounded; beyond
//! it the reader stops, and the sender sees a full window, as it would.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Door, Figures, Passage, Path, Paths, Whose};
use crate::simulation::chance::Chance;

/// What is read at a time.
const CHUNK: usize = 16 << 10;
/// Chunks under way in one direction: 4 MiB, a wide window.
const WINDOW: usize = 256;
/// When a dial that was lost is tried again; doubled each time.
const DIAL_AGAIN: Duration = Duration::from_secs(1);
/// When data that was lost is sent again; doubled each time.
const SEND_AGAIN: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// What all connections share.
#[derive(Clone)]
pub(super) struct Shared {
    pub seed: u64,
    pub paths: watch::Receiver<Paths>,
    pub lines: Lines,
    pub figures: Arc<Figures>,
    pub whose: Arc<Whose>,
}

/// Until when each path is busy with what was sent before, by who sends and who receives.
#[derive(Clone)]
pub(super) struct Lines(Arc<Vec<Vec<Mutex<Instant>>>>);

impl Lines {
    pub(super) fn new(nodes: usize) -> Self {
        let now = Instant::now();
        let row = || (0..nodes).map(|_| Mutex::new(now)).collect();
        Self(Arc::new((0..nodes).map(|_| row()).collect()))
    }

    /// When the last of `bytes` has left, behind all that was sent on this path before.
    fn sent(&self, from: usize, to: usize, bytes: usize, rate_bytes: Option<NonZeroU64>) -> Instant {
        let now = Instant::now();
        let Some(rate) = rate_bytes else { return now };
        let mut free = self.0[from][to].lock().unwrap_or_else(PoisonError::into_inner);
        *free = now.max(*free) + Duration::from_secs_f64(bytes as f64 / rate.get() as f64);
        *free
    }
}

/// One direction of one connection.
struct Way {
    from: usize,
    to: usize,
    shared: Shared,
}

/// Bytes under way; none at the end of the stream.
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

/// Takes in all who dial `node`.
pub(super) async fn attend(node: usize, door: Door, shared: Shared) {
    door.listener.set_nonblocking(true).expect("a socket that can be waited for");
    let listener = TcpListener::from_std(door.listener).expect("a listener");
    let address = listener.local_addr().expect("its address");
    for connection in 0_u64.. {
        // A dialler that gave up, at worst: the next one is not its business.
        let Ok((dialled, from)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut dialler = (shared.whose)(from, address);
            // The process may have dialled before whoever started it could note its number.
            for _ in 0..10 {
                if dialler.is_some() {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
                dialler = (shared.whose)(from, address);
            }
            match dialler {
                Some(dialler) => carry(dialled, dialler, node, door.node, connection, shared).await,
                None => {
                    shared.figures.strangers.fetch_add(1, Relaxed);
                }
            }
        });
    }
}

async fn carry(
    dialled: TcpStream,
    dialler: usize,
    node: usize,
    address: std::net::SocketAddr,
    connection: u64,
    shared: Shared,
) {
    let out = Way { from: dialler, to: node, shared: shared.clone() };
    let back = Way { from: node, to: dialler, shared: shared.clone() };
    let mut closed = shared.paths.clone();
    let cut = closed.wait_for(|paths| {
        [paths[dialler][node], paths[node][dialler]].iter().any(|path| path.passage == Passage::Closed)
    });
    let seed = shared.seed ^ (connection << 16) ^ ((dialler as u64) << 8) ^ node as u64;
    let carried = async {
        // A refused segment of a small message must not wait for the next one: as the nodes set it on their own ends.
        dialled.set_nodelay(true).ok();
        let (read, write) = dialled.into_split();
        let (sender, chunks) = mpsc::channel(WINDOW);
        let reading = out.read(read, sender, Chance::new(seed));
        tokio::pin!(reading);
        let connected = tokio::select! {
            connected = out.dial(&back, address, Chance::new(!seed)) => connected,
            // The dialler is gone before there was a connection.
            () = &mut reading => return,
        };
        let Some(stream) = connected else { return };
        let (other_read, other_write) = stream.into_split();
        let (other_sender, other_chunks) = mpsc::channel(WINDOW);
        tokio::join!(
            reading,
            out.write(other_write, chunks),
            back.read(other_read, other_sender, Chance::new(seed.rotate_left(32))),
            back.write(write, other_chunks),
        );
    };
    tokio::select! {
        () = carried => {}
        _ = cut => {}
    }
}

impl Way {
    fn path(&self) -> Path {
        self.shared.paths.borrow()[self.from][self.to]
    }

    /// Connects to the node, as soon as a greeting and its answer pass. None where nobody listens there.
    async fn dial(
        &self,
        back: &Self,
        address: std::net::SocketAddr,
        mut chance: Chance,
    ) -> Option<TcpStream> {
        let mut pause = DIAL_AGAIN;
        while [self, back].iter().any(|way| way.path().passage == Passage::Silent) {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let round_trip = [self, back].map(|way| way.path().weather.crossing(1, &mut chance));
        sleep(round_trip.into_iter().sum()).await;
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }

    async fn read(&self, mut from: OwnedReadHalf, to: mpsc::Sender<Chunk>, mut chance: Chance) {
        let mut due = Instant::now();
        let mut buffer = vec![0; CHUNK];
        loop {
            // A connection that broke ends as one that was closed does.
            let count = from.read(&mut buffer).await.unwrap_or(0);
            let weather = self.path().weather;
            let sent = self.shared.lines.sent(self.from, self.to, count, weather.rate_bytes);
            due = due.max(sent + weather.crossing(count.max(1), &mut chance));
            let chunk = Chunk { due, bytes: buffer[..count].to_vec() };
            if to.send(chunk).await.is_err() || count == 0 {
                return;
            }
        }
    }

    async fn write(&self, mut to: OwnedWriteHalf, mut chunks: mpsc::Receiver<Chunk>) {
        let mut broken = false;
        while let Some(Chunk { due, bytes }) = chunks.recv().await {
            sleep_until(due).await;
            let mut pause = SEND_AGAIN;
            while self.path().passage == Passage::Silent {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            if bytes.is_empty() {
                break;
            }
            // Where the receiver is gone, its own direction says so; what is still sent to it is lost.
            broken = broken || to.write_all(&bytes).await.is_err();
            self.shared.figures.bytes[self.from][self.to].fetch_add(bytes.len() as u64, Relaxed);
        }
        // An error means that the receiver is gone.
        let _ = to.shutdown().await;
    }
}
