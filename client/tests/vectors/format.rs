//! What stands in `docs/vectors.json`. `docs/vectors.md` says how each part is used.

use std::collections::BTreeMap;

use genesis::{Digest, Signature};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vectors {
    pub about: String,
    pub network: String,
    pub digests: Vec<DigestVector>,
    /// By name: `owner`, `node0 consensus`.
    pub keys: BTreeMap<String, KeyVector>,
    pub key_sets: Vec<KeySetVector>,
    pub genesis: GenesisVector,
    pub transactions: Vec<TransactionVector>,
    pub blocks: Vec<BlockVector>,
    pub checkpoints: Vec<CheckpointVector>,
    pub state_proofs: Vec<StateProofVector>,
    pub receipt_proofs: Vec<ReceiptProofVector>,
    pub resolutions: Vec<ResolutionVector>,
    pub refusals: Vec<RefusalVector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DigestVector {
    pub context: String,
    pub input: Hex,
    pub digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyVector {
    pub seed: Hex,
    pub public: Hex,
    pub multikey: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySetVector {
    pub threshold: u16,
    pub keys: Vec<String>,
    pub canonical: Hex,
    pub commitment: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisVector {
    pub toml: String,
    pub canonical: Hex,
    pub chain: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransactionVector {
    pub name: String,
    /// In JSON.
    pub transaction: Value,
    pub canonical: Hex,
    pub id: Digest,
    pub signing_bytes: Hex,
    /// In the order of the transaction's signers.
    pub signers: Vec<SignedBy>,
    /// The DIDs that it registers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inceptions: Vec<InceptionVector>,
    /// The joining validator's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<SignedVector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedBy {
    pub key: String,
    pub signature: Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedVector {
    pub key: String,
    pub bytes: Hex,
    pub signature: Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InceptionVector {
    pub did: String,
    pub canonical: Hex,
    /// In a create many, its owner's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub possession: Option<SignedVector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlockVector {
    pub height: u64,
    pub time: u64,
    /// The configuration that takes over after it, where it closes its epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<Digest>,
    /// By name.
    pub transactions: Vec<String>,
    pub receipts: Vec<ReceiptVector>,
    /// The records that it made or changed.
    pub records: Vec<RecordVector>,
    pub state_root: Digest,
    pub receipts_root: Digest,
    pub configuration: Digest,
    pub pending: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptVector {
    pub transaction: String,
    pub code: String,
    /// Of a create many's items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    pub canonical: Hex,
    pub digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordVector {
    pub did: String,
    pub version: u64,
    pub header: Hex,
    pub header_digest: Digest,
    pub document: Option<Hex>,
    pub document_digest: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointVector {
    pub height: u64,
    pub epoch: u64,
    pub canonical: Hex,
    pub digest: Digest,
    pub signing_bytes: Hex,
    /// By the keys' names, in the order of the certificate.
    pub signers: Vec<String>,
    pub certificate: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateProofVector {
    pub about: String,
    /// The block after which it holds.
    pub height: u64,
    /// What the key is the digest of, in the domain of state keys.
    pub state_key: Hex,
    pub key: Digest,
    /// None where it is absent.
    pub value: Option<Digest>,
    pub proof: Hex,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptProofVector {
    pub about: String,
    /// The block whose receipts' root it starts from.
    pub height: u64,
    /// The transaction's id.
    pub key: Digest,
    pub value: Option<Digest>,
    pub proof: Hex,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    pub did: String,
    pub options: Value,
    /// The client's clock.
    pub now: u64,
    /// As `did_prove` gives it: base64.
    pub proof: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResolutionVector {
    pub name: String,
    /// The resolutions that the client has checked before, by name; else it knows the genesis document alone.
    pub after: Vec<String>,
    #[serde(flatten)]
    pub question: Question,
    /// The checkpoint's height.
    pub height: u64,
    /// The epoch that the client knows then.
    pub epoch: u64,
    pub result: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefusalVector {
    pub name: String,
    pub after: Vec<String>,
    #[serde(flatten)]
    pub question: Question,
    pub reason: String,
    /// Our own words for it; others may have theirs.
    pub error: String,
}

/// Bytes as lower-case hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Vec<u8> =
            text.bytes().filter(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')).collect();
        if digits.len() != text.len() || digits.len() % 2 == 1 {
            return Err(serde::de::Error::custom(format!("`{text}` is not lower-case hex")));
        }
        let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
        Ok(Self(digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()))
    }
}
