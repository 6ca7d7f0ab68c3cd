use super::*;

fn draft() -> Draft {
    Draft::new("acme".into(), UnixMillis(1_790_000_000_000), Parameters::default()).unwrap()
}

fn keys(member: u8) -> Keys {
    let key = |role: u8| SecretKey::from_seed([role.wrapping_mul(64) + member; 32]);
    Keys { consensus: key(1), network: key(2), governance: key(3) }
}

fn contribution(member: u8) -> Contribution {
    let address = format!("10.0.0.{member}:26600");
    Contribution::sign(&draft(), format!("member-{member}"), address, &keys(member)).unwrap()
}

fn four() -> Vec<Contribution> {
    (1..=4).map(contribution).collect()
}

/// The error, and the places of those at fault.
fn fault(contributions: &[Contribution]) -> (usize, Option<usize>, String) {
    match collect(&draft(), contributions).unwrap_err() {
        CollectError::Contribution { place, other, problem } => (place, other, problem),
        error => panic!("{error}"),
    }
}

#[test]
fn contributions_in_every_order_give_the_same_bytes_and_hash() {
    let all = four();
    let first = collect(&draft(), &all).unwrap();
    let mut orders = 0;
    for a in 0..4 {
        for b in (0..4).filter(|b| *b != a) {
            for c in (0..4).filter(|c| ![a, b].contains(c)) {
                let d = 6 - a - b - c;
                let order = [a, b, c, d].map(|place| all[place].clone());
                let genesis = collect(&draft(), &order).unwrap();
                assert_eq!(genesis.to_toml(), first.to_toml());
                assert_eq!(genesis.chain(), first.chain());
                orders += 1;
            }
        }
    }
    assert_eq!(orders, 24);
    let names: Vec<_> = first.validators().iter().map(|(_, validator)| validator.name.as_str()).collect();
    assert_eq!(names, ["member-1", "member-2", "member-3", "member-4"]);
    assert_eq!(Genesis::parse(&first.to_toml()).unwrap(), first);
}

#[test]
fn drafts_and_contributions_survive_their_files() {
    assert_eq!(Draft::parse(&draft().to_toml()).unwrap(), draft());
    assert_eq!(Contribution::parse(&contribution(1).to_json()).unwrap(), contribution(1));
    // What is left out has its default, so that the digest is the same.
    let short = "version = 4\nnetwork = \"acme\"\ntime_ms = 1790000000000\n";
    assert_eq!(Draft::parse(short).unwrap().digest(), draft().digest());
}

#[test]
fn each_part_of_a_draft_changes_what_is_signed() {
    let parameters = Parameters { heartbeat_ms: 30_000, ..Parameters::default() };
    let time = draft().time();
    let digests = [
        draft(),
        Draft::new("acmf".into(), time, Parameters::default()).unwrap(),
        Draft::new("acme".into(), UnixMillis(time.0 + 1), Parameters::default()).unwrap(),
        Draft::new("acme".into(), time, parameters).unwrap(),
    ]
    .map(|draft| draft.digest());
    for (place, digest) in digests.iter().enumerate() {
        assert!(!digests[..place].contains(digest), "{place}");
    }
}

#[test]
fn an_altered_contribution_is_refused_with_the_key_that_did_not_sign() {
    type Change = fn(&mut Contribution);
    let changes: [(Change, &str); 7] = [
        (|it| it.validator.name = "mallory".into(), "consensus key"),
        (|it| it.validator.address = "10.9.9.9:1".into(), "consensus key"),
        (|it| it.validator.network_key = keys(9).network.public(), "consensus key"),
        (|it| it.consensus_signature = it.network_signature, "consensus key"),
        (|it| it.network_signature = it.consensus_signature, "network key"),
        (|it| it.governance_signature = Signature::Ed25519([0; 64]), "governance key"),
        (|it| it.validator.governance_key = it.validator.network_key, "listed twice"),
    ];
    for (change, expected) in changes {
        let mut all = four();
        change(&mut all[2]);
        let (place, other, problem) = fault(&all);
        assert_eq!((place, other), (2, None), "{problem}");
        assert!(problem.contains(expected), "expected `{expected}`: {problem}");
    }
}

#[test]
fn a_contribution_to_another_draft_is_refused() {
    let other = Draft::new("other".into(), draft().time(), Parameters::default()).unwrap();
    let mut all = four();
    all[1] = Contribution::sign(&other, "member-2".into(), "10.0.0.2:1".into(), &keys(2)).unwrap();
    let (place, _, problem) = fault(&all);
    assert!(place == 1 && problem.contains(&other.digest().to_string()), "{problem}");
    // To say that it is for this one does not make it so.
    all[1].draft = draft().digest();
    assert!(fault(&all).2.contains("did not sign"));
}

#[test]
fn two_with_one_name_key_or_address_are_named_both() {
    let signed = |name: &str, address: &str, keys: &Keys| {
        Contribution::sign(&draft(), name.into(), address.into(), keys).unwrap()
    };
    let mut crossed = keys(9);
    crossed.governance = keys(1).consensus;
    for (fifth, expected) in [
        (contribution(1), "the name `member-1`"),
        (signed("member-1", "10.0.0.9:1", &keys(9)), "the name `member-1`"),
        (signed("member-9", "10.0.0.1:26600", &keys(9)), "the address `10.0.0.1:26600`"),
        (signed("member-9", "10.0.0.9:1", &keys(1)), "the consensus key `z6Mk"),
        (signed("member-9", "10.0.0.9:1", &crossed), "the governance key `z6Mk"),
    ] {
        let all = [four(), vec![fifth]].concat();
        let (place, other, problem) = fault(&all);
        assert_eq!((place, other), (4, Some(0)), "{problem}");
        assert!(problem.contains(expected), "expected `{expected}`: {problem}");
    }
}

#[test]
fn a_missing_signature_or_an_unknown_field_is_no_contribution() {
    let json: serde_json::Value = serde_json::from_str(&contribution(1).to_json()).unwrap();
    for field in ["consensus_signature", "network_signature", "governance_signature", "draft", "validator"] {
        let mut without = json.clone();
        without.as_object_mut().unwrap().remove(field).unwrap();
        let error = Contribution::parse(&without.to_string()).unwrap_err().to_string();
        assert!(error.contains(&format!("missing field `{field}`")), "{error}");
    }
    let mut more = json.clone();
    more["weight"] = 7.into();
    assert!(Contribution::parse(&more.to_string()).unwrap_err().to_string().contains("weight"));
    let long = " ".repeat(MAX_CONTRIBUTION_BYTES + 1);
    assert!(Contribution::parse(&long).unwrap_err().to_string().contains("at most"));
}

#[test]
fn a_member_confirms_the_document_that_holds_what_it_signed_and_no_other() {
    let all = four();
    let genesis = collect(&draft(), &all).unwrap();
    for contribution in &all {
        assert_eq!(confirm(&genesis, contribution), Ok(()));
    }
    let without = collect(&draft(), &all[1..]).unwrap();
    let error = confirm(&without, &all[0]).unwrap_err();
    assert_eq!(error, ConfirmError::LeftOut { name: "member-1".into() });

    let with = |time: UnixMillis, address: &str| {
        let mut validators: Vec<_> = all.iter().map(|it| it.validator.clone()).collect();
        validators[0].address = address.into();
        Genesis::new("acme".into(), time, Parameters::default(), validators).unwrap()
    };
    let moved = with(draft().time(), "10.9.9.9:1");
    let error = confirm(&moved, &all[0]).unwrap_err().to_string();
    assert!(error.contains("another address") && error.contains("10.9.9.9:1"), "{error}");
    assert_eq!(confirm(&moved, &all[1]), Ok(()), "the others' entries are theirs to check");
    let later = with(UnixMillis(draft().time().0 + 1), "10.0.0.1:26600");
    assert!(matches!(confirm(&later, &all[0]), Err(ConfirmError::OtherDraft { .. })));
}

#[test]
fn a_wrong_draft_is_refused_by_its_field() {
    let fault = |text: &str| Draft::parse(text).unwrap_err().to_string();
    let good = "version = 4\nnetwork = \"acme\"\ntime_ms = 1\n";
    assert!(Draft::parse(good).is_ok());
    assert!(fault(&good.replace("acme", "Acme")).contains("network: `Acme`"));
    assert!(fault(&good.replace("version = 4", "version = 5")).contains("version: 5 is not known"));
    assert!(fault(&format!("{good}validators = []\n")).contains("validators"));
    assert!(fault(&format!("{good}[parameters]\ndelta_ms = 1\n")).contains("delta_ms is 1"));
    assert!(collect(&draft(), &[]).unwrap_err().to_string().contains("at least one"));
}
