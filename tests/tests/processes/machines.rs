//! Machines that lie about the time or run out of disk, one of four; under load, with every call written down.

use std::fs;

use genesis::Height;
use tests::harness::{Cluster, eventually, get};
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
    // Disks fill up between two looks at them, too.
    cluster.set_disk_floor(2, 0);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_below_its_floor_stops_its_node_cleanly_with_a_code_of_its_own_and_keeps_it_from_starting() {
    let mut cluster = Cluster::prepare(4);
    // The store and the journal claim some 75 MiB at a start, before they write anything.
    cluster.give_small_disk(2, 384);
    cluster.set_disk_floor(2, 64);
    cluster.start_all_ready().await;
    cluster.register(2).await;
    let room = cluster.home(2).join("data/ballast");
    let metrics = cluster.ports(2)[2];
    let ready = || get(metrics, "/health/ready").unwrap_or_default();
    assert!(!ready().contains("disk"), "{}", ready());
    // Between the floor and twice the floor it warns, and goes on.
    take_all_but(&cluster, 110);
    eventually("node 2 says that its disk fills up", async || ready().contains("the disk fills up")).await;
    assert!(ready().contains(r#""ready":true"#), "{}", ready());
    assert!(cluster.logged(2, &["the disk fills up"]));
    cluster.register(2).await;
    take_all_but(&cluster, 16);
    assert_eq!(cluster.ended(2).code(), Some(6), "{}", last_line(&cluster));
    let words = ["the disk is nearly full: stopping", "stopped", "floor_bytes under [disk]"];
    let log = fs::read_to_string(cluster.log(2)).expect("a log");
    assert!(words.iter().all(|word| log.contains(word)), "{words:?} are not in the log:\n{log}");
    assert!(!cluster.logged(2, &["No space left"]) && !cluster.logged(2, &["panicked"]));
    cluster.start_node(2);
    assert_eq!(cluster.ended(2).code(), Some(6), "{}", last_line(&cluster));
    // The others go on; and with room it takes part again, with nothing lost.
    cluster.register(0).await;
    fs::remove_file(&room).expect("removed");
    cluster.start_node(2);
    cluster.ready(2).await;
    cluster.reaches(2, cluster.client(0).status().await.expect("status").height).await;
    cluster.register(2).await;
}

/// Takes room on node 2's disk until `left` MiB are free.
fn take_all_but(cluster: &Cluster, left: u64) {
    let home = node::home::Home::open(cluster.home(2)).expect("a home");
    let disk = node::disk::Disk::look_at(&home, node::config::DiskConfig::default()).expect("a disk");
    let take = disk.free().0.checked_sub(left << 20).expect("as much room");
    let path = home.data().join("ballast");
    let mut file = fs::File::options().create(true).append(true).open(path).expect("a file");
    std::io::Write::write_all(&mut file, &vec![7; usize::try_from(take).expect("a length")])
        .expect("written");
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
