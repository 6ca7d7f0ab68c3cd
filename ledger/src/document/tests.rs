use super::*;
use crate::samples::{agreement_key, create, document, key, point, service};

fn fault(change: impl FnOnce(&mut Vec<Key>)) -> String {
    let mut document = document(&[1, 2, 3]);
    change(&mut document.keys);
    document.check(&Parameters::default()).unwrap_err().to_string()
}

#[test]
fn a_sound_document_passes() {
    assert_eq!(document(&[1]).check(&Parameters::default()), Ok(()));
    assert_eq!(document(&[1, 2, 3]).check(&Parameters::default()), Ok(()));
}

#[test]
fn each_fault_names_the_key_the_value_and_the_limit() {
    assert_eq!(fault(Vec::clear), "the document has 0 keys, but must have 1 to 20 (max_document_keys)");
    let many = fault(|keys| keys.extend((10..28).map(|seed| document(&[seed]).keys.remove(0))));
    assert_eq!(many, "the document has 21 keys, but must have 1 to 20 (max_document_keys)");
    assert_eq!(
        fault(|keys| keys[2].number = KeyNumber::FIRST),
        "keys[2]: the number 1 is taken by a key before it"
    );
    assert!(fault(|keys| keys[2].public = key(1).public().into()).contains("listed twice"));
    assert!(fault(|keys| keys[2].purposes = Purposes::NONE).starts_with("keys[2]: `key-3` has no purpose"));
    let text = fault(|keys| keys.iter_mut().for_each(|key| key.purposes = Purposes::AUTHENTICATION));
    assert!(text.contains("capabilityInvocation"), "{text}");
}

#[test]
fn keys_of_small_order_or_outside_the_subgroup_or_in_a_second_encoding_are_refused() {
    let identity = std::array::from_fn(|index| u8::from(index == 0));
    let no_point = [2; 32];
    // y = p + 1: the identity again, in an encoding that is not canonical.
    let mut second_encoding = [0xff; 32];
    (second_encoding[0], second_encoding[31]) = (0xee, 0x7f);
    for bytes in [identity, no_point, second_encoding] {
        let text = fault(|keys| keys[1].public = VerificationKey::Ed25519(bytes));
        assert!(text.starts_with("keys[1]: `z6Mk") && text.contains("not a sound"), "{text}");
    }
}

#[test]
fn only_a_key_for_capability_invocation_controls_the_document() {
    let mut document = document(&[1, 2]);
    document.keys[1].purposes = Purposes::AUTHENTICATION;
    assert!(document.is_controlled_by(&[key(9).public(), key(1).public()]));
    assert!(!document.is_controlled_by(&[key(2).public()]));
    assert!(!document.is_controlled_by(&[]));
}

#[test]
fn a_threshold_counts_distinct_keys_for_capability_invocation() {
    let mut document = document(&[1, 2, 3]);
    document.threshold = 2;
    assert_eq!(document.check(&Parameters::default()), Ok(()));
    let publics = |seeds: &[u8]| seeds.iter().map(|seed| key(*seed).public()).collect::<Vec<_>>();
    for (signers, enough) in [(&[1, 2][..], true), (&[1, 1], false), (&[1, 9], false), (&[3], false)] {
        assert_eq!(document.is_controlled_by(&publics(signers)), enough, "{signers:?}");
    }
    document.keys[0].purposes = Purposes::AUTHENTICATION;
    for (threshold, fits) in [(0, false), (1, true), (2, true), (3, false)] {
        document.threshold = threshold;
        let expected = if fits { Ok(()) } else { Err(DocumentError::Threshold { threshold, most: 2 }) };
        assert_eq!(document.check(&Parameters::default()), expected);
    }
}

#[test]
fn no_document_asks_for_more_keys_than_can_sign() {
    let mut document = document(&(1..=20).collect::<Vec<u8>>());
    document.threshold = 15;
    assert_eq!(document.check(&Parameters::default()), Ok(()));
    document.threshold = 16;
    let expected = DocumentError::Threshold { threshold: 16, most: MAX_THRESHOLD };
    assert_eq!(document.check(&Parameters::default()), Err(expected));
}

#[test]
fn purposes_survive_json_by_name_and_bytes_by_bit() {
    let both = Purposes::AUTHENTICATION.and(Purposes::CAPABILITY_DELEGATION);
    let json = serde_json::to_string(&both).unwrap();
    assert_eq!(json, r#"["authentication","capabilityDelegation"]"#);
    assert_eq!(serde_json::from_str::<Purposes>(&json).unwrap(), both);
    assert_eq!(encoding::decode::<Purposes>(&encoding::encode(&both), 1).unwrap(), both);
    let error = serde_json::from_str::<Purposes>(r#"["encryption"]"#).unwrap_err().to_string();
    assert!(error.contains("`encryption` is not a purpose: expected one of authentication"), "{error}");
    assert!(encoding::decode::<Purposes>(&[0b10_0000], 1).is_err());
}

#[test]
fn unknown_fields_in_json_are_refused() {
    let text =
        r#"{"threshold": 1, "keys": [], "controllers": [], "services": [], "alsoKnownAs": "Zhang San"}"#;
    let error = serde_json::from_str::<Document>(text).unwrap_err().to_string();
    assert!(error.contains("`alsoKnownAs`"), "{error}");
    let mut json = serde_json::to_value(document(&[1])).unwrap();
    json["keys"][0]["name"] = "zhang-san".into();
    assert!(serde_json::from_value::<Document>(json).unwrap_err().to_string().contains("`name`"));
}

/// Whatever a citizen can choose in a document has a fixed width: there is no room for a text.
#[test]
fn a_document_has_the_same_length_whatever_its_values() {
    let length = |seeds: &[u8]| encoding::encode(&document(seeds)).len();
    assert_eq!((length(&[1]), length(&[255])), (26 + 39, 26 + 39));
    assert_eq!((length(&[1, 2]), length(&[254, 255])), (26 + 2 * 39, 26 + 2 * 39));
}

#[test]
fn a_key_is_listed_only_for_what_its_algorithm_can_do() {
    let p256 = VerificationKey::P256(point(2));
    let bls = VerificationKey::Bls12381G2(std::array::from_fn(|index| if index == 0 { 0x81 } else { 5 }));
    let x25519 = agreement_key(4);
    let invoke = Purposes::CAPABILITY_INVOCATION;
    for (key, purposes, fits) in [
        (key(1).public().into(), Purposes::SIGNING, true),
        (key(1).public().into(), Purposes::KEY_AGREEMENT, false),
        (p256, Purposes::ALL.without(invoke), true),
        (p256, invoke, false),
        (VerificationKey::Secp256k1(point(3)), invoke, false),
        (bls, Purposes::ASSERTION_METHOD, true),
        (bls, Purposes::KEY_AGREEMENT, false),
        (bls, invoke, false),
        (x25519, Purposes::KEY_AGREEMENT, true),
        (x25519, Purposes::KEY_AGREEMENT.and(Purposes::AUTHENTICATION), false),
    ] {
        let mut document = document(&[9]);
        document.keys.push(Key { number: KeyNumber::FIRST, public: key, purposes });
        let checked = document.check(&Parameters::default());
        assert_eq!(checked.is_ok(), fits, "{purposes:?} for {}: {checked:?}", key.algorithm());
        if let Err(error) = checked {
            assert!(error.to_string().contains(key.algorithm()), "{error}");
        }
    }
}

#[test]
fn controllers_and_bytes_have_limits_that_the_errors_name() {
    let controllers = |count: u8| (1..=count).map(|seed| create(&[seed]).did()).collect::<Vec<_>>();
    let check = |controllers, most| {
        let parameters = Parameters { max_document_bytes: most, ..Parameters::default() };
        Document { controllers, ..document(&[1]) }.check(&parameters)
    };
    assert_eq!(check(controllers(4), 4_096), Ok(()));
    let error = check(controllers(5), 4_096).unwrap_err().to_string();
    assert_eq!(error, "the document has 5 controllers, but may have at most 4 (max_controllers)");
    let twice = [controllers(2), controllers(1)].concat();
    assert!(check(twice, 4_096).unwrap_err().to_string().starts_with("controllers[2]: z"));
    let error = check(Vec::new(), 64).unwrap_err().to_string();
    assert_eq!(error, "the document has 65 bytes, but at most 64 are allowed (max_document_bytes)");
}

#[test]
fn services_have_limits_and_distinct_numbers() {
    let services = |numbers: &[u16]| numbers.iter().map(|number| service(*number)).collect::<Vec<_>>();
    let check = |services| Document { services, ..document(&[1]) }.check(&Parameters::default());
    assert_eq!(check(services(&[1, 2, 3, 4])), Ok(()));
    assert_eq!(check(services(&[1; 5])), Err(DocumentError::ServiceCount { count: 5, most: 4 }));
    assert_eq!(check(services(&[7, 7])), Err(DocumentError::ServiceTwice { index: 1, number: 7 }));
}
