//! What scripts/packaging holds, as far as it can be judged without installing it: the systemd unit by systemd's own tools, the
//! container files by their structure. Whether images build and containers run shows only where there is a container engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::harness::{binary, realdid};
use yaml_rust2::{Yaml, YamlLoader};

/// The most that a unit may be exposed, in systemd's own measure: from 0, safe, to 10.
const MOST_EXPOSED: f64 = 2.0;

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/packaging").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(packaging(file)).expect("a file")
}

/// Systemd's tool on the unit, with the binary where it was built. None where there is no such tool.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("realdid.service");
    let text = read("realdid.service");
    assert!(text.contains("ExecStart=/usr/bin/realdid "));
    let text = text.replace("/usr/bin/realdid", binary().to_str().expect("a path in UTF-8"));
    fs::write(&unit, text).expect("written");
    let output = match Command::new("systemd-analyze").args(arguments).arg(&unit).output() {
        Ok(output) => output,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "systemd-analyze: {error}");
            println!("systemd-analyze is not here: the unit is not judged");
            return None;
        }
    };
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Some((output.status.success(), text.concat()))
}

#[test]
fn the_unit_is_sound_and_little_exposed() {
    let Some((sound, text)) = analyze(&["verify", "--man=no"]) else { return };
    assert!(sound && !text.contains("realdid.service:"), "{text}");
    let Some((_, text)) = analyze(&["security", "--offline=true", "--no-pager"]) else { return };
    let line = text.lines().find(|line| line.contains("Overall exposure level")).expect("a verdict");
    let level = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
    let level: f64 = level.and_then(|level| level.parse().ok()).expect("a number");
    println!("{line}");
    assert!(level <= MOST_EXPOSED, "{text}");
}

#[test]
fn the_unit_starts_the_node_by_a_line_that_the_binary_takes_and_does_not_repeat_what_a_person_must_mend() {
    let text = read("realdid.service");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}"))
    };
    let line: Vec<&str> = value("ExecStart").split(' ').skip(1).collect();
    let output = realdid(&line);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "it parses, and there is no such folder here: {error}");
    let codes: Vec<&str> = value("RestartPreventExitStatus").split(' ').collect();
    assert_eq!(codes, ["2", "6"], "as `realdid help` documents them");
    assert!(read("realdid.sysusers").contains(&format!("u {} ", value("User"))));
}

#[test]
fn the_container_files_are_sound_and_start_four_nodes_on_the_ports_of_a_testnet() {
    let documents = YamlLoader::load_from_str(&read("compose.yaml")).expect("YAML");
    let [document] = &documents[..] else { panic!("{} documents", documents.len()) };
    let services = document["services"].as_hash().expect("services");
    let names: Vec<&str> = services.keys().filter_map(Yaml::as_str).collect();
    assert_eq!(names, ["folders", "node0", "node1", "node2", "node3"]);
    let (dockerfile, ports) = (read("Dockerfile"), &document["services"]["node0"]["ports"]);
    assert_eq!(
        document["services"]["folders"]["build"]["dockerfile"].as_str(),
        Some("scripts/packaging/Dockerfile")
    );
    for node in 0..4_usize {
        let service = &document["services"][format!("node{node}").as_str()];
        let home = format!("net/node{node}");
        let command: Vec<&str> =
            service["command"].as_vec().expect("a command").iter().filter_map(Yaml::as_str).collect();
        assert_eq!(command, ["start", "--home", &home]);
        // As `realdid testnet` gives them out; only this machine reaches them.
        let (rpc, metrics) = (26_601 + 10 * node, 26_602 + 10 * node);
        assert_eq!(ports[node].as_str(), Some(format!("127.0.0.1:{rpc}-{metrics}:{rpc}-{metrics}").as_str()));
        let test = service["healthcheck"]["test"].as_vec().expect("a health check");
        let test: Vec<&str> = test.iter().filter_map(Yaml::as_str).collect();
        // Not --rpc alone: the image sets REALDID_HOME, to another folder.
        assert_eq!(test, ["CMD", "realdid", "status", "--home", &home]);
        if node > 0 {
            assert_eq!(service["network_mode"].as_str(), Some("service:node0"), "one network, one 127.0.0.1");
        }
    }
    for line in ["COPY --from=build /realdid/target/release/realdid /usr/bin/realdid", "USER 10001"] {
        assert!(dockerfile.lines().any(|found| found == line), "{line}");
    }
    assert!(dockerfile.contains("cargo build --release --locked --workspace --bin realdid"));
}

#[test]
fn the_folders_of_the_composed_network_serve_clients_from_outside_and_peers_inside() {
    // What the container `folders` runs, with the binary that was built.
    let documents = YamlLoader::load_from_str(&read("compose.yaml")).expect("YAML");
    let script = documents[0]["services"]["folders"]["command"][0].as_str().expect("a script");
    let folder = tempfile::tempdir().expect("a folder");
    let built = binary();
    let path = std::env::join_paths(
        [built.parent().expect("a folder").to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").expect("a PATH"))),
    );
    let run = || {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-eu", "-c", script])
            .current_dir(folder.path())
            .env("PATH", path.as_ref().expect("a PATH"));
        let output = shell.output().expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run();
    let config = |node: usize| {
        fs::read_to_string(folder.path().join(format!("net/node{node}/config.toml"))).expect("a file")
    };
    for node in 0..4_usize {
        let port = 26_600 + 10 * node;
        let parsed = node::config::Config::parse(&config(node)).expect("settings");
        let listens =
            [parsed.p2p_listen, parsed.rpc_listen, parsed.metrics_listen].map(|listen| listen.to_string());
        assert_eq!(
            listens,
            [format!("127.0.0.1:{port}"), format!("0.0.0.0:{}", port + 1), format!("0.0.0.0:{}", port + 2)]
        );
    }
    // A second time, as after `docker compose up` again, nothing changes: the keys are those of the chain.
    let key = || fs::read(folder.path().join("net/node0/keys/consensus.json")).expect("a key");
    let before = key();
    run();
    assert_eq!(key(), before);
}
