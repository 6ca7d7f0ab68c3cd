use super::*;
use crate::SecretKey;

fn genesis() -> Genesis {
    let key = |seed: u8| SecretKey::from_seed([seed; 32]).public();
    let validator = |index: u8| Validator {
        name: format!("node{index}"),
        consensus_key: key(10 * index + 1),
        network_key: key(10 * index + 2),
        governance_key: key(10 * index + 3),
        address: format!("127.0.0.1:2660{index}"),
    };
    Genesis::new(
        "test".into(),
        UnixMillis(1_700_000_000_000),
        Parameters::default(),
        (0..4).map(validator).collect(),
    )
    .unwrap()
}

fn fault(text: &str) -> String {
    Genesis::parse(text).unwrap_err().to_string()
}

#[test]
fn toml_and_json_give_the_same_chain_id() {
    let genesis = genesis();
    let json = serde_json::to_string_pretty(&genesis.to_file()).unwrap();
    assert_eq!(Genesis::parse(&genesis.to_toml()).unwrap(), genesis);
    assert_eq!(Genesis::parse(&json).unwrap(), genesis);
}

#[test]
fn the_chain_id_depends_on_every_part() {
    let text = genesis().to_toml();
    let chain = |text: &str| Genesis::parse(text).unwrap().chain();
    let changes = [
        ("\"test\"", "\"best\""),
        ("1700000000000", "1700000000001"),
        ("= 400", "= 401"),
        ("26602", "26702"),
    ];
    for (from, to) in changes {
        assert!(text.contains(from));
        assert_ne!(chain(&text), chain(&text.replacen(from, to, 1)), "{from}");
    }
}

/// The encoding is frozen: this changes only with a new version of the format.
#[test]
fn the_chain_id_of_a_known_document_stays() {
    let frozen = "0c200b33baa5e5b8791b44e6b11bfe297b18b7cce0a8859cf3e42d07022bdf45";
    assert_eq!(genesis().chain().to_string(), frozen);
}

fn successor() -> Genesis {
    let first = genesis();
    let predecessor = Predecessor {
        chain: first.chain(),
        height: Height(41),
        block: Digest::of(Domain::Candidate, b"the last"),
        state_root: Digest::of(Domain::StateValue, b"the last"),
    };
    let survivors = first.validators().iter().take(2).map(|(_, member)| member.clone()).collect();
    let (network, parameters) = (first.network().to_owned(), first.parameters().clone());
    Genesis::succeeding(predecessor, network, first.time(), parameters, survivors).unwrap()
}

#[test]
fn a_document_with_a_predecessor_is_read_as_it_was_written() {
    let successor = successor();
    let json = serde_json::to_string_pretty(&successor.to_file()).unwrap();
    assert_eq!(Genesis::parse(&successor.to_toml()).unwrap(), successor);
    assert_eq!(Genesis::parse(&json).unwrap(), successor);
    assert_eq!(successor.height(), Height(41));
    assert_eq!((genesis().height(), genesis().predecessor()), (Height::ZERO, None));
}

#[test]
fn the_chain_id_depends_on_every_part_of_the_predecessor() {
    let successor = successor();
    let Predecessor { chain, height, block, state_root } = *successor.predecessor().unwrap();
    let other = Digest::of(Domain::Batch, b"other");
    let ids: std::collections::BTreeSet<_> = [
        Some(Predecessor { chain, height, block, state_root }),
        Some(Predecessor { chain: other, height, block, state_root }),
        Some(Predecessor { chain, height: height.next(), block, state_root }),
        Some(Predecessor { chain, height, block: other, state_root }),
        Some(Predecessor { chain, height, block, state_root: other }),
        None,
    ]
    .into_iter()
    .map(|predecessor| {
        let validators = successor.validators().iter().map(|(_, member)| member.clone()).collect();
        let (network, parameters) = (successor.network().to_owned(), successor.parameters().clone());
        Genesis::check(network, successor.time(), parameters, validators, predecessor).unwrap().chain()
    })
    .collect();
    assert_eq!(ids.len(), 6);
    assert!(ids.contains(&successor.chain()));
}

#[test]
fn a_predecessor_that_cannot_be_is_refused_by_its_field() {
    let text = successor().to_toml();
    let wrong = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fault(&text.replacen(from, to, 1))
    };
    assert!(wrong("height = 41", "height = 0").contains("predecessor.height: 0 must be from 1"));
    let far = format!("height = {}", (1_u64 << 62) + 1);
    assert!(wrong("height = 41", &far).contains("predecessor.height: 4611686018427387905"));
    assert!(wrong("height = 41", "height = -1").contains("height"));
    assert!(wrong("height = 41", "depth = 41").contains("unknown field `depth`"));
    assert!(wrong("state_root = ", "state_toor = ").contains("state_toor"));
}

#[test]
fn each_wrong_field_is_named_with_its_value() {
    let text = genesis().to_toml();
    let wrong = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fault(&text.replacen(from, to, 1))
    };
    assert!(wrong("version = 4", "version = 9").contains("version: 9"));
    assert!(wrong("\"test\"", "\"No!\"").contains("network: `No!`"));
    assert!(wrong("delta_ms = 400", "delta_ms = 1").contains("parameters.delta_ms: delta_ms is 1"));
    assert!(wrong("delta_ms = 400", "speed = 400").contains("unknown field `speed`"));
    assert!(wrong("127.0.0.1:26602", "here").contains("validators[2].address: `here`"));
    assert!(wrong("name = \"node3\"", "name = \"node1\"").contains("validators[3].name"));
    assert!(wrong("network = \"test\"", "").contains("network"));
    assert!(wrong("consensus_key = \"z6Mk", "consensus_key = \"x6Mk").contains("consensus_key"));
}

#[test]
fn garbage_is_an_error_that_stays_short() {
    for text in ["", "{", "{}", "\u{0}\u{1}", "[[[[", &"[".repeat(100_000), &"{\"a\":".repeat(100_000)] {
        assert!(fault(text).len() < 2_000, "an error of {} bytes", fault(text).len());
    }
    assert!(fault(&" ".repeat(MAX_FILE_BYTES + 1)).contains("1048577"));
}
