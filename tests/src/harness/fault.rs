//! What a test does to the machine under a node: a clock that is wrong, a disk that is small.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Cluster;

const CLOCK: &str = include_str!("clock.c");

impl Cluster {
    /// Sets a node's wall clock off by `seconds`, from its next start on. Needs a C compiler, as RocksDB does.
    ///
    /// # Panics
    /// When the compiler is missing or fails.
    pub fn set_clock_off(&mut self, node: usize, seconds: i64) {
        let (source, library) = (self.scratch().join("clock.c"), self.scratch().join("clock.so"));
        std::fs::write(&source, CLOCK).expect("written");
        let compiler = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"];
        let built = Command::new("cc").args(compiler).arg(&library).arg(&source).output();
        let built = built.expect("a C compiler, `cc`: apt-get install gcc");
        assert!(built.status.success(), "{}", super::printed(&built));
        self.clear_environment(node);
        self.set_environment(node, "LD_PRELOAD", library);
        self.set_environment(node, "REALDID_TEST_CLOCK_SECONDS", seconds.to_string());
    }

    /// Puts the data of a node that has not been started yet on a disk of its own, of `mib` MiB. Needs root.
    ///
    /// # Panics
    /// When that is refused.
    pub fn give_small_disk(&mut self, node: usize, mib: usize) {
        let disk = SmallDisk::mount(&self.home(node).join("data"), mib);
        self.disks.push(disk);
    }

    /// Gives a node's disk a floor, in MiB, from its next start on; 0 for none.
    ///
    /// # Panics
    /// When its settings have no floor to be changed.
    pub fn set_disk_floor(&self, node: usize, mib: u64) {
        let config = self.home(node).join("config.toml");
        let text = std::fs::read_to_string(&config).expect("a file");
        let (before, after) = text.split_once("floor_bytes = ").expect("a floor");
        let rest = after.trim_start_matches(|character: char| character.is_ascii_digit());
        std::fs::write(&config, format!("{before}floor_bytes = {}{rest}", mib << 20)).expect("written");
    }

    /// Gives all small disks another size.
    ///
    /// # Panics
    /// When that is refused.
    pub fn resize_disks(&self, mib: usize) {
        self.disks.iter().for_each(|disk| disk.resize(mib));
    }
}

/// A file system in memory under a folder. Unmounted when dropped.
#[derive(Debug)]
pub(super) struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, mib: usize) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        mount(folder, &["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "realdid-test"]);
        Self(folder.to_owned())
    }

    fn resize(&self, mib: usize) {
        mount(&self.0, &["-o", &format!("remount,size={mib}m")]);
    }
}

fn mount(folder: &Path, arguments: &[&str]) {
    let mounted = Command::new("mount").args(arguments).arg(folder).output().expect("mount");
    assert!(
        mounted.status.success(),
        "this test needs root, to mount a small disk: {}",
        super::printed(&mounted)
    );
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node may still hold files. What fails here leaves a mount of some MiB behind, and is printed.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", self.0.display());
        }
    }
}
