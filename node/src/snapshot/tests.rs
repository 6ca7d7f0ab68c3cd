use super::*;

#[test]
fn only_whole_snapshots_are_listed_and_only_the_newest_kept() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(folder.path().join("snapshots"));
    assert_eq!(shelf.heights().unwrap(), []);
    for name in ["9", "100", "20", "30.part", "40.due", "notes"] {
        fs::create_dir_all(shelf.path().join(name)).unwrap();
    }
    assert_eq!(shelf.heights().unwrap(), [9, 20, 100].map(Height));
    shelf.tidy(2).unwrap();
    assert_eq!(shelf.heights().unwrap(), [20, 100].map(Height));
    shelf.tidy(5).unwrap();
    assert_eq!(shelf.heights().unwrap().len(), 2);
    assert!(shelf.path().join("30.part").exists());
}

#[test]
fn a_file_is_read_in_slices_and_never_beyond_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = Folder::new(folder.path().to_owned());
    fs::create_dir(folder.path().join("pieces")).unwrap();
    let bytes: Vec<u8> = (0..SLICE_BYTES + 10).map(|byte| byte as u8).collect();
    fs::write(snapshot.file(Part::Piece(3)), &bytes).unwrap();
    let slice = |offset| snapshot.slice(Part::Piece(3), offset).unwrap().unwrap();
    assert_eq!(slice(0), bytes[..SLICE_BYTES as usize]);
    assert_eq!(slice(SLICE_BYTES), bytes[SLICE_BYTES as usize..]);
    assert!(slice(u64::MAX / 2).is_empty());
    assert_eq!(snapshot.slice(Part::Piece(4), 0).unwrap(), None);
    assert_eq!(snapshot.read(Part::Piece(3), SLICE_BYTES + 10).unwrap(), bytes);
    let refused = snapshot.read(Part::Piece(3), SLICE_BYTES).unwrap_err().to_string();
    assert!(refused.contains("4194314") && refused.contains("4194304"), "{refused}");
}
