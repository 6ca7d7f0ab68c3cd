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

#[test]
fn each_wrong_field_is_named_with_its_line_value_and_what_is_allowed() {
    for (line, expected) in [
        ("colour = 1", ["colour", "p2p_listen"]),
        ("observers = [\"z6Mk\"]", ["z6Mk", "Multikey"]),
        ("observers = 3", ["observers = 3", "sequence"]),
        ("[log]\nformat = \"loud\"", ["loud", "pretty"]),
        ("[log]\nlevel = \"loud\"", ["`loud` is not a log level", "debug"]),
        ("[log]\nlevel = \"info,p2p=loud\"", ["p2p=loud", "debug"]),
        ("[log]\ncolour = true", ["colour", "format"]),
        ("[rpc]\nmax_connections = 0", ["max_connections = 0", "expected 1 to 100000"]),
        ("[rpc]\nmax_connections = -1", ["max_connections = -1", "expected 1 to 100000"]),
        ("[rpc]\nmax_connections = \"many\"", ["max_connections = \"many\"", "invalid type"]),
        ("[rpc]\nmax_body_bytes = 1", ["max_body_bytes = 1", "expected 65536 to 67108864"]),
        ("[rpc]\nmax_batch = 100001", ["max_batch = 100001", "expected 1 to 100000"]),
        ("[rpc]\nwait_timeout_max_ms = 1", ["wait_timeout_max_ms = 1", "expected 100 to 3600000"]),
        ("[rpc]\ncors_origins = [\"app.example\"]", ["`app.example` is not an origin", "https://host"]),
        ("[rpc]\ncors_origins = [\"https://a.example/\"]", ["https://a.example/", "https://host"]),
        ("[mempool]\nmax_bytes = 5", ["max_bytes = 5", "expected 1048576 to 68719476736"]),
        ("[snapshots]\nkeep = 0", ["keep = 0", "expected 1 to 1000"]),
        ("[history]\nkeep_blocks = -1", ["keep_blocks = -1", "expected 0 to 1000000000000"]),
        ("[disk]\nfloor_bytes = -1", ["floor_bytes = -1", "expected 0 to 1000000000000000"]),
        ("[mempool", ["line 4", "[mempool"]),
    ] {
        let error = problem(&format!("{LISTENS}{line}\n"));
        let number = 4 + line.matches('\n').count();
        for part in [&format!("line {number}"), expected[0], expected[1]] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
    }
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
    assert_eq!(error, "metrics_listen is 127.0.0.1:1, but p2p_listen is too: give each a port of its own");
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
