//! An idle network: quiet, and quick when somebody comes.

use tests::harness::{Cluster, cpu_ticks, eventually, figure, get};

/// All messages of the votes channel that a node sent.
fn sent(port: u16) -> f64 {
    let page = get(port, "/metrics").unwrap_or_default();
    let lines = page.lines().filter(|line| line.starts_with("realdid_consensus_messages_sent_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn an_idle_network_passes_no_views_and_uses_next_to_no_processor() {
    let cluster = Cluster::start(4).await;
    let (_, receipt) = cluster.register(0).await;
    for node in 0..4 {
        cluster.reaches(node, receipt.height).await;
    }
    let ports: Vec<u16> = (0..4).map(|node| cluster.ports(node)[2]).collect();
    let all_sent = || ports.iter().map(|port| sent(*port)).sum::<f64>();
    // What was under way settles first.
    let mut before = -1.0;
    eventually("no more messages are sent", async || {
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        let now = all_sent();
        std::mem::replace(&mut before, now) == now
    })
    .await;
    let views: Vec<_> = ports.iter().map(|port| figure(*port, "realdid_consensus_view")).collect();
    let ticks: Vec<_> = (0..4).map(|node| cpu_ticks(cluster.pid(node)).expect("a process")).collect();
    let quiet = std::time::Duration::from_secs(8);
    tokio::time::sleep(quiet).await;
    let used: Vec<_> =
        (0..4).map(|node| cpu_ticks(cluster.pid(node)).expect("a process") - ticks[node]).collect();
    assert_eq!(all_sent(), before, "messages of the votes channel in an idle network");
    let views_after: Vec<_> = ports.iter().map(|port| figure(*port, "realdid_consensus_view")).collect();
    assert_eq!(views_after, views);
    // 100 ticks are a second: 16 in 8 s are 2 % of a core.
    assert!(used.iter().all(|ticks| *ticks <= 16), "clock ticks used in 8 idle seconds: {used:?}");
    cluster.register(3).await;
}

#[tokio::test]
async fn metrics_and_health_say_what_is() {
    let mut cluster = Cluster::start(4).await;
    cluster.register(0).await;
    let port = cluster.ports(0)[2];
    assert!(get(port, "/health/live").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    let page = get(port, "/metrics").expect("metrics");
    for name in [
        "realdid_consensus_height",
        "realdid_consensus_view",
        "realdid_ledger_height",
        "realdid_ledger_transactions_total{code=\"applied\",kind=\"create\"} 1",
        "realdid_p2p_peers_connected 3",
        "realdid_mempool_transactions 0",
        "realdid_rpc_calls_total",
    ] {
        assert!(page.contains(name), "{name} is missing in\n{page}");
    }
    cluster.kill(1);
    cluster.kill(2);
    eventually("a node without a quorum is not ready, and says why", async || {
        get(port, "/health/ready").is_some_and(|answer| {
            answer.starts_with("HTTP/1.1 503")
                && answer.contains("2 validators are connected, itself counted, but 3 are needed")
        })
    })
    .await;
}
