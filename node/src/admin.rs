//! What the operator asks of a node at work, over a Unix socket in its folder: a copy of the ledger, a snapshot.
//!
//! A request is a line of JSON ([`Request`]), the answer another one ([`Reply`]); then the node closes. Invariants: only this user can
//! open the socket (its folder has mode 0700); nothing that is asked for here is on a public port; at most [`AT_ONCE`] requests are
//! worked on at a time.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use genesis::{Genesis, Height};
use ledger::Store;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::disk::{Disk, Space};
use crate::home::Home;
use crate::snapshot::{Shelf, keeper};

/// How many requests are worked on at a time.
const AT_ONCE: usize = 4;
/// The most bytes of a request.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// How long a request's line may take.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// A copy of the ledger in this new directory: an absolute path.
    Backup {
        /// Where to.
        to: PathBuf,
    },
    /// A snapshot of the newest certified block.
    Snapshot,
    /// How much room there is on the disk.
    Room,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done {
        /// The block that it was made after.
        height: Height,
        /// Where it is.
        path: PathBuf,
        /// How many bytes it has, where that is known.
        bytes: Option<u64>,
    },
    /// How much room there is.
    Room(Space),
    /// It is not, and why.
    Failed(String),
}

/// The node's side, before it serves.
pub struct Admin {
    listener: UnixListener,
}

/// What requests are answered from.
#[derive(Clone)]
pub struct Office {
    /// The ledger.
    pub store: Arc<Store>,
    /// The network's genesis document.
    pub genesis: Arc<Genesis>,
    /// The snapshots.
    pub shelf: Shelf,
    /// The disk under the node's data.
    pub disk: Arc<Disk>,
    /// The node stops.
    pub stop: CancellationToken,
}

impl Admin {
    /// Opens the socket of the node in `home`, which this process has locked.
    ///
    /// # Errors
    /// When it cannot be made, for example because its path is too long for a socket.
    pub fn open(home: &Home) -> anyhow::Result<Self> {
        let (folder, path) = (home.run_folder(), home.admin_socket());
        if !folder.is_dir() {
            fs::DirBuilder::new().mode(0o700).create(&folder).with_context(|| cannot_make(&folder))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
            .with_context(|| cannot_make(&folder))?;
        // What a node left that was killed: the lock says that none runs.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| cannot_make(&path));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(|| {
            format!(
                "{}; the path of a socket has at most 107 bytes: give the node a shorter --home",
                cannot_make(&path)
            )
        })?;
        Ok(Self { listener })
    }

    /// Answers requests until the node stops.
    pub async fn run(self, office: Office) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let office = office.clone();
                    tokio::spawn(async move {
                        let _place = place;
                        if let Err(error) = serve(stream, office).await {
                            tracing::warn!(%error, "a request on the socket for administration was not answered");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the socket for administration");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn serve(stream: UnixStream, office: Office) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(MAX_LINE_BYTES));
    tokio::time::timeout(ASKED_WITHIN, reader.read_line(&mut line)).await??;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => match tokio::task::spawn_blocking(move || answer(&office, request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => Reply::Failed(format!("{error:#}")),
            Err(_) => Reply::Failed("a mistake in this program: the node's log says more".into()),
        },
        Err(error) => Reply::Failed(format!("this is no request: {error}")),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

fn answer(office: &Office, request: Request) -> anyhow::Result<Reply> {
    match request {
        Request::Backup { to } => {
            anyhow::ensure!(to.is_absolute(), "{} is no absolute path", to.display());
            let tip = office.store.backup(&to)?;
            tracing::info!(height = %tip.height, path = %to.display(), "made a backup");
            Ok(Reply::Done { height: tip.height, path: to, bytes: None })
        }
        Request::Snapshot => {
            let (folder, height, bytes) =
                keeper::now(&office.store, &office.genesis, &office.shelf, &office.stop)?;
            tracing::info!(%height, bytes, path = %folder.path().display(), "made a snapshot");
            Ok(Reply::Done { height, path: folder.path().to_owned(), bytes: Some(bytes) })
        }
        Request::Room => Ok(Reply::Room(office.disk.space())),
    }
}

/// Asks the node that runs in `home` for a copy or a snapshot; none where none runs.
///
/// # Errors
/// When the node is there and does not answer, or what it was asked for failed.
pub fn ask(home: &Home, request: &Request) -> anyhow::Result<Option<(Height, PathBuf, Option<u64>)>> {
    // A copy takes as long as it takes.
    match exchange(home, request, None)? {
        Some(Reply::Done { height, path, bytes }) => Ok(Some((height, path, bytes))),
        Some(other) => Err(unexpected(&other)),
        None => Ok(None),
    }
}

/// How much room the node that runs in `home` has on its disk; none where none runs.
///
/// # Errors
/// When the node is there and does not answer, or cannot say.
pub fn room(home: &Home) -> anyhow::Result<Option<Space>> {
    match exchange(home, &Request::Room, Some(ASKED_WITHIN))? {
        Some(Reply::Room(room)) => Ok(Some(room)),
        Some(other) => Err(unexpected(&other)),
        None => Ok(None),
    }
}

fn unexpected(reply: &Reply) -> anyhow::Error {
    match reply {
        Reply::Failed(why) => anyhow::anyhow!("{why}"),
        other => anyhow::anyhow!("the node answered {other:?}: is it of another version than this program?"),
    }
}

/// What the node answers, within `patience` if that is bounded.
fn exchange(home: &Home, request: &Request, patience: Option<Duration>) -> anyhow::Result<Option<Reply>> {
    let path = home.admin_socket();
    let mut stream = match std::os::unix::net::UnixStream::connect(&path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        stream => stream.with_context(|| format!("cannot reach the node at {}", path.display()))?,
    };
    stream.set_read_timeout(patience)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = String::new();
    let read = BufReader::new(stream.take(MAX_LINE_BYTES)).read_line(&mut reply);
    read.with_context(|| format!("the node does not answer at {}", path.display()))?;
    let reply = serde_json::from_str(&reply);
    reply.context("the node stopped before it had answered: its log says why").map(Some)
}

fn cannot_make(path: &Path) -> String {
    format!("cannot make {}", path.display())
}

#[cfg(test)]
mod tests;
