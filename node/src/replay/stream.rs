//! A chain as one stream of bytes, in a file or a pipe: a header, then frames, the last of which says how many blocks there were.
//!
//! A frame is a `u32` little-endian length and so many bytes, which are the encoding of a [`Frame`]. Each range of blocks is
//! followed by the batches that its blocks name, one a frame, in the order in which they are executed.
//!
//! Invariant: no more than [`MAX_FRAME_BYTES`] are held at a time, and none that did not come, whatever the stream says.
//!
//! Left to [`super::Replay`]: what of it is true.

use std::io::{self, ErrorKind, Read, Write};

use genesis::encoding::{DecodeError, byte_list, decode, encode};
use genesis::{Digest, Height};
use serde::{Deserialize, Serialize};

use super::{ReplayError, Source};
use crate::wire::{MAX_ANSWER_BYTES, Range};

/// What a stream begins with.
const MAGIC: [u8; 16] = *b"realdid chain\r\n\0";
/// The version of the form above. Another one is refused.
pub const FORMAT: u32 = 1;
/// The most bytes in a frame.
pub const MAX_FRAME_BYTES: usize = MAX_ANSWER_BYTES;

/// What a stream is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The chain's id.
    pub chain: Digest,
    /// The height of its first block.
    pub first: Height,
}

/// A part of a stream. The order of the variants is part of the encoding.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "made and taken apart at once, never kept in numbers")]
pub enum Frame {
    /// Final blocks of one epoch with what proves them, as nodes give them to one another. Its checkpoint is the newest of a block of
    /// the range, where there is one: that of the last block, where it closes the epoch.
    Blocks(Range),
    /// The next batch that these blocks name: its bytes.
    Batch(#[serde(with = "byte_list")] Vec<u8>),
    /// The end, and how many blocks there were.
    End(u64),
}

/// Why a stream cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The system refuses.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It begins with something else.
    #[error("it is no exported chain: name a file that `realdid chain export` made")]
    NotAChain,
    /// It was made by a build with another form.
    #[error(
        "it has format {found}, but this build reads format {FORMAT}: use a build of the kind that made it"
    )]
    OtherFormat {
        /// Its format.
        found: u32,
    },
    /// There is less than it needs.
    #[error(
        "it ends at byte {at}, before its end was said: it was cut off. Copy it, or export the chain, again"
    )]
    Cut {
        /// How many bytes there are.
        at: u64,
    },
    /// A length that no frame has.
    #[error(
        "its frame at byte {at} says that it has {length} bytes, more than any: it is damaged. Copy it, or export the chain, again"
    )]
    TooLong {
        /// Where the frame begins.
        at: u64,
        /// What it says.
        length: u32,
    },
    /// Bytes that are no frame.
    #[error("its frame at byte {at} is damaged: {problem}. Copy it, or export the chain, again")]
    Malformed {
        /// Where the frame begins.
        at: u64,
        /// What is wrong.
        problem: DecodeError,
    },
    /// A frame in the place of another.
    #[error(
        "its frame at byte {at} is {found}, where {expected} must come: it is damaged. Copy it, or export the chain, again"
    )]
    OutOfOrder {
        /// Where the frame begins.
        at: u64,
        /// What it is.
        found: &'static str,
        /// What must come.
        expected: &'static str,
    },
    /// Blocks are missing, or too many.
    #[error(
        "it has {found} blocks, but says at its end that there are {told}: it is damaged. Copy it, or export the chain, again"
    )]
    Count {
        /// How many came.
        found: u64,
        /// What it says.
        told: u64,
    },
    /// More than a stream.
    #[error(
        "something follows after its end, at byte {at}: it is damaged. Copy it, or export the chain, again"
    )]
    Trailing {
        /// Where.
        at: u64,
    },
}

impl Frame {
    const fn name(&self) -> &'static str {
        match self {
            Self::Blocks(_) => "blocks",
            Self::Batch(_) => "a batch",
            Self::End(_) => "the end",
        }
    }
}

/// Reads a whole stream, and says what it is about and how many blocks it has. Believes none of them: for tests of the
/// form alone.
///
/// # Errors
/// When the bytes are no stream. Allocates in proportion to them.
pub fn decode_all(bytes: &[u8]) -> Result<(Header, u64), StreamError> {
    let mut reader = Reader::new(bytes)?;
    let mut batches = 0_usize;
    loop {
        let frame = reader.frame()?;
        let expected = if batches > 0 { "a batch" } else { "blocks" };
        match frame {
            Frame::Blocks(range) if batches == 0 => batches = reader.count(&range),
            Frame::Batch(_) if batches > 0 => batches -= 1,
            Frame::End(told) if batches == 0 => {
                reader.end(told)?;
                return Ok((reader.header(), told));
            }
            frame => return Err(reader.out_of_order(&frame, expected)),
        }
    }
}

/// Reads a stream.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    /// How many bytes were read.
    at: u64,
    /// Where the newest frame begins.
    began: u64,
    /// How many blocks came.
    blocks: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the stream cannot be read, or is none.
    pub fn new(input: R) -> Result<Self, StreamError> {
        let header = Header { chain: Digest::ZERO, first: Height::ZERO };
        let mut reader = Self { input, header, at: 0, began: 0, blocks: 0, ended: false };
        let length = encode(&(MAGIC, FORMAT)).len();
        let bytes = match reader.take(length) {
            Err(StreamError::Cut { .. }) => return Err(StreamError::NotAChain),
            bytes => bytes?,
        };
        let malformed = |problem| StreamError::Malformed { at: 0, problem };
        let (magic, found): ([u8; 16], u32) = decode(&bytes, length).map_err(malformed)?;
        if magic != MAGIC {
            return Err(StreamError::NotAChain);
        }
        if found != FORMAT {
            return Err(StreamError::OtherFormat { found });
        }
        let length = encode(&header).len();
        reader.header = decode(&reader.take(length)?, length).map_err(malformed)?;
        Ok(reader)
    }

    /// What the stream is about.
    pub const fn header(&self) -> Header {
        self.header
    }

    fn frame(&mut self) -> Result<Frame, StreamError> {
        self.began = self.at;
        let bytes = self.take(4)?;
        let length = decode(&bytes, 4).map_err(|problem| self.malformed(problem))?;
        if length as usize > MAX_FRAME_BYTES {
            return Err(StreamError::TooLong { at: self.began, length });
        }
        let bytes = self.take(length as usize)?;
        decode(&bytes, MAX_FRAME_BYTES).map_err(|problem| self.malformed(problem))
    }

    /// Exactly so many bytes. What is allocated grows with what comes.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, StreamError> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        if bytes.len() < length {
            return Err(StreamError::Cut { at: self.at });
        }
        Ok(bytes)
    }

    fn malformed(&self, problem: DecodeError) -> StreamError {
        StreamError::Malformed { at: self.began, problem }
    }

    /// Counts the blocks of a range; how many batches follow.
    fn count(&mut self, range: &Range) -> usize {
        self.blocks += range.candidates.len() as u64;
        range.candidates.iter().map(|block| block.payload.len()).sum()
    }

    const fn out_of_order(&self, found: &Frame, expected: &'static str) -> StreamError {
        StreamError::OutOfOrder { at: self.began, found: found.name(), expected }
    }

    fn end(&mut self, told: u64) -> Result<(), StreamError> {
        self.ended = true;
        if told != self.blocks {
            return Err(StreamError::Count { found: self.blocks, told });
        }
        match self.take(1) {
            Ok(_) => Err(StreamError::Trailing { at: self.at - 1 }),
            Err(StreamError::Cut { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl<R: Read> Source for Reader<R> {
    fn range(&mut self) -> Result<Option<Range>, ReplayError> {
        if self.ended {
            return Ok(None);
        }
        match self.frame()? {
            Frame::Blocks(range) => {
                self.count(&range);
                Ok(Some(range))
            }
            Frame::End(told) => {
                self.end(told)?;
                Ok(None)
            }
            frame @ Frame::Batch(_) => Err(self.out_of_order(&frame, "blocks").into()),
        }
    }

    fn batch(&mut self, _: Height, _: &Digest) -> Result<Vec<u8>, ReplayError> {
        match self.frame()? {
            Frame::Batch(bytes) => Ok(bytes),
            frame => Err(self.out_of_order(&frame, "a batch").into()),
        }
    }
}

/// Writes a stream.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    blocks: u64,
    batches: u64,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(output: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { output, blocks: 0, batches: 0, bytes: 0 };
        writer.put(&encode(&(MAGIC, FORMAT, header)))?;
        Ok(writer)
    }

    /// Writes blocks. Their batches must follow.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn blocks(&mut self, range: Range) -> io::Result<()> {
        self.blocks += range.candidates.len() as u64;
        self.frame(&Frame::Blocks(range))
    }

    /// Writes the next batch.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn batch(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        self.batches += 1;
        self.frame(&Frame::Batch(bytes))
    }

    /// Writes the end, and hands the output back.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        self.frame(&Frame::End(self.blocks))?;
        self.output.flush()?;
        let written = Written { blocks: self.blocks, batches: self.batches, bytes: self.bytes };
        Ok((self.output, written))
    }

    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = encode(frame);
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length as usize <= MAX_FRAME_BYTES);
        let too_long = || io::Error::new(ErrorKind::FileTooLarge, "more than a frame can hold");
        self.put(&encode(&length.ok_or_else(too_long)?))?;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.output.write_all(bytes)
    }
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Blocks.
    pub blocks: u64,
    /// Batches.
    pub batches: u64,
    /// Its bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests;
