//! The replica's memory across crashes: its records in files, synced before anything that rests on them is sent
//! (rule P7).
//!
//! # Bytes on disk
//! A folder of segments `00000001.journal`, `00000002.journal`, … Each starts with an 80-byte header: the magic
//! `RDIDJRN2`, the chain's id, the voter's consensus key (32 bytes) and the segment's number (u64). Then come entries, one for
//! each call of [`Journal::append`]: magic `RDJE`, length of the body (u32), CRC-32 of segment number, offset and
//! body (u32), body (the records, canonically encoded). Integers are little-endian.
//!
//! # Invariants
//! - What [`Journal::append`] returned for is read again by every later [`Journal::open`], until
//!   [`Journal::forget_before`] releases it.
//! - A torn tail (a last entry that was being written when the power went) is dropped: nothing of it was sent.
//!   Damage anywhere else is an error that names file and offset, never a silent loss.
//! - After a failed write or sync nothing is appended any more: what the disk holds is known again only after a
//!   restart.
//!
//! # What is assumed of the disk
//! A synced write stays. A write that was not synced may be there in whole, in part or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use consensus::Record;
use genesis::encoding::{DecodeError, decode, encode, list};
use genesis::{Digest, Height, PublicKey};
use serde::{Deserialize, Serialize};

const HEADER_MAGIC: &[u8; 8] = b"RDIDJRN2";
const HEADER_BYTES: usize = 8 + 32 + 32 + 8;
const ENTRY_MAGIC: &[u8; 4] = b"RDJE";
const ENTRY_HEAD_BYTES: usize = 4 + 4 + 4;
/// The most bytes in one entry's body.
const MAX_ENTRY_BYTES: usize = 64 << 20;
/// How many records of the state go into one entry: at most 64 × 512 KiB.
const STATE_RECORDS: usize = 64;
/// A segment of this size is closed and a new one begun.
const SEGMENT_BYTES: u64 = 16 << 20;

/// The open journal of one validator.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    owner: Owner,
    file: File,
    number: u64,
    length: u64,
    /// The length at which the next segment is begun.
    long: u64,
    /// Closed segments, oldest first, each with the height that must be executed before it may go.
    closed: Vec<(u64, Height)>,
    failed: bool,
}

/// Whose journal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The chain.
    pub chain: Digest,
    /// The validator's consensus key.
    pub voter: PublicKey,
}

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("{doing} {path}: {source}; the node stops, because what it signs must be durable first")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another node's journal.
    #[error(
        "{path} is the voting journal of key {} of chain {}, but this node has key {} of chain {}: point --home at the right \
         folder; where this validator was given a new key by vote, move the old journal away",
        found.voter, found.chain, expected.voter, expected.chain
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Box<Owner>,
        /// Who this node is.
        expected: Box<Owner>,
    },
    /// Bytes that were synced are not what was written.
    #[error(
        "{path} is damaged at byte {offset}: {problem}. What this validator voted can no longer be told from it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: usize,
        /// What is wrong.
        problem: String,
    },
    /// An earlier write failed.
    #[error("the journal failed earlier and takes no more records: restart the node")]
    Failed,
}

impl Journal {
    /// Opens the journal in `folder`, or makes one, and reads all its records in order.
    ///
    /// # Errors
    /// When it is another node's, damaged, or the disk fails.
    pub fn open(folder: &Path, owner: Owner) -> Result<(Self, Vec<Record>), JournalError> {
        fs::create_dir_all(folder).map_err(at("creating", folder))?;
        let mut numbers = segments(folder)?;
        let mut records = Vec::new();
        for (place, number) in numbers.iter().enumerate() {
            let last = place + 1 == numbers.len();
            let path = segment_path(folder, *number);
            let (read, sound) = read_segment(&path, *number, owner, last)?;
            records.extend(read);
            // A torn tail goes at once: behind a younger segment it would look like damage.
            drop_tail(&path, sound)?;
        }
        numbers.retain(|number| segment_path(folder, *number).exists());
        // A new segment each time: a torn tail is never written behind.
        let number = numbers.last().map_or(1, |last| last + 1);
        let file = create_segment(folder, number, owner)?;
        let closed = numbers.into_iter().map(|number| (number, Height(u64::MAX))).collect();
        let length = HEADER_BYTES as u64;
        let journal = Self {
            folder: folder.to_owned(),
            owner,
            file,
            number,
            length,
            long: SEGMENT_BYTES,
            closed,
            failed: false,
        };
        Ok((journal, records))
    }

    /// Reads the records in `folder` and changes nothing there.
    ///
    /// # Errors
    /// Those of [`Journal::open`].
    pub fn read(folder: &Path, owner: Owner) -> Result<Vec<Record>, JournalError> {
        let numbers = segments(folder)?;
        let mut records = Vec::new();
        for (place, number) in numbers.iter().enumerate() {
            let last = place + 1 == numbers.len();
            let (read, _) = read_segment(&segment_path(folder, *number), *number, owner, last)?;
            records.extend(read);
        }
        Ok(records)
    }

    /// Whose journal is in `folder`; none where it has no segment with a whole header.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn owner(folder: &Path) -> Result<Option<Owner>, JournalError> {
        for number in segments(folder)? {
            let path = segment_path(folder, number);
            let mut header = Vec::new();
            let file = File::open(&path).map_err(at("opening", &path))?;
            file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(at("reading", &path))?;
            if header.len() == HEADER_BYTES && header.starts_with(HEADER_MAGIC) {
                return Ok(Some(owner_in(&header)));
            }
        }
        Ok(None)
    }

    /// Whether `folder` holds a journal.
    pub fn exists(folder: &Path) -> bool {
        segments(folder).is_ok_and(|numbers| !numbers.is_empty())
    }

    /// Makes `records` durable. When this returns, they are.
    ///
    /// # Errors
    /// When the disk fails; the journal takes nothing any more then.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Failed);
        }
        self.failed = true;
        let body = encode(&records);
        let mut entry = Vec::with_capacity(ENTRY_HEAD_BYTES + body.len());
        entry.extend(ENTRY_MAGIC);
        entry.extend((body.len() as u32).to_le_bytes());
        entry.extend(checksum(self.number, self.length, &body).to_le_bytes());
        entry.extend(&body);
        let path = || segment_path(&self.folder, self.number);
        self.file.write_all(&entry).map_err(|source| JournalError::Io {
            doing: "writing",
            path: path(),
            source,
        })?;
        self.file.sync_data().map_err(|source| JournalError::Io {
            doing: "syncing",
            path: path(),
            source,
        })?;
        self.length += entry.len() as u64;
        self.failed = false;
        Ok(())
    }

    /// Whether the segment is so long that [`Journal::begin`] should start a new one.
    pub fn is_long(&self) -> bool {
        self.length >= self.long
    }

    /// Begins a new segment with `state`, all that the replica needs beside what is final at `tip`. The earlier
    /// segments go once `tip` is executed and durable in the ledger, see [`Journal::forget_before`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(&mut self, state: &[Record], tip: Height) -> Result<(), JournalError> {
        let next = self.number + 1;
        self.file = create_segment(&self.folder, next, self.owner)?;
        for (_, height) in self.closed.iter_mut().filter(|(_, height)| height.0 == u64::MAX) {
            *height = tip;
        }
        self.closed.push((self.number, tip));
        self.number = next;
        self.length = HEADER_BYTES as u64;
        // After very many failed views the state is large: in entries of a bounded size, and not written anew before the
        // segment is twice as long.
        for records in state.chunks(STATE_RECORDS) {
            self.append(records)?;
        }
        self.long = SEGMENT_BYTES.max(2 * self.length);
        Ok(())
    }

    /// Whether [`Journal::forget_before`] has anything to remove.
    pub fn has_before(&self, executed: Height) -> bool {
        self.closed.first().is_some_and(|(_, height)| *height <= executed)
    }

    /// Removes the closed segments that only matter for blocks up to `executed`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget_before(&mut self, executed: Height) -> Result<(), JournalError> {
        while let Some((number, height)) = self.closed.first().copied() {
            if height > executed {
                break;
            }
            let path = segment_path(&self.folder, number);
            fs::remove_file(&path).map_err(at("removing", &path))?;
            self.closed.remove(0);
        }
        Ok(())
    }
}

fn at(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { doing, path: path.clone(), source }
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.journal"))
}

/// The numbers of the segments in `folder`, ascending. Other files are not ours to judge.
fn segments(folder: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(at("listing", folder))? {
        let name = entry.map_err(at("listing", folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".journal")).map(str::parse::<u64>);
        numbers.extend(number.and_then(Result::ok));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn create_segment(folder: &Path, number: u64, owner: Owner) -> Result<File, JournalError> {
    let path = segment_path(folder, number);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(at("creating", &path))?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(HEADER_MAGIC);
    header.extend(owner.chain.as_bytes());
    let PublicKey::Ed25519(key) = owner.voter;
    header.extend(key);
    header.extend(number.to_le_bytes());
    file.write_all(&header).map_err(at("writing", &path))?;
    file.sync_all().map_err(at("syncing", &path))?;
    // The file's name must survive as well as its bytes.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at("syncing", folder))?;
    Ok(file)
}

fn checksum(segment: u64, offset: u64, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Cuts a segment to its sound part; removes it where not even the header is there.
fn drop_tail(path: &Path, sound: usize) -> Result<(), JournalError> {
    if sound < HEADER_BYTES {
        return fs::remove_file(path).map_err(at("removing", path));
    }
    let file = OpenOptions::new().write(true).open(path).map_err(at("opening", path))?;
    let length = file.metadata().map_err(at("reading", path))?.len();
    if length > sound as u64 {
        tracing::warn!(path = %path.display(), bytes = length - sound as u64, "dropped an entry that a crash had torn");
        file.set_len(sound as u64).and_then(|()| file.sync_all()).map_err(at("cutting", path))?;
    }
    Ok(())
}

fn read_segment(
    path: &Path,
    number: u64,
    owner: Owner,
    last: bool,
) -> Result<(Vec<Record>, usize), JournalError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(at("reading", path))?;
    records_in(path, &bytes, number, owner, last)
}

/// What an entry's body is.
#[derive(Serialize, Deserialize)]
struct Entry(#[serde(deserialize_with = "list::<_, _, 4>")] Vec<Record>);

/// The records in an entry's body.
///
/// # Errors
/// When the bytes are not those of a list of records.
pub fn records_of_entry(body: &[u8]) -> Result<Vec<Record>, DecodeError> {
    decode(body, MAX_ENTRY_BYTES).map(|Entry(records)| records)
}

/// The records of a segment with these bytes, and how many of them are sound. `path` is for errors; `last` says whether
/// it is the youngest segment, whose end may be torn.
///
/// # Errors
/// When it is another node's, or damaged.
pub fn records_in(
    path: &Path,
    bytes: &[u8],
    number: u64,
    owner: Owner,
    last: bool,
) -> Result<(Vec<Record>, usize), JournalError> {
    let damaged =
        |offset: usize, problem: String| JournalError::Damaged { path: path.to_owned(), offset, problem };
    let headless = bytes.len() < HEADER_BYTES || !bytes.starts_with(HEADER_MAGIC);
    if headless && (!last || !sound_entry_after(bytes, 0, number)) {
        // The crash came before the header was synced, so before any entry.
        return if last { Ok((Vec::new(), 0)) } else { Err(damaged(0, "the header is incomplete".into())) };
    }
    check_header(path, bytes, number, owner)?;
    let mut records = Vec::new();
    let mut offset = HEADER_BYTES;
    while offset < bytes.len() {
        match read_entry(bytes, offset, number) {
            Some(body) => {
                let entry = records_of_entry(body)
                    .map_err(|error| damaged(offset, format!("an entry is no list of records: {error}")))?;
                records.extend(entry);
                offset += ENTRY_HEAD_BYTES + body.len();
            }
            None if last && !sound_entry_after(bytes, offset, number) => break,
            None => {
                return Err(damaged(offset, "an entry fails its checksum, and is not the last one".into()));
            }
        }
    }
    Ok((records, offset))
}

/// Whose journal a whole header belongs to.
fn owner_in(header: &[u8]) -> Owner {
    let array = |from: usize| <[u8; 32]>::try_from(&header[from..from + 32]).unwrap_or_default();
    Owner { chain: Digest::from_bytes(array(8)), voter: PublicKey::Ed25519(array(40)) }
}

fn check_header(path: &Path, bytes: &[u8], number: u64, owner: Owner) -> Result<(), JournalError> {
    let damaged = |problem: &str| JournalError::Damaged {
        path: path.to_owned(),
        offset: 0,
        problem: problem.to_owned(),
    };
    let Owner { chain, voter } = owner_in(bytes);
    let found = <[u8; 8]>::try_from(&bytes[72..80]).map(u64::from_le_bytes).unwrap_or_default();
    if &bytes[..8] != HEADER_MAGIC {
        return Err(damaged("it does not start like a journal"));
    }
    if chain != owner.chain || voter != owner.voter {
        return Err(JournalError::Foreign {
            path: path.to_owned(),
            found: Box::new(Owner { chain, voter }),
            expected: Box::new(owner),
        });
    }
    if found != number {
        return Err(damaged("it was renamed: its number is another one"));
    }
    Ok(())
}

/// The body of the entry at `offset`, if one is there whole and sound.
fn read_entry(bytes: &[u8], offset: usize, segment: u64) -> Option<&[u8]> {
    let rest = bytes.get(offset..)?;
    let (head, rest) = rest.split_at_checked(ENTRY_HEAD_BYTES)?;
    let word = |from: usize| head[from..from + 4].try_into().map(u32::from_le_bytes).unwrap_or_default();
    let body = rest.get(..word(4) as usize)?;
    let sound = &head[..4] == ENTRY_MAGIC && word(8) == checksum(segment, offset as u64, body);
    sound.then_some(body)
}

/// Whether a sound entry starts anywhere behind `offset`: then the broken one was synced once, since entries are
/// synced one after the other.
fn sound_entry_after(bytes: &[u8], offset: usize, segment: u64) -> bool {
    let mut from = offset + 1;
    while let Some(found) = bytes.get(from..).and_then(|rest| find(rest, ENTRY_MAGIC)) {
        if read_entry(bytes, from + found, segment).is_some() {
            return true;
        }
        from += found + 1;
    }
    false
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests;
