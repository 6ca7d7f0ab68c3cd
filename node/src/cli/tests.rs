use clap::CommandFactory;

use super::*;

const DID: &str = "did:realdid:test:zG8twUYk1af71n7x3SB4jjHtvQKJGjivPcVXyAoei7gLd";

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_commands_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_and_every_leaf_an_example() {
    fn look(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        if command.get_subcommands().next().is_none() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Example") && help.contains("realdid "),
                "{} has no example",
                command.get_name()
            );
        }
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} {} has no help",
                command.get_name(),
                argument.get_id()
            );
        }
        command.get_subcommands().for_each(look);
    }
    let command = Cli::command();
    assert!(command.get_after_help().is_some_and(|help| help.to_string().contains("Exit codes")));
    command.get_subcommands().for_each(look);
}

#[test]
fn the_documented_lines_parse() {
    let did = DID;
    for line in [
        "realdid testnet --validators 4 --observers 1 --dir ./localnet --base-port 26600 --network test --force --json",
        "realdid start --home ./localnet/node0 --log-format json --log-level info,p2p=debug",
        "realdid --json status --rpc http://127.0.0.1:26601",
        "realdid did create --rpc http://127.0.0.1:26601 --keyring ./ring --timeout 500ms",
        "realdid did resume",
        &format!("realdid did update {did} --add-key"),
        &format!("realdid did recover {did}"),
        &format!("realdid did deactivate {did} --recovery"),
        &format!("realdid did endorse {did} --registrar {did}"),
        &format!("realdid did withdraw-endorsement {did} --registrar {did} --reason court-order"),
        &format!("realdid did resolve {did} --version 1"),
        &format!(
            "realdid gov propose accredit {did} --role registrar --scope id --days 30 --quota 9 --key ./g.json"
        ),
        &format!("realdid gov propose suspend {did} --role issuer --key ./g.json"),
        &format!("realdid gov propose withdraw-accreditation {did} --role issuer --key ./g.json"),
        "realdid gov propose activate-rules 2 --from 250000 --key ./g.json",
        "realdid tx submit -",
        &format!("realdid tx wait {} --timeout 30s", "0".repeat(64)),
        "realdid tx show ./a.tx",
        "realdid keys new --role network --out ./network.json",
        "realdid keys new --role network --out ./network.json --passphrase-file ./p",
        "realdid keys encrypt a.json b.json --passphrase-file ./p",
        "realdid keys change-passphrase a.json --passphrase-file ./p --new-passphrase-file ./q",
        "realdid init --home ./node --genesis ./genesis.toml --p2p-listen 0.0.0.0:26600 --plain",
        "realdid start --home ./node --passphrase-file ./p",
        "realdid genesis new --network acme --out ./draft.toml --set heartbeat_ms=30000",
        "realdid genesis contribute --home ./node --draft ./d.toml --name a --address b.example:1 --out ./a.json",
        "realdid genesis collect ./draft.toml ./a.json ./b.json --out ./genesis.toml",
        "realdid genesis verify ./genesis.toml --contribution ./a.json",
        "realdid genesis hash ./genesis.toml --json",
        "realdid config check --home ./node",
        "realdid config show --effective --home ./node --json",
        "realdid keys show a.json b.json",
        "realdid bench --rpc http://a:1,http://b:2 --rate 1000 --seconds 10 --json",
        "realdid reset --home ./localnet/node0 --yes",
        "realdid doctor --home ./localnet/node0 --rpc http://a:1 --rpc http://b:2 --json",
        "realdid completions fish",
        "realdid man --out ./man",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    for (line, value, allowed) in [
        ("realdid testnet --validators 513", "513", "1..=512"),
        ("realdid testnet --validators 0", "'0'", "1..=512"),
        ("realdid testnet --observers 65", "65", "0..=64"),
        ("realdid testnet --base-port 70000", "70000", "65535"),
        ("realdid keys new --role king --out a", "king", "consensus, network, governance or did"),
        ("realdid tx wait 12", "`12`", "64 hex digits"),
        (&format!("realdid tx wait {} --timeout soon", "0".repeat(64)), "soon", "30s, 500ms or 2m"),
        ("realdid did update did:web:x", "did:web:x", "did:realdid:<network>:<id>"),
        ("realdid start --home a --log-level loud", "loud", "debug"),
        ("realdid start --home a --log-format loud", "loud", "pretty, json"),
        ("realdid bench --rate 0", "'0'", "1..=1000000"),
        ("realdid did resolve foo", "foo", "did:realdid:"),
        (&format!("realdid did resolve {DID} --version 0"), "'0'", "1.."),
        ("realdid status --rpc localhost", "`localhost`", "http://127.0.0.1:26601"),
        ("realdid status --rpc=", "``", "http://127.0.0.1:26601"),
        ("realdid bench --rpc http://a:1,b:2", "`b:2`", "http://127.0.0.1:26601"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        let text = error.to_string();
        assert!(text.contains(value) && text.contains(allowed), "{line}: {text}");
    }
}

#[test]
fn an_interrupted_change_says_where_it_is_and_how_to_go_on() {
    for (line, begun) in [
        ("realdid did create", true),
        (&format!("realdid did deactivate {DID}"), true),
        (&format!("realdid did resolve {DID}"), false),
    ] {
        let Command::Did(did) = parse(line).unwrap().command else { panic!("{line}") };
        let text = Ending::Interrupted(did.left_by_interruption()).to_string();
        assert_eq!(text.contains("`realdid did resume`"), begun, "{text}");
    }
}

#[test]
fn times_have_units() {
    for (text, millis) in [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("7", 7_000), ("0", 0)] {
        assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
    }
    for text in
        ["", "s", "1h", "-1s", "1.5s", "ms", "999999999999999999999s", "18446744073709551615m", "2000m"]
    {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn exit_codes_are_those_of_the_help() {
    use client::rpc::CallError;
    let call = |code| {
        let error = CallError { code, message: String::new(), data: None };
        anyhow::Error::from(RpcError::Call { url: String::new(), error })
    };
    for (error, code) in [
        (anyhow::anyhow!("x"), 1),
        (Ending::FateUnknown(String::new()).into(), 3),
        (call(code::TIMED_OUT), 3),
        (call(code::EXPIRED), 5),
        (Ending::NotFound(String::new()).into(), 4),
        (call(code::NOT_FOUND), 4),
        (WalletError::Deactivated { did: DID.parse().unwrap() }.into(), 4),
        (Ending::NotApplied(String::new()).into(), 5),
        (call(code::REFUSED), 5),
        (call(code::BUSY), 1),
        (DiskFull { path: "data".into(), free_bytes: 1, needed_bytes: 2 }.into(), 6),
        (Ending::Logged { code: 6 }.into(), 6),
        (Ending::Interrupted("").into(), 130),
        (Ending::CommandLine(String::new()).into(), 2),
        (call(code::TIMED_OUT).context("outer"), 3),
    ] {
        assert_eq!(exit_code(&error), code, "{error:?}");
        assert!(EXIT_CODES.contains(&format!("\n  {code} ")), "{code} is not documented");
    }
}
