//! Ledgers that were filled without a network: a network takes them up, and goes on.

use genesis::Height;
use tests::bench::state::Kept;
use tests::harness::{printed, realdid};

#[tokio::test]
async fn a_network_goes_on_from_a_ledger_that_was_filled_without_it_and_verifies() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prepare = || Kept::prepare(folder.path(), 2_000, 4).expect("a full ledger");
    let mut cluster = prepare().cluster();
    let home = cluster.home(1);
    let home = home.to_str().expect("a path in UTF-8");
    let verified = realdid(&["chain", "verify", "--home", home, "--replay"]);
    assert!(verified.status.success(), "{}", printed(&verified));

    cluster.start_all_ready().await;
    let (_, receipt) = cluster.register(0).await;
    assert_eq!(receipt.height, Height(3));
    for node in 1..4 {
        cluster.reaches(node, receipt.height).await;
    }
    drop(cluster);

    // What a run adds is its own.
    let mut cluster = prepare().cluster();
    cluster.start_all_ready().await;
    let status = cluster.client(0).status().await.expect("a status");
    assert_eq!(status.height, Height(2));
}
