//! The doctor beside a network of four: what it says of a node that runs, one that does not, and one whose key is taken.

use serde_json::Value;
use tests::harness::{Cluster, eventually, realdid};

/// What the doctor says of a node, and its exit code. Other nodes are asked too.
fn doctor(cluster: &Cluster, node: usize, others: &[usize]) -> (Option<i32>, Value) {
    let home = cluster.home(node);
    let mut arguments = vec!["doctor", "--json", "--home", home.to_str().expect("a path in UTF-8")];
    let urls: Vec<String> = others.iter().map(|other| cluster.url(*other)).collect();
    urls.iter().for_each(|url| arguments.extend(["--rpc", url]));
    let output = realdid(&arguments);
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// How a check ended.
fn state<'a>(report: &'a Value, check: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("checks");
    let mut found = checks.iter().filter(|finding| finding["check"] == check);
    let finding = found.next();
    assert!(finding.is_some(), "no {check} in {report:#}");
    let finding = finding.expect("just looked at");
    assert!(found.next().is_none(), "{check} twice in {report:#}");
    assert_eq!(finding["do"].is_string(), finding["state"] != "ok", "{finding}");
    finding["state"].as_str().expect("a state")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_doctor_finds_nothing_wrong_with_a_network_that_is_well_whether_the_node_runs_or_not() {
    let mut cluster = Cluster::start(4).await;
    // Every node sees a block become final, so that the clock can be compared.
    let (_, receipt) = cluster.register(0).await;
    for node in 0..4 {
        cluster.reaches(node, receipt.height).await;
    }
    let (code, report) = doctor(&cluster, 3, &[0]);
    assert_eq!(code, Some(0), "{report:#}");
    let both = [
        "config",
        "genesis",
        "keys",
        "member",
        "disk room",
        "process",
        "ports",
        "chain",
        "peers",
        "clock",
        "rules",
    ];
    for check in both.into_iter().chain(["answers", "key use", "version"]) {
        assert_eq!(state(&report, check), "ok", "{check}: {report:#}");
    }
    assert!(cluster.stop(3).success());
    eventually("node 0 misses node 3", async || {
        doctor(&cluster, 3, &[0]).1.to_string().contains("not in use elsewhere")
    })
    .await;
    let (code, report) = doctor(&cluster, 3, &[0]);
    assert_eq!(code, Some(0), "{report:#}");
    for check in both.into_iter().chain(["key use", "version"]) {
        assert_eq!(state(&report, check), "ok", "{check}: {report:#}");
    }
    // With nobody to ask, what only others know is not claimed.
    let (code, report) = doctor(&cluster, 3, &[]);
    assert_eq!((code, state(&report, "key use")), (Some(0), "unchecked"), "{report:#}");
    cluster.start_node(3);
    cluster.ready(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_doctor_finds_a_key_in_use_a_port_taken_and_peers_that_are_away() {
    let mut cluster = Cluster::start(4).await;
    cluster.stop(3);
    let copy = cluster.copy_node(3);
    cluster.start_node(copy);
    eventually("node 0 is connected with the copy", async || {
        state(&doctor(&cluster, 3, &[0]).1, "key use") == "fail"
    })
    .await;
    let (code, report) = doctor(&cluster, 3, &[0]);
    assert_eq!((code, state(&report, "key use")), (Some(1), "fail"), "{report:#}");
    assert!(report.to_string().contains("another host runs with its key"), "{report:#}");
    cluster.kill(copy);

    let taken = std::net::TcpListener::bind(("127.0.0.1", cluster.ports(3)[1])).expect("a free port");
    let (code, report) = doctor(&cluster, 3, &[]);
    assert_eq!((code, state(&report, "ports")), (Some(1), "fail"), "{report:#}");
    assert!(report.to_string().contains("rpc_listen"), "{report:#}");
    drop(taken);

    // Two of three others are needed: with one gone it is a warning, with two a failure.
    for (node, expected) in [(0, "warn"), (1, "fail")] {
        cluster.kill(node);
        let (code, report) = doctor(&cluster, 3, &[]);
        assert_eq!((code == Some(1), state(&report, "peers")), (expected == "fail", expected), "{report:#}");
    }
    // It looks at another network's document the same way as at its own: the chain is not this one.
    let genesis = cluster.home(3).join("genesis.toml");
    let other = Cluster::prepare(4);
    std::fs::copy(other.home(0).join("genesis.toml"), genesis).expect("copied");
    let (code, report) = doctor(&cluster, 3, &[2]);
    assert_eq!((code, state(&report, "chain")), (Some(1), "fail"), "{report:#}");
}
