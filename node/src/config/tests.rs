use super::*;

const LISTENS: &str =
    "p2p_listen = \"127.0.0.1:1\"\nrpc_listen = \"127.0.0.1:2\"\nmetrics_listen = \"127.0.0.1:3\"\n";

fn problem(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back() {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut config = Config::at(address(1), address(2), address(3));
    assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
    config.observers = [1, 2].map(|seed| genesis::SecretKey::from_seed([seed; 32]).public()).to_vec();
    config.keys = KeysConfig { passphrase_file: Some("/a \"b\"/c".into()) };
    config.log = LogConfig { format: LogFormat::Json, level: "info,p2p=debug".into() };
    config.rpc.max_batch = 7;
    config.snapshots = SnapshotConfig { every_blocks: 1_000, keep: 5 };
    config.history = HistoryConfig { keep_blocks: 77 };
    config.disk = DiskConfig { floor_bytes: 5 << 30 };
    config.rpc.cors_origins = vec!["https://app.example".into(), "http://127.0.0.1:3000".into()];
    assert_eq!(Config::parse(&config.to_toml()).unwrap(), config);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = Config::parse(LISTENS).unwrap();
    assert_eq!((config.rpc, config.mempool), (RpcConfig::default(), MempoolConfig::default()));
    assert_eq!((config.log, config.observers), (LogConfig::default(), Vec::new()));
    assert_eq!((config.snapshots, config.history), (SnapshotConfig::default(), HistoryConfig::default()));
    assert_eq!(config.disk, DiskConfig { floor_bytes: 1_073_741_824 });
}

/// For every field: a wrong value as it stands in the file, and what the error says is allowed.
const WRONG: [(&str, &str, &str); 40] = [
    ("p2p_listen", "\"localhost:1\"", "expected IP:port"),
    ("p2p_listen", "3", "expected IP:port"),
    ("rpc_listen", "\"127.0.0.1\"", "expected IP:port"),
    ("rpc_listen", "[]", "expected IP:port"),
    ("metrics_listen", "\"127.0.0.1:99999\"", "expected IP:port"),
    ("metrics_listen", "true", "expected IP:port"),
    ("observers", "[\"z6Mk\"]", "expected a Multikey"),
    ("observers", "3", "expected a list of network keys"),
    ("observers", "[3]", "expected a list of network keys"),
    ("keys.passphrase_file", "\"\"", "expected one such as /etc/realdid/passphrase"),
    ("keys.passphrase_file", "7", "expected one such as /etc/realdid/passphrase"),
    ("log.format", "\"loud\"", "expected pretty or json"),
    ("log.format", "3", "expected pretty or json"),
    ("log.level", "\"loud\"", "expected error, warn, info, debug, trace"),
    ("log.level", "\"info,p2p=loud\"", "expected error, warn, info, debug, trace"),
    ("log.level", "3", "expected error, warn, info, debug, trace"),
    ("rpc.max_connections", "0", "1 to 100000"),
    ("rpc.max_connections", "-1", "1 to 100000"),
    ("rpc.max_connections", "\"many\"", "1 to 100000"),
    ("rpc.max_body_bytes", "1", "65536 to 67108864"),
    ("rpc.max_body_bytes", "1.5", "65536 to 67108864"),
    ("rpc.max_batch", "100001", "1 to 100000"),
    ("rpc.max_batch", "[]", "1 to 100000"),
    ("rpc.wait_timeout_max_ms", "1", "100 to 3600000"),
    ("rpc.wait_timeout_max_ms", "\"1s\"", "100 to 3600000"),
    ("rpc.cors_origins", "[\"app.example\"]", "expected a list of https://host"),
    ("rpc.cors_origins", "[\"https://a.example/\"]", "expected a list of https://host"),
    ("rpc.cors_origins", "\"*\"", "expected a list of https://host"),
    ("rpc.cors_origins", "[7]", "expected a list of https://host"),
    ("mempool.max_bytes", "5", "1048576 to 68719476736"),
    ("mempool.max_bytes", "\"5 MB\"", "1048576 to 68719476736"),
    ("snapshots.every_blocks", "-1", "0 to 1000000000"),
    ("snapshots.every_blocks", "true", "0 to 1000000000"),
    ("snapshots.keep", "0", "1 to 1000"),
    ("snapshots.keep", "1001", "1 to 1000"),
    ("history.keep_blocks", "-1", "0 to 1000000000000"),
    ("history.keep_blocks", "1000000000001", "0 to 1000000000000"),
    ("history.keep_blocks", "\"all\"", "0 to 1000000000000"),
    ("disk.floor_bytes", "-1", "0 to 1000000000000000"),
    ("disk.floor_bytes", "\"1 GiB\"", "0 to 1000000000000000"),
];

/// A file with one wrong field, and the field's line.
fn with(field: &str, value: &str) -> (String, usize) {
    match field.split_once('.') {
        Some((section, field)) => (format!("{LISTENS}[{section}]\n{field} = {value}\n"), 5),
        None => {
            let others: Vec<&str> = LISTENS.lines().filter(|line| !line.starts_with(field)).collect();
            (format!("{}\n{field} = {value}\n", others.join("\n")), others.len() + 1)
        }
    }
}

#[test]
fn each_wrong_field_is_named_with_its_line_value_and_what_is_allowed() {
    for (field, value, allowed) in WRONG {
        let (text, line) = with(field, value);
        let error = problem(&text);
        let name = field.rsplit('.').next().unwrap();
        for part in [&format!("line {line}"), &format!("{name} = {value}"), allowed] {
            assert!(error.contains(part), "`{part}` is missing for {field} = {value}: {error}");
        }
    }
    // None was forgotten.
    for setting in Config::settings(LISTENS).unwrap() {
        let count = WRONG.iter().filter(|(field, ..)| *field == setting.field).count();
        assert!(count >= 2, "{} has {count} wrong values here", setting.field);
    }
}

#[test]
fn an_unknown_field_is_an_error_in_every_section() {
    let sections = ["", "keys", "log", "rpc", "mempool", "snapshots", "history", "disk"];
    for setting in Config::settings(LISTENS).unwrap() {
        let section = setting.field.split_once('.').map_or("", |(section, _)| section);
        assert!(sections.contains(&section), "{section}");
    }
    for section in sections {
        let field = if section.is_empty() { "colour".to_owned() } else { format!("{section}.colour") };
        let (text, line) = with(&field, "1");
        let error = problem(&text);
        assert!(error.contains("unknown field `colour`, expected"), "{error}");
        assert!(error.contains(&format!("line {line}")), "{error}");
    }
    assert!(problem(&format!("{LISTENS}[colours]\n")).contains("colours"));
    assert!(problem(&format!("{LISTENS}[mempool")).contains("line 4"));
    let twice = format!("{LISTENS}observers = []\nobservers = []\n");
    assert!(problem(&twice).contains("line 5"), "{}", problem(&twice));
}

#[test]
fn a_key_that_is_listed_twice_is_named() {
    let key = genesis::SecretKey::from_seed([1; 32]).public();
    let error = problem(&format!("{LISTENS}observers = [\"{key}\", \"{key}\"]\n"));
    assert!(error.contains("line 4") && error.contains("is listed twice"), "{error}");
}

#[test]
fn every_setting_is_told_with_its_value_and_where_it_comes_from() {
    let text = format!("{LISTENS}\n# a comment\n[rpc]\n\nmax_batch = 7\n[keys]\npassphrase_file = \"p\"\n");
    let settings = Config::settings(&text).unwrap();
    let of = |field: &str| {
        let setting = settings.iter().find(|setting| setting.field == field).expect(field);
        (setting.value.as_ref().map(ToString::to_string), setting.origin)
    };
    assert_eq!(of("rpc_listen"), (Some("\"127.0.0.1:2\"".into()), Origin::File { line: 2 }));
    assert_eq!(of("rpc.max_batch"), (Some("7".into()), Origin::File { line: 8 }));
    assert_eq!(of("keys.passphrase_file"), (Some("\"p\"".into()), Origin::File { line: 10 }));
    assert_eq!(of("rpc.max_connections"), (Some("200".into()), Origin::Default));
    assert_eq!(of("observers"), (Some("[]".into()), Origin::Default));
    let bare = Config::settings(LISTENS).unwrap();
    let passphrase = bare.iter().find(|setting| setting.field == "keys.passphrase_file").unwrap();
    assert_eq!((&passphrase.value, passphrase.origin), (&None, Origin::Default));
    // What the defaults' own file says is all that there is, one by one.
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let written = Config::settings(&Config::at(address(1), address(2), address(3)).to_toml()).unwrap();
    let of_default: Vec<_> = written.iter().filter(|setting| setting.origin == Origin::Default).collect();
    assert_eq!(of_default.len(), 1, "all but the passphrase file: {of_default:?}");
}

#[test]
fn a_wrong_or_missing_address_is_named() {
    for (field, line) in [("p2p_listen", 1), ("rpc_listen", 2), ("metrics_listen", 3)] {
        let missing: String =
            LISTENS.lines().filter(|text| !text.starts_with(field)).map(|text| format!("{text}\n")).collect();
        assert!(problem(&missing).contains(&format!("missing field `{field}`")), "{field}");
        for value in ["localhost:1", "127.0.0.1", "127.0.0.1:99999", ""] {
            let text = LISTENS.replace(&format!("127.0.0.1:{line}\""), &format!("{value}\""));
            let error = problem(&text);
            assert!(error.contains(&format!("line {line}")) && error.contains(field), "{error}");
            assert!(error.contains("expected IP:port such as 127.0.0.1:26600"), "{error}");
        }
    }
}

#[test]
fn an_address_is_used_once_but_port_0_as_often_as_one_likes() {
    let error = problem(&LISTENS.replace("127.0.0.1:3", "127.0.0.1:1"));
    assert_eq!(
        error,
        "line 3: metrics_listen is 127.0.0.1:1, but p2p_listen is too: give each a port of its own"
    );
    let free = ["1", "2", "3"]
        .iter()
        .fold(LISTENS.to_owned(), |text, port| text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0"));
    assert!(Config::parse(&free).is_ok());
}

#[test]
fn garbage_and_endless_lines_give_short_errors() {
    for text in [String::from("\u{0}\u{1}"), "x".repeat(1 << 20), "[".repeat(10_000), "a.".repeat(10_000)] {
        let error = problem(&text);
        assert!(!error.is_empty() && error.chars().count() <= 600, "{}", error.len());
    }
}

#[test]
fn a_passphrase_in_the_place_of_its_file_is_not_repeated() {
    for line in ["passphrase = \"opensesame\"", "[keys]\npassphrase = \"opensesame\""] {
        let error = Config::parse(&format!("{LISTENS}{line}\n")).unwrap_err().to_string();
        assert!(!error.contains("opensesame") && error.contains("passphrase"), "{error}");
    }
}
