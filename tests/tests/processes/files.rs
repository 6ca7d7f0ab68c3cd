//! Files that are wrong, missing or damaged: each ends the start with one line that names the file and the way out.

use std::fs;
use std::path::Path;

use tests::harness::{Cluster, printed, realdid};

/// Starts node 0, which must refuse; what it printed.
fn refusal(cluster: &Cluster) -> String {
    let home = cluster.home(0);
    let output = realdid(&["start", "--home", home.to_str().expect("a path in UTF-8")]);
    let text = printed(&output);
    assert!(!output.status.success(), "it started:\n{text}");
    assert!(!text.contains("panicked") && !text.contains("RUST_BACKTRACE"), "{text}");
    text
}

/// Changes a file for the time of `check`.
fn with(path: &Path, change: impl Fn(String) -> String, check: impl FnOnce()) {
    let good = fs::read_to_string(path).expect("a file");
    fs::write(path, change(good.clone())).expect("written");
    check();
    fs::write(path, good).expect("written");
}

#[test]
fn a_wrong_file_is_named_with_what_is_wrong() {
    let cluster = Cluster::prepare(4);
    let home = cluster.home(0);
    let replace = |from: &'static str, to: &'static str| {
        move |text: String| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        }
    };
    let says = |words: &[&str]| {
        let text = refusal(&cluster);
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} in:\n{text}");
    };
    let config = home.join("config.toml");
    with(&config, replace("rpc_listen = \"", "rpc_listen = \"x"), || {
        says(&["config.toml", "rpc_listen", "x127"])
    });
    with(&config, replace("[mempool]", "[memory]"), || says(&["config.toml", "memory"]));
    with(&config, |_| "\u{0}\u{1}".repeat(1_000), || says(&["config.toml"]));
    let genesis = home.join("genesis.toml");
    with(&genesis, replace("delta_ms = 400", "delta_ms = 4"), || says(&["genesis.toml", "delta_ms"]));
    with(&genesis, |text| text[..text.len() / 2].to_owned(), || says(&["genesis.toml"]));
    with(&genesis, |_| "x".repeat(2 << 20), || says(&["genesis.toml"]));
    let key = home.join("keys/consensus.json");
    let secret: String = fs::read_to_string(&key).expect("a key").chars().rev().collect();
    with(&key, |text| text[..text.len() / 2].to_owned(), || says(&["consensus.json"]));
    with(&key, |_| "{}".to_owned(), || says(&["consensus.json"]));
    with(
        &key,
        |_| secret.clone(),
        || {
            let text = refusal(&cluster);
            assert!(text.contains("consensus.json"), "{text}");
            assert!(!text.contains(&secret[20..40]), "a key file's content was printed:\n{text}");
        },
    );
    let other = fs::read_to_string(cluster.home(1).join("keys/consensus.json")).expect("a key");
    with(&key, |_| other.clone(), || says(&["network.json", "network key"]));
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_command_that_mends_it() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::prepare(1);
    let key = cluster.home(0).join("keys/network.json");
    let mode = fs::metadata(&key).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let text = refusal(&cluster);
    assert!(text.contains("chmod 0600") && text.contains("network.json"), "{text}");
}

#[tokio::test]
async fn a_second_node_in_the_same_folder_and_a_taken_port_are_refused() {
    let cluster = Cluster::start(1).await;
    let text = refusal(&cluster);
    assert!(text.contains("a node is running in"), "{text}");
    let second = Cluster::prepare(1);
    let config = second.home(0).join("config.toml");
    let taken = format!("127.0.0.1:{}", cluster.ports(0)[1]);
    let text = fs::read_to_string(&config).expect("a file");
    let free = format!("127.0.0.1:{}", second.ports(0)[1]);
    fs::write(&config, text.replace(&free, &taken)).expect("written");
    let text = refusal(&second);
    assert!(text.contains(&taken) && text.contains("rpc_listen"), "{text}");
}

#[tokio::test]
async fn a_damaged_or_missing_voting_journal_is_told_and_the_others_are_asked_where_to_vote_again() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    cluster.register(0).await;
    cluster.stop(0);
    let sizes = |path: &std::path::PathBuf| fs::metadata(path).expect("a file").len();
    let segment = cluster.segments(0).into_iter().max_by_key(sizes).expect("a segment");
    let mut bytes = fs::read(&segment).expect("a segment");
    bytes[100] ^= 1;
    fs::write(&segment, &bytes).expect("written");
    cluster.start_node(0);
    cluster.votes(0).await;
    cluster.ready(0).await;
    assert!(cluster.logged(0, &["damaged at byte", "moved to", "votes again"]), "the damage is told");
    let aside = fs::read_dir(cluster.data(0)).expect("a folder").map(|entry| entry.expect("an entry").path());
    let aside = aside.filter(|path| path.display().to_string().contains("journal-damaged-"));
    assert_eq!(aside.count(), 1, "what is damaged is kept");
    cluster.register(0).await;

    cluster.stop(0);
    cluster.lose(0, "journal");
    cluster.start_node(0);
    cluster.votes(0).await;
    assert!(cluster.logged(0, &["holds no voting record", "votes again"]), "the loss is told");
    cluster.register(0).await;
    cluster.assert_no_evidence(0..4);
}

#[tokio::test]
async fn the_journal_of_another_key_is_no_damage_and_ends_the_start() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    cluster.stop(0);
    cluster.stop(1);
    cluster.lose(0, "journal");
    tests::harness::folders::copy_folder(&cluster.data(1).join("journal"), &cluster.data(0).join("journal"));
    let text = refusal(&cluster);
    assert!(text.contains("is the voting journal of key"), "{text}");
}
