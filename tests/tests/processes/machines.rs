//! Machines that lie about the time or run out of disk, one of four; under load, with every call written down.

use std::fs;

use genesis::Height;
use tests::harness::Cluster;
use tests::history::Load;

use crate::crashes::assert_sound;

const HOUR: i64 = 3_600;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_clock_an_hour_off_on_one_node_neither_stops_the_others_nor_moves_the_chains_time() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, 21).await;
    for (node, seconds) in [(1, HOUR), (2, -HOUR)] {
        load.confirms(5).await;
        cluster.kill(node);
        cluster.set_clock_off(node, seconds);
        cluster.start_node(node);
        cluster.ready(node).await;
        load.confirms(25).await;
        // The chain's time is that of the clocks that are right.
        let status = cluster.client(0).status().await.expect("status");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        let off = (status.time.0 as i64 - now.as_millis() as i64).unsigned_abs();
        assert!(off < 60_000, "the chain's time is {off} ms from the clock's");
        // It follows; and takes transactions, which the others order.
        cluster.reaches(node, status.height).await;
        cluster.register(node).await;
        cluster.kill(node);
        cluster.clear_environment(node);
        cluster.start_node(node);
        cluster.ready(node).await;
    }
    assert_sound(load, &cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_stops_its_node_with_a_clear_error_and_with_room_it_catches_up() {
    let mut cluster = Cluster::prepare(4);
    cluster.give_small_disk(2, 24);
    cluster.start_all_ready().await;
    let load = Load::start(&cluster, 22).await;
    load.confirms(10).await;
    // Nobody deletes what fills the disk; the load takes the rest.
    let room = cluster.home(2).join("data/ballast");
    fill(&room);
    let status = cluster.ended(2);
    println!("node 2, {status}: {}", last_line(&cluster));
    assert!(!status.success(), "a node without a disk ended with {status}");
    let log = fs::read_to_string(cluster.log(2)).expect("a log");
    let words = ["No space left on device"];
    assert!(words.iter().all(|word| log.contains(word)), "{words:?} are not in the log:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
    load.confirms(20).await;
    fs::remove_file(&room).expect("removed");
    cluster.resize_disks(256);
    cluster.start_node(2);
    cluster.ready(2).await;
    let tip: Height = cluster.client(0).status().await.expect("status").height;
    cluster.reaches(2, tip).await;
    load.confirms(5).await;
    cluster.register(2).await;
    assert_sound(load, &cluster).await;
}

/// The last that node 2 said.
fn last_line(cluster: &Cluster) -> String {
    let log = fs::read_to_string(cluster.log(2)).expect("a log");
    log.lines().last().unwrap_or_default().to_owned()
}

/// Writes until the disk is full.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a file");
    for block in [1 << 20, 4 << 10, 1] {
        let bytes = vec![7; block];
        while file.write_all(&bytes).is_ok() {}
    }
}
