//! Bytes that nobody looks into, in the place of transactions: what remains of a node then is the ordering, which
//! `scripts/bench --ordering` measures. The same batches, stores, votes and blocks; no signature of a client, no execution.
//!
//! A client connects over TCP and says how long each of its items is (four bytes); then it sends chunks: a count (four bytes) and as many
//! items. For each chunk it is told once, in [`ANSWER_BYTES`] bytes, what became of it ([`Fate`]); items are numbered
//! from 0 in the order sent. Integers are little-endian.
//!
//! Invariants:
//! - Only [`crate::node::run_opaque`] makes one, and no setting, flag or command of `realdid` leads there.
//! - A chunk is answered [`Fate::Final`] only after the block that names its batch is in this node's ledger.
//! - What waits is bounded: a chunk beyond [`MAX_WAITING_BYTES`] is refused, a client that does not read its answers is cut off.
//!
//! Left to the batcher: when a batch is sealed. To the mempool: which batches are this node's own.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use genesis::encoding::{decode, encode};
use genesis::{Digest, Genesis, Height, PublicKey};
use ledger::BatchError;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::mempool::{Load, Mempool};

/// What a batch's bytes have before its items.
pub const HEADER_BYTES: usize = 36 + 8 + 8;
/// What an answer has: what became of the chunk (four bytes), how many items it has (four), the number of its first item (eight).
pub const ANSWER_BYTES: usize = 16;
/// The most bytes that wait for a batch.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// What a chunk costs beside its items.
const CHUNK_BYTES: usize = 128;
/// The most clients at a time.
const MAX_CLIENTS: usize = 64;
/// How long it waits after trouble with a connection.
const AFTER_TROUBLE: Duration = Duration::from_millis(100);
/// The most answers that wait for a client to read them.
const MAX_ANSWERS: usize = 16_384;

/// What the batches of a network hold.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Signed transactions: checked before a batch is kept, executed when a block names it.
    Transactions,
    /// Bytes that are only ordered.
    Opaque(Arc<Opaque>),
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Too much waits here: it was not taken.
    Refused = 0,
    /// A block that names it is final, and in this node's ledger.
    Final = 1,
    /// No block named it in time, and none will.
    Expired = 2,
}

/// What a batch begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The network key of the node that made it.
    pub author: PublicKey,
    /// The author's count of batches.
    pub sequence: u64,
    /// The last height of a block that may name it.
    pub expires_at: Height,
}

/// A chunk of a client's items.
#[derive(Debug)]
struct Chunk {
    client: mpsc::Sender<[u8; ANSWER_BYTES]>,
    first: u64,
    count: u32,
}

/// What clients of this node have sent, until it is final.
#[derive(Debug)]
pub struct Opaque {
    content: Mutex<Content>,
    changed: Notify,
    batch_bytes: usize,
}

#[derive(Debug, Default)]
struct Content {
    waiting: VecDeque<(Chunk, Vec<u8>)>,
    waiting_bytes: usize,
    /// Since when the oldest that waits does.
    oldest: Option<Instant>,
    /// In batches, by their digests.
    sealed: HashMap<Digest, Vec<Chunk>>,
}

/// Why a client is served no longer.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error(
        "a chunk of {count} items of {item} bytes; it must have 1 item at least, and at most {most} bytes"
    )]
    Size { count: u32, item: u32, most: usize },
    #[error("{MAX_ANSWERS} answers wait for it")]
    Deaf,
}

impl Header {
    /// Reads what a batch begins with.
    ///
    /// # Errors
    /// When the bytes do not begin with one, or are more than the network allows.
    pub fn read(bytes: &[u8], genesis: &Genesis) -> Result<Self, BatchError> {
        let most = genesis.parameters().max_batch_bytes;
        if bytes.len() as u64 > most {
            return Err(BatchError::TooLarge { length: bytes.len(), most });
        }
        Ok(decode(bytes.get(..HEADER_BYTES).unwrap_or(bytes), HEADER_BYTES)?)
    }
}

impl Chunk {
    /// Whether the client takes the answer.
    fn answer(&self, fate: Fate) -> Result<(), Cut> {
        let mut answer = [0; ANSWER_BYTES];
        answer[..4].copy_from_slice(&(fate as u32).to_le_bytes());
        answer[4..8].copy_from_slice(&self.count.to_le_bytes());
        answer[8..].copy_from_slice(&self.first.to_le_bytes());
        self.client.try_send(answer).map_err(|_| Cut::Deaf)
    }
}

impl Opaque {
    /// Nothing yet, on a network with this genesis.
    pub fn new(genesis: &Genesis) -> Self {
        let batch_bytes = usize::try_from(genesis.parameters().max_batch_bytes).unwrap_or(usize::MAX);
        Self { content: Mutex::default(), changed: Notify::new(), batch_bytes }
    }

    /// A batch of this size does not wait for more.
    pub fn full_bytes(&self) -> usize {
        (self.batch_bytes - HEADER_BYTES) / 2
    }

    /// What waits here, with the batches that the mempool knows to be under way.
    pub fn load(&self, mempool: Load) -> Load {
        let content = self.lock();
        Load { queued_bytes: content.waiting_bytes, oldest: content.oldest, ..mempool }
    }

    /// Resolves when something came since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Makes a batch of what waits, as much as fits; none where nothing does. What is in it is answered once its fate is known.
    pub fn seal(&self, header: &Header, mempool: &Mempool) -> Option<(Digest, Arc<[u8]>)> {
        let mut content = self.lock();
        let mut fitting = 0;
        let fits = |(_, items): &&(Chunk, Vec<u8>)| {
            fitting += items.len();
            HEADER_BYTES + fitting <= self.batch_bytes
        };
        let count = content.waiting.iter().take_while(fits).count();
        let taken: Vec<_> = content.waiting.drain(..count).collect();
        let length: usize = taken.iter().map(|(_, items)| items.len()).sum();
        content.waiting_bytes -= length;
        content.oldest = content.waiting.front().map(|_| Instant::now());
        drop(content);
        if taken.is_empty() {
            return None;
        }
        let mut bytes = encode(header);
        bytes.reserve_exact(length);
        let chunks = taken.into_iter().map(|(chunk, items)| {
            bytes.extend_from_slice(&items);
            chunk
        });
        let chunks = chunks.collect();
        let digest = ledger::CheckedBatch::digest_of(&bytes);
        self.lock().sealed.insert(digest, chunks);
        mempool.sealed(digest, Vec::new());
        Some((digest, bytes.into()))
    }

    /// A block that names these batches is in the ledger.
    pub fn executed(&self, batches: &[Digest]) {
        let mut content = self.lock();
        let chunks: Vec<_> = batches.iter().filter_map(|batch| content.sealed.remove(batch)).collect();
        drop(content);
        for chunk in chunks.iter().flatten() {
            // Who does not read is cut off by its own connection's task.
            let _ = chunk.answer(Fate::Final);
        }
    }

    /// Answers for batches that expired before a block named them: the mempool no longer knows them. To be called by who seals.
    pub fn give_up_expired(&self, mempool: &Mempool) {
        let mut content = self.lock();
        let gone: Vec<_> = content.sealed.extract_if(|batch, _| !mempool.is_sealed(batch)).collect();
        drop(content);
        for chunk in gone.iter().flat_map(|(_, chunks)| chunks) {
            let _ = chunk.answer(Fate::Expired);
        }
    }

    /// Serves clients until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                    Ok((stream, from)) => {
                        let this = Arc::clone(&self);
                        clients.spawn(async move {
                            let Err(cut) = this.client(stream).await else { return };
                            tracing::info!(%from, %cut, "a client of opaque items is gone");
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting clients: trouble");
                        tokio::time::sleep(AFTER_TROUBLE).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }

    async fn client(&self, stream: TcpStream) -> Result<(), Cut> {
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.into_split();
        let (client, mut answers) = mpsc::channel::<[u8; ANSWER_BYTES]>(MAX_ANSWERS);
        let write = async {
            let mut ready = Vec::new();
            while answers.recv_many(&mut ready, 256).await > 0 {
                writer.write_all(ready.as_flattened()).await?;
                ready.clear();
            }
            Ok(())
        };
        let read = async {
            let (item, mut first) = (reader.read_u32_le().await?, 0);
            loop {
                let count = reader.read_u32_le().await?;
                let length = u64::from(count) * u64::from(item);
                let most = self.batch_bytes - HEADER_BYTES;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length == 0 || length > most {
                    return Err(Cut::Size { count, item, most });
                }
                let mut items = Vec::new();
                (&mut reader).take(length as u64).read_to_end(&mut items).await?;
                if items.len() < length {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                self.take(Chunk { client: client.clone(), first, count }, items)?;
                first += u64::from(count);
            }
        };
        tokio::select! {
            ended = read => ended,
            ended = write => ended,
        }
    }

    fn take(&self, chunk: Chunk, items: Vec<u8>) -> Result<(), Cut> {
        let mut content = self.lock();
        if content.waiting_bytes + items.len() + CHUNK_BYTES * (content.waiting.len() + 1) > MAX_WAITING_BYTES
        {
            drop(content);
            return chunk.answer(Fate::Refused);
        }
        content.waiting_bytes += items.len();
        content.oldest.get_or_insert_with(Instant::now);
        content.waiting.push_back((chunk, items));
        drop(content);
        self.changed.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
