//! Many transactions in one call: handing them in, and waiting for their receipts.
//!
//! As bytes, a list of transactions is the canonical encoding of a list of byte strings (`docs/formats.md`): each stands
//! there with its length, so that one which is malformed spoils no other.

use genesis::Height;
use serde::{Deserialize, Serialize};

use super::{Expired, Receipt};

/// Where a node takes transactions as bytes: `POST`, with [`BATCH_TYPE`].
pub const BATCH_PATH: &str = "/tx/batch";
/// The content type of a list of transactions as bytes.
pub const BATCH_TYPE: &str = "application/octet-stream";

/// What one of many calls came to: as in JSON-RPC, `{"result": …}` or `{"error": …}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome<T, E> {
    /// The node does what it was asked for.
    Result(T),
    /// The node says no, with a code, a message, and data in the shape that the code has.
    Error(E),
}

impl<T, E> From<Outcome<T, E>> for Result<T, E> {
    fn from(outcome: Outcome<T, E>) -> Self {
        match outcome {
            Outcome::Result(value) => Ok(value),
            Outcome::Error(error) => Err(error),
        }
    }
}

impl<T, E> From<Result<T, E>> for Outcome<T, E> {
    fn from(result: Result<T, E>) -> Self {
        result.map_or_else(Self::Error, Self::Result)
    }
}

/// Those of the transactions asked for that have ended. Ask again for the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waited {
    /// Of those that were ordered.
    pub receipts: Vec<Receipt>,
    /// Those that never will be.
    pub expired: Vec<Expired>,
    /// The node's height when it answered.
    pub height: Height,
}

/// Why bytes are not a list of transactions.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchBytesError {
    /// Not even a count.
    #[error("a list of transactions begins with their count in 8 bytes, but {length} bytes came")]
    NoCount {
        /// How many bytes there are.
        length: usize,
    },
    /// More than the node takes at once.
    #[error(
        "the list has {count} transactions, but at most {most} are taken at once (max_batch): send several lists"
    )]
    Count {
        /// How many it claims.
        count: u64,
        /// The limit.
        most: usize,
    },
    /// It ends too early.
    #[error(
        "the list ends within transaction {index} of {count}: it was cut off, or a length before is wrong"
    )]
    End {
        /// The transaction's place, from 0.
        index: u64,
        /// How many the list claims to have.
        count: u64,
    },
    /// Bytes after the last one.
    #[error("{count} bytes too many after the last transaction: the count before them is wrong")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Transactions' canonical bytes as one list.
pub fn encode_batch(transactions: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let length = transactions.iter().map(|transaction| 8 + transaction.as_ref().len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(8 + length);
    bytes.extend((transactions.len() as u64).to_le_bytes());
    for transaction in transactions {
        let transaction = transaction.as_ref();
        bytes.extend((transaction.len() as u64).to_le_bytes());
        bytes.extend(transaction);
    }
    bytes
}

/// The transactions in a list of at most `most`, as they came: nothing in them is looked at.
///
/// # Errors
/// Where the list itself cannot be read: then nobody knows where its transactions begin.
pub fn decode_batch(bytes: &[u8], most: usize) -> Result<Vec<&[u8]>, BatchBytesError> {
    let Some((count, mut rest)) = number(bytes) else {
        return Err(BatchBytesError::NoCount { length: bytes.len() });
    };
    if count > most as u64 {
        return Err(BatchBytesError::Count { count, most });
    }
    // Each has at least its length's eight bytes: what is reserved is bounded by what came.
    let mut transactions = Vec::with_capacity((count as usize).min(rest.len() / 8));
    for index in 0..count {
        let end = BatchBytesError::End { index, count };
        let (length, after) = number(rest).ok_or(end)?;
        let length = usize::try_from(length).map_err(|_| end)?;
        let (transaction, after) = after.split_at_checked(length).ok_or(end)?;
        transactions.push(transaction);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(BatchBytesError::Trailing { count: rest.len() });
    }
    Ok(transactions)
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_the_canonical_encoding_of_byte_strings_and_is_read_as_it_was_written() {
        for list in [vec![], vec![vec![]], vec![vec![1, 2, 3], vec![], vec![4; 400]]] {
            let bytes = encode_batch(&list);
            assert_eq!(bytes, genesis::encoding::encode(&list));
            assert_eq!(decode_batch(&bytes, 3).unwrap(), list);
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_is_refused_with_the_place() {
        let bytes = encode_batch(&[vec![1, 2, 3], vec![4]]);
        let told = |bytes: &[u8], most| decode_batch(bytes, most).unwrap_err();
        assert_eq!(told(&[0; 7], 9), BatchBytesError::NoCount { length: 7 });
        assert_eq!(told(&bytes, 1), BatchBytesError::Count { count: 2, most: 1 });
        for cut in 8..19 {
            assert_eq!(told(&bytes[..cut], 2), BatchBytesError::End { index: 0, count: 2 });
        }
        for cut in 19..bytes.len() {
            assert_eq!(told(&bytes[..cut], 2), BatchBytesError::End { index: 1, count: 2 });
        }
        assert_eq!(told(&[&bytes[..], &[0; 5]].concat(), 2), BatchBytesError::Trailing { count: 5 });
        let mut claiming = bytes.clone();
        claiming[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(told(&claiming, 2), BatchBytesError::End { index: 0, count: 2 });
    }

    #[test]
    fn outcomes_look_like_json_rpcs() {
        let outcomes: [Outcome<u8, &str>; 2] = [Outcome::Result(7), Outcome::Error("no")];
        assert_eq!(serde_json::to_string(&outcomes).unwrap(), r#"[{"result":7},{"error":"no"}]"#);
    }
}
