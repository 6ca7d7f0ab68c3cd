use super::*;

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    (folder, home)
}

#[test]
fn room_is_scarce_below_twice_the_floor_and_gone_below_it() {
    for (free, expected) in [
        (0, Room::Gone),
        (99, Room::Gone),
        (100, Room::Scarce),
        (199, Room::Scarce),
        (200, Room::Plenty),
        (u64::MAX, Room::Plenty),
    ] {
        assert_eq!(room(free, 100), expected, "{free}");
    }
    assert_eq!(room(0, 0), Room::Plenty, "a floor of 0 is none");
    assert_eq!(room(u64::MAX, u64::MAX), Room::Plenty);
}

#[test]
fn a_node_below_its_floor_does_not_start_and_learns_where_how_much_and_what_to_do() {
    let (folder, home) = home();
    assert!(Disk::open(&home, DiskConfig { floor_bytes: 0 }).is_ok());
    let error = Disk::open(&home, DiskConfig { floor_bytes: u64::MAX }).unwrap_err();
    let full: &DiskFull = error.downcast_ref().expect("an error of its own");
    assert_eq!(full.path, folder.path(), "before the first start");
    let text = error.to_string();
    for part in [&folder.path().display().to_string(), "floor_bytes", &Size(full.free_bytes).to_string()] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    std::fs::create_dir(home.data()).unwrap();
    let disk = Disk::look_at(&home, DiskConfig::default()).unwrap();
    assert_eq!(disk.path, home.data(), "which may be another disk");
}

#[test]
fn a_start_needs_more_than_the_floor_so_that_a_node_that_stopped_does_not_stop_again_at_once() {
    let (_folder, home) = home();
    let disk = Disk::look_at(&home, DiskConfig { floor_bytes: 1_000 }).unwrap();
    for (free, stops, starts) in [
        (999, true, false),
        (1_000, false, false),
        (1_000 + CLAIMED_AT_START - 1, false, false),
        (1_000 + CLAIMED_AT_START, false, true),
    ] {
        disk.free_bytes.store(free, Ordering::Relaxed);
        assert_eq!((disk.full().is_some(), disk.full_for_a_start().is_none()), (stops, starts), "{free}");
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_is_noticed_within_seconds() {
    let (_folder, home) = home();
    let disk = Disk::look_at(&home, DiskConfig { floor_bytes: u64::MAX / 4 }).unwrap();
    // As if there had been room until now.
    disk.free_bytes.store(u64::MAX, Ordering::Relaxed);
    assert_eq!((disk.room(), disk.full()), (Room::Plenty, None));
    let full = tokio::time::timeout(EVERY * 3, std::sync::Arc::new(disk).until_full()).await.unwrap();
    assert!(full.free_bytes < full.needed_bytes, "{full}");
}

#[test]
fn sizes_are_never_told_larger_than_they_are() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (1_023, "1023 bytes"),
        (1_024, "1.0 KiB"),
        ((2 << 20) - 1, "1.9 MiB"),
        (1 << 30, "1.0 GiB"),
        (u64::MAX, "17179869183.9 GiB"),
    ] {
        assert_eq!(Size(bytes).to_string(), text);
    }
}
