use clap::Parser;
use client::api::Validator as ApiValidator;
use genesis::{Epoch, Height, Parameters};

use super::*;

fn configuration(parameters: Parameters) -> Configuration {
    let key = SecretKey::from_seed([1; 32]).public();
    let validator = ApiValidator {
        name: "node0".into(),
        consensus_key: key,
        network_key: key,
        governance_key: key,
        address: "127.0.0.1:26600".into(),
    };
    Configuration { digest: Digest::ZERO, validators: vec![validator], parameters }
}

#[test]
fn the_list_tells_what_was_decided_and_what_each_proposal_changes() {
    let faster = Parameters { heartbeat_ms: 30_000, ..Parameters::default() };
    let proposal = Proposal {
        id: Digest::ZERO,
        proposer: "node0".into(),
        change: Change::SetParameters(faster),
        approvals: vec!["node0".into(), "node2".into()],
        rejections: vec![],
        expires_at: Height(99),
    };
    let mut governance = Governance {
        epoch: Epoch(2),
        began: Height(7),
        quorum: 3,
        current: configuration(Parameters::default()),
        pending: None,
        proposals: vec![],
    };
    let empty = text(&governance);
    assert!(
        empty.contains("Epoch 2, since block 7: node0; 3 decide.") && empty.contains("Nothing is voted on")
    );
    governance.pending = Some(configuration(Parameters { delta_ms: 500, ..Parameters::default() }));
    governance.proposals.push(proposal);
    let text = text(&governance);
    for part in [
        "in charge from the next epoch on: node0",
        "Its parameters are others",
        &Digest::ZERO.to_string(),
        // Against what is aimed at: to approve it takes the other decision back.
        "set delta_ms from 500 to 400, heartbeat_ms from 60000 to 30000",
        "proposed by node0, open until block 99",
        "for: node0, node2",
        "against: nobody",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_vote_says_one_of_two_words() {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        gov: Gov,
    }
    let id = Digest::ZERO.to_string();
    let parse = |words: &[&str]| {
        let line = ["gov", "vote", &id, "--key", "k.json"].into_iter().chain(words.iter().copied());
        Line::try_parse_from(line).map(|line| match line.gov {
            Gov::Vote { approve, .. } => approve,
            other => panic!("{other:?}"),
        })
    };
    assert!(parse(&["--approve"]).unwrap());
    assert!(!parse(&["--reject"]).unwrap());
    assert!(parse(&[]).is_err() && parse(&["--approve", "--reject"]).is_err());
}
