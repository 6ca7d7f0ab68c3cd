//! How opaque items reach a node that only orders (`node::opaque`), and how it tells what became of them.

use std::io;

use node::opaque::{ANSWER_BYTES, Fate};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The way in. Items are numbered from 0 in the order sent.
#[derive(Debug)]
pub struct Sender(OwnedWriteHalf);

/// The way back.
#[derive(Debug)]
pub struct Answers(BufReader<OwnedReadHalf>);

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What.
    pub fate: Fate,
    /// The number of its first item.
    pub first: u64,
    /// How many it has.
    pub count: u32,
}

/// Connects to the node whose clients come to `port`, for items of `item_bytes` each.
///
/// # Errors
/// When the node cannot be reached.
pub async fn connect(port: u16, item_bytes: u32) -> io::Result<(Sender, Answers)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    writer.write_all(&item_bytes.to_le_bytes()).await?;
    Ok((Sender(writer), Answers(BufReader::new(reader))))
}

impl Sender {
    /// Sends a chunk of `count` items.
    ///
    /// # Errors
    /// When the node closed the connection.
    pub async fn send(&mut self, count: u32, items: &[u8]) -> io::Result<()> {
        self.0.write_all(&count.to_le_bytes()).await?;
        self.0.write_all(items).await
    }
}

impl Answers {
    /// The next answer.
    ///
    /// # Errors
    /// When the node closed the connection, or gives an answer that is none.
    pub async fn next(&mut self) -> io::Result<Answer> {
        let mut bytes = [0; ANSWER_BYTES];
        self.0.read_exact(&mut bytes).await?;
        let [fate, count] = [0, 4].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte])));
        let first = u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| bytes[8 + byte]));
        let fates = [Fate::Refused, Fate::Final, Fate::Expired];
        let fate = fates.into_iter().find(|known| *known as u32 == fate);
        let fate = fate.ok_or_else(|| io::Error::other("an answer names no fate"))?;
        Ok(Answer { fate, first, count })
    }
}
