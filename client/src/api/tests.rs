use genesis::{Parameters, SecretKey};
use ledger::DidId;
use serde_json::json;

use super::*;

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn receipt(code: ledger::Code) -> ledger::Receipt {
    let applied = code == ledger::Code::Applied;
    ledger::Receipt {
        id: digest(1),
        height: Height(7),
        expires_at: Height(90),
        index: 3,
        code,
        did: Some(DidId(digest(2))),
        version: applied.then_some(Version(1)),
        items: Vec::new(),
    }
}

#[test]
fn a_receipt_shows_number_name_and_full_did() {
    let receipt = Receipt::new(&receipt(ledger::Code::Applied), "test");
    assert!(receipt.is_applied());
    let json = serde_json::to_value(&receipt).unwrap();
    let did = format!("did:realdid:test:{}", DidId(digest(2)));
    assert_eq!(
        json,
        json!({
            "id": digest(1).to_string(), "height": 7, "expiresAt": 90, "index": 3, "code": 0, "result": "applied",
            "did": did, "version": 1,
        })
    );
    assert_eq!(serde_json::from_value::<Receipt>(json).unwrap(), receipt);
}

#[test]
fn a_receipt_of_a_failure_has_no_version() {
    let receipt = Receipt::new(&receipt(ledger::Code::VersionMismatch), "test");
    assert!(!receipt.is_applied());
    let json = serde_json::to_value(&receipt).unwrap();
    assert_eq!((&json["code"], &json["result"]), (&json!(6), &json!("version_mismatch")));
    assert!(json.get("version").is_none());
}

#[test]
fn a_receipt_with_a_code_of_a_later_version_is_read() {
    let json = json!({ "id": digest(1).to_string(), "height": 1, "expiresAt": 2, "index": 0, "code": 999, "result": "later" });
    let receipt: Receipt = serde_json::from_value(json).unwrap();
    assert_eq!((receipt.code, receipt.is_applied()), (999, false));
}

#[test]
fn the_fate_is_tagged_by_its_state() {
    let unknown = Fate::Unknown { height: Height(5), can_land_until: Height(105) };
    let pending = Fate::Pending { expires_at: Height(9) };
    let expired = Fate::Expired { expires_at: Height(9), height: Height(12) };
    let settled = Fate::Final { receipt: Receipt::new(&receipt(ledger::Code::Applied), "test") };
    assert_eq!(
        serde_json::to_value(&unknown).unwrap(),
        json!({ "state": "unknown", "height": 5, "canLandUntil": 105 })
    );
    assert_eq!(serde_json::to_value(&pending).unwrap(), json!({ "state": "pending", "expiresAt": 9 }));
    for fate in [unknown, pending, expired, settled] {
        let json = serde_json::to_value(&fate).unwrap();
        assert_eq!(json["state"], fate.state());
        assert_eq!(serde_json::from_value::<Fate>(json).unwrap(), fate);
    }
}

#[test]
fn the_status_is_camel_case_with_the_parameters() {
    let status = ChainStatus {
        network: "test".into(),
        chain: digest(1),
        predecessor: None,
        node: "node0".into(),
        standing: "voting".into(),
        software: "realdid/0.1.0".into(),
        height: Height(3),
        digest: digest(2),
        time: UnixMillis(1_000),
        view: View(4),
        leader: "node1".into(),
        epoch: Epoch(0),
        certified_height: Height(2),
        validators: 4,
        quorum: 3,
        peers_connected: 3,
        ready: true,
        not_ready_because: None,
        delta_ms: 400,
        pending_transactions: 0,
        waiting_batches: 0,
        seconds_since_block: None,
        lag: 5,
        waiting_seconds: None,
        contradictions: 1,
        double_keys: 2,
        transactions: 9,
        parameters: Parameters::default(),
    };
    let json = serde_json::to_value(&status).unwrap();
    for field in [
        "peersConnected",
        "deltaMs",
        "lag",
        "contradictions",
        "doubleKeys",
        "pendingTransactions",
        "waitingBatches",
    ] {
        assert!(json.get(field).is_some(), "{field} is missing in {json}");
    }
    assert_eq!(json["parameters"]["maxTransactionLifetime"], 100_000);
    assert_eq!(json["parameters"]["maxDocumentKeys"], 20);
    assert!(json.get("secondsSinceBlock").is_none() && json.get("notReadyBecause").is_none());
    assert_eq!(serde_json::from_value::<ChainStatus>(json).unwrap(), status);
    let status = ChainStatus { ready: false, not_ready_because: Some("catching up".into()), ..status };
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["notReadyBecause"], "catching up");
    assert_eq!(serde_json::from_value::<ChainStatus>(json).unwrap(), status);
}

#[test]
fn a_peer_shows_its_round_trip_only_when_known() {
    let key = SecretKey::from_seed([1; 32]).public();
    let mut peer = Peer {
        name: "node1".into(),
        key,
        address: "127.0.0.1:26610".into(),
        connected: true,
        validator: true,
        round_trip_ms: None,
        clock_skew_ms: None,
        queued_frames: 0,
        dropped_frames: 1,
    };
    assert!(serde_json::to_value(&peer).unwrap().get("roundTripMs").is_none());
    (peer.round_trip_ms, peer.clock_skew_ms) = (Some(2), Some(-7));
    let json = serde_json::to_value(&peer).unwrap();
    assert_eq!((&json["roundTripMs"], &json["key"]), (&json!(2), &json!(key.to_string())));
    assert_eq!(json["clockSkewMs"], -7);
}

#[test]
fn the_options_have_the_names_that_resolution_reads() {
    let options = ResolveOptions {
        version_id: Some("2".into()),
        version_time: Some("2026-07-23T10:20:30Z".into()),
        accept: Some("application/did".into()),
        proof: true,
        since_epoch: Some(Epoch(3)),
    };
    let json = serde_json::to_value(&options).unwrap();
    let read =
        serde_json::from_value::<ledger::resolution::JsonOptions>(json.clone()).unwrap().check().unwrap();
    assert_eq!(read.proof_since(), Some(Epoch(3)));
    assert_eq!(read, options.into());
    assert_eq!(serde_json::to_value(ResolveOptions::default()).unwrap(), json!({}));
}

#[test]
fn bytes_are_padded_base64_and_nothing_else() {
    assert_eq!(from_base64(&to_base64(b"abcd")).unwrap(), b"abcd");
    for text in ["YWJjZA", "YWJjZA== ", "YWJjZB==", "é"] {
        assert!(from_base64(text).is_err(), "{text}");
    }
}

fn assert_camel_case(json: &serde_json::Value) {
    match json {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            assert!(!name.contains('_'), "{name}");
            assert_camel_case(value);
        }),
        serde_json::Value::Array(values) => values.iter().for_each(assert_camel_case),
        _ => {}
    }
}

#[test]
fn the_validators_are_camel_case_all_the_way_down() {
    let key = |seed| SecretKey::from_seed([seed; 32]).public();
    let validator = genesis::Validator {
        name: "node0".into(),
        consensus_key: key(1),
        network_key: key(2),
        governance_key: key(3),
        address: "127.0.0.1:26600".into(),
    };
    let configuration = genesis::Configuration {
        validators: genesis::ValidatorSet::new(vec![validator]).unwrap(),
        parameters: Parameters::default(),
    };
    let configuration = Configuration::new(&configuration);
    let validators = Validators { epoch: Epoch(1), began: Height(9), quorum: 1, configuration };
    let json = serde_json::to_value(&validators).unwrap();
    assert_camel_case(&json);
    assert_eq!(json["configuration"]["validators"][0]["consensusKey"], key(1).to_string());
    assert_eq!(serde_json::from_value::<Validators>(json).unwrap(), validators);
}
