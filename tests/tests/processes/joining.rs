//! Operators in organisations of their own: each makes its folder by itself, with encrypted keys; together they found a
//! network, by the commands that `docs/validators.md` tells.

use std::fs;
use std::path::{Path, PathBuf};

use client::private_file::{self, Existing};
use serde_json::Value;
use tests::harness::{Cluster, printed, realdid};

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The JSON that a command answers.
fn done(arguments: &[&str]) -> Value {
    let output = realdid(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", printed(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a command says when it fails.
fn refused(arguments: &[&str]) -> String {
    let output = realdid(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", printed(&output));
    printed(&output)
}

fn passphrase(folder: &Path, name: &str, passphrase: &str) -> PathBuf {
    let path = folder.join(name);
    private_file::write(&path, &format!("{passphrase}\n"), Existing::Keep).expect("written");
    path
}

/// What no log and no output may show.
fn secret_of(member: usize) -> String {
    format!("correct horse {member}")
}

/// Replaces the folders of a cluster by ones that each member made; the contributions to `draft`.
fn members(cluster: &Cluster, draft: &Path) -> Vec<PathBuf> {
    let contributions = (0..cluster.len()).map(|member| {
        let (home, scratch) = (cluster.home(member), cluster.scratch());
        fs::remove_dir_all(&home).expect("removed");
        let file = passphrase(scratch, &format!("passphrase{member}"), &secret_of(member));
        let [p2p, rpc, metrics] = cluster.ports(member).map(|port| format!("127.0.0.1:{port}"));
        let listens = ["--p2p-listen", &p2p, "--rpc-listen", &rpc, "--metrics-listen", &metrics];
        let made = ["init", "--home", text(&home), "--passphrase-file", text(&file)];
        assert_eq!(done(&[&made[..], &listens].concat())["encrypted"], true);
        let (out, name) = (scratch.join(format!("member{member}.json")), format!("member{member}"));
        let home = ["genesis", "contribute", "--home", text(&home), "--draft", text(draft)];
        done(&[&home[..], &["--name", &name, "--address", &p2p, "--out", text(&out)]].concat());
        out
    });
    contributions.collect()
}

fn draft(cluster: &Cluster) -> PathBuf {
    let draft = cluster.scratch().join("draft.toml");
    done(&["genesis", "new", "--network", "acme", "--set", "heartbeat_ms=30000", "--out", text(&draft)]);
    draft
}

fn key_files(home: &Path) -> [PathBuf; 3] {
    ["consensus", "network", "governance"].map(|role| home.join(format!("keys/{role}.json")))
}

#[tokio::test]
async fn four_members_with_encrypted_keys_collect_in_any_order_get_one_hash_and_commit_a_did() {
    let mut cluster = Cluster::prepare(4);
    let draft = draft(&cluster);
    let contributions = members(&cluster, &draft);
    let mut documents = Vec::new();
    for (turn, order) in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]].into_iter().enumerate() {
        let out = cluster.scratch().join(format!("genesis{turn}.toml"));
        let files = order.map(|member: usize| text(&contributions[member]));
        let ends = ["--out", text(&out)];
        let chain =
            done(&[&["genesis", "collect", text(&draft)], &files[..], &ends].concat())["chain"].clone();
        assert_eq!(done(&["genesis", "hash", text(&out)])["chain"], chain);
        documents.push((fs::read(&out).expect("a document"), chain));
        // Each member checks and takes the one that it collected.
        let mine = ["genesis", "verify", text(&out), "--contribution", text(&contributions[turn])];
        let validators = done(&mine)["validators"].clone();
        let signed = |member: usize| validators[member]["signed"] == true;
        assert!((0..4).all(|member| signed(member) == (member == turn)), "{validators}");
        let all: Vec<&str> = contributions.iter().flat_map(|file| ["--contribution", text(file)]).collect();
        let verified = done(&[&["genesis", "verify", text(&out)], &all[..]].concat());
        assert!((0..4).all(|member| verified["validators"][member]["signed"] == true), "{verified}");
        fs::copy(&out, cluster.home(turn).join("genesis.toml")).expect("copied");
    }
    assert!(documents.windows(2).all(|pair| pair[0] == pair[1]), "{documents:?}");

    for member in 0..4 {
        let files = key_files(&cluster.home(member));
        let shown = done(&[&["keys", "show"], &files.each_ref().map(|file| text(file))[..]].concat());
        assert!(shown.as_array().expect("a list").iter().all(|key| key["encrypted"] == true), "{shown}");
        for file in files {
            let content = fs::read_to_string(file).expect("a file");
            assert!(!content.contains("secretKeyMultibase"), "{content}");
        }
        assert_eq!(done(&["config", "check", "--home", text(&cluster.home(member))])["sound"], true);
    }
    cluster.start_all_ready().await;
    let (_, receipt) = cluster.register(0).await;
    let status = cluster.client(3).status().await.expect("status");
    assert_eq!((status.network.as_str(), status.validators, status.quorum), ("acme", 4, 3));
    assert_eq!(status.parameters.heartbeat_ms, 30_000);
    cluster.reaches(3, receipt.height).await;

    // A vote needs the passphrase of the governance key.
    let key = cluster.home(1).join("keys/governance.json");
    let (file, url) = (cluster.scratch().join("passphrase1"), cluster.url(0));
    let propose =
        ["gov", "propose", "set-parameter", "heartbeat_ms=45000", "--key", text(&key), "--rpc", &url];
    let error = refused(&propose);
    assert!(error.contains("governance.json is encrypted") && error.contains("--passphrase-file"), "{error}");
    done(&[&propose[..], &["--passphrase-file", text(&file)]].concat());

    // Member 3 takes another passphrase: the old one opens nothing any more.
    cluster.stop(3);
    let new = passphrase(cluster.scratch(), "passphrase-new", "battery staple");
    let files = key_files(&cluster.home(3));
    let files = files.each_ref().map(|file| text(file));
    let old = cluster.scratch().join("passphrase3");
    let ends = ["--passphrase-file", text(&old), "--new-passphrase-file", text(&new)];
    done(&[&["keys", "change-passphrase"], &files[..], &ends].concat());
    cluster.start_node(3);
    assert!(!cluster.ended(3).success());
    assert!(cluster.logged(3, &["does not open", "consensus.json"]));

    // No passphrase at all: the log names the ways. Then systemd hands it over.
    let config = cluster.home(3).join("config.toml");
    let settings = fs::read_to_string(&config).expect("settings");
    let without = settings.replace("\npassphrase_file = ", "\n# passphrase_file = ");
    assert_ne!(settings, without);
    fs::write(&config, without).expect("written");
    cluster.start_node(3);
    assert!(!cluster.ended(3).success());
    assert!(cluster.logged(3, &["is encrypted", "passphrase_file", "realdid-passphrase", "terminal"]));
    let credentials = cluster.scratch().join("credentials");
    fs::create_dir(&credentials).expect("a folder");
    fs::copy(&new, credentials.join("realdid-passphrase")).expect("copied");
    cluster.set_environment(3, "CREDENTIALS_DIRECTORY", credentials);
    cluster.start_node(3);
    cluster.ready(3).await;
    cluster.register(3).await;
    for member in 0..4 {
        assert!(!cluster.logged(member, &["correct horse"]) && !cluster.logged(member, &["battery"]));
    }
}

#[test]
fn what_is_wrong_with_a_ceremony_is_named_by_file() {
    let cluster = Cluster::prepare(4);
    let draft = draft(&cluster);
    let contributions = members(&cluster, &draft);
    let out = cluster.scratch().join("genesis.toml");
    let collect = |draft: &Path, replaced: Option<(usize, &Path)>| {
        let files: Vec<&str> = (0..4)
            .map(|member| match replaced {
                Some((place, file)) if place == member => text(file),
                _ => text(&contributions[member]),
            })
            .collect();
        refused(&[&["genesis", "collect", text(draft)], &files[..], &["--out", text(&out)]].concat())
    };
    let written = |name: &str, content: &str| {
        let path = cluster.scratch().join(name);
        fs::write(&path, content).expect("written");
        path
    };
    let third = fs::read_to_string(&contributions[2]).expect("a contribution");
    let altered = written("altered.json", &third.replace("127.0.0.1", "127.0.0.2"));
    let error = collect(&draft, Some((2, &altered)));
    assert!(error.contains("altered.json") && error.contains("did not sign"), "{error}");

    let mut unsigned: Value = serde_json::from_str(&third).expect("JSON");
    unsigned.as_object_mut().expect("an object").remove("network_signature");
    let unsigned = written("unsigned.json", &unsigned.to_string());
    let error = collect(&draft, Some((2, &unsigned)));
    assert!(
        error.contains("unsigned.json") && error.contains("missing field `network_signature`"),
        "{error}"
    );

    let error = collect(&draft, Some((2, &contributions[0])));
    assert!(error.contains("member0.json and") && error.contains("the name `member0`"), "{error}");

    let text_of_draft = fs::read_to_string(&draft).expect("a draft");
    let other = written("other.toml", &text_of_draft.replace("acme", "acmf"));
    let error = collect(&other, None);
    assert!(error.contains("member0.json") && error.contains("signed draft"), "{error}");
    assert!(!out.exists(), "nothing is written when anything is wrong");

    // A document without one of them is refused by the one who is left out.
    let files = [&contributions[0], &contributions[1], &contributions[2]].map(|file| text(file));
    done(&[&["genesis", "collect", text(&draft)], &files[..], &["--out", text(&out)]].concat());
    let error = refused(&["genesis", "verify", text(&out), "--contribution", text(&contributions[3])]);
    assert!(error.contains("`member3` is not among the validators"), "{error}");
}

#[test]
fn keys_are_not_written_in_the_clear_unless_asked_and_a_bad_passphrase_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("network.json");
    let new = ["keys", "new", "--role", "network", "--out", text(&out)];
    let error = refused(&new);
    for way in ["--passphrase-file", "realdid-passphrase", "terminal", "--plain"] {
        assert!(error.contains(way), "{way} is missing in: {error}");
    }
    let gone = folder.path().join("gone");
    let error = refused(&[&new[..], &["--passphrase-file", text(&gone)]].concat());
    assert!(error.contains(text(&gone)) && error.contains("No such file"), "{error}");
    let empty = passphrase(folder.path(), "empty", "");
    let error = refused(&[&new[..], &["--passphrase-file", text(&empty)]].concat());
    assert!(error.contains(text(&empty)) && error.contains("is empty"), "{error}");
    let open = folder.path().join("open");
    fs::write(&open, "secret\n").expect("written");
    let error = refused(&[&new[..], &["--passphrase-file", text(&open)]].concat());
    assert!(error.contains("chmod 0600") && !error.contains("secret\n"), "{error}");
    assert!(!out.exists());

    assert_eq!(done(&[&new[..], &["--plain"]].concat())["encrypted"], false);
    let good = passphrase(folder.path(), "good", "a passphrase");
    let encrypt = ["keys", "encrypt", text(&out), "--passphrase-file", text(&good)];
    assert_eq!(done(&encrypt)[0]["encrypted"], true);
    assert!(refused(&encrypt).contains("is encrypted already"));

    // A folder that holds something is not filled.
    let home = folder.path().to_owned();
    let error = refused(&["init", "--home", text(&home), "--plain"]);
    assert!(error.contains("is not empty"), "{error}");
}
