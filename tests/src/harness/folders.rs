//! What a test does to the folders of nodes, as operators and disks do: copies, backups, losses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cluster, claim_range};

impl Cluster {
    /// The folder that holds all nodes' folders.
    pub fn folders(&self) -> PathBuf {
        self.folder.path().join("net")
    }

    /// As [`Self::prepare`], in a folder within `within` and on the ports from `base` on: of copies of [`Self::folders`] that were
    /// made for these ports and so many validators, and never started.
    ///
    /// # Panics
    /// When the ports are taken, or a folder cannot be made.
    pub fn prepare_from(net: &Path, within: &Path, base: u16, validators: usize) -> Self {
        let folder = tempfile::tempdir_in(within).expect("a temporary folder");
        let claim = claim_range(base);
        let claim = claim.unwrap_or_else(|error| {
            panic!("the ports from {base} on, which the genesis document in {} names: {error}", net.display())
        });
        copy_folder(net, &folder.path().join("net"));
        let names = (0..validators).map(|node| format!("node{node}")).collect();
        Self::of(folder, (base, claim), names)
    }

    /// Copies the folder of a node that does not run, with its keys, and gives the copy ports of its own: another host that
    /// runs with the same keys. Its place in this cluster.
    ///
    /// # Panics
    /// When that fails.
    pub fn copy_node(&mut self, node: usize) -> usize {
        assert!(self.nodes[node].is_none(), "a folder in use is not copied");
        let copy = self.names.len();
        let name = format!("{}-copy{copy}", self.names[node]);
        copy_folder(&self.home(node), &self.folder.path().join("net").join(&name));
        self.names.push(name);
        self.nodes.push(None);
        self.environment.push(Vec::new());
        self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(None);
        let config = self.home(copy).join("config.toml");
        let mut text = fs::read_to_string(&config).expect("a file");
        for (old, new) in self.ports(node).into_iter().zip(self.ports(copy)) {
            let [old, new] = [old, new].map(|port| format!("\"127.0.0.1:{port}\""));
            assert!(text.contains(&old), "{old} is not in {}", config.display());
            text = text.replace(&old, &new);
        }
        fs::write(&config, text).expect("written");
        fs::remove_file(self.log(copy)).expect("the copied log goes");
        copy
    }

    /// Ends the newest copy that [`Self::copy_node`] made, and forgets it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn remove_copy(&mut self) {
        self.kill(self.names.len() - 1);
        self.names.pop();
        self.nodes.pop();
        self.environment.pop();
        self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    }

    /// Adds a node's network key to the observers that these nodes admit, by their settings.
    ///
    /// # Panics
    /// When a file cannot be changed.
    pub fn admit_observer(&self, observer: usize, by: &[usize]) {
        let path = self.home(observer).join("keys/network.json");
        let key = client::KeyFile::read_for(&path, client::Role::Network).expect("a key").public();
        for node in by {
            let config = self.home(*node).join("config.toml");
            let text = fs::read_to_string(&config).expect("a file");
            assert!(text.contains("observers = ["), "{}", config.display());
            let text = text.replacen("observers = [", &format!("observers = [\n  \"{key}\","), 1);
            fs::write(&config, text).expect("written");
        }
    }

    /// Has the settings of `node`, which does not run, name no observer.
    ///
    /// # Panics
    /// When they have no list of observers.
    pub fn admit_no_observers(&self, node: usize) {
        let config = self.home(node).join("config.toml");
        let text = fs::read_to_string(&config).expect("a file");
        let (before, rest) = text.split_once("observers = [").expect("a list of observers");
        let (_, after) = rest.split_once(']').expect("its end");
        fs::write(&config, format!("{before}observers = []{after}")).expect("written");
    }

    /// Loses a part of what a node has written: `journal`, `store`, or `.` for both.
    ///
    /// # Panics
    /// When it runs, or when there is nothing.
    pub fn lose(&self, node: usize, part: &str) {
        assert!(self.nodes[node].is_none(), "the disk of a node that runs is not lost");
        fs::remove_dir_all(self.data(node).join(part).components().collect::<PathBuf>()).expect("removed");
    }

    /// Copies all that a node has written so far; it must not run.
    ///
    /// # Panics
    /// When it runs.
    pub fn back_up(&self, node: usize) -> PathBuf {
        assert!(self.nodes[node].is_none(), "a folder in use is not copied");
        let backup = self.folder.path().join(format!("{}.backup", self.names[node]));
        copy_folder(&self.data(node), &backup);
        backup
    }

    /// Replaces all that a node has written by a copy of [`Self::back_up`].
    ///
    /// # Panics
    /// When it runs.
    pub fn restore(&self, node: usize, backup: &Path) {
        self.lose(node, ".");
        copy_folder(backup, &self.data(node));
    }

    /// The folder of what a node has written.
    pub fn data(&self, node: usize) -> PathBuf {
        self.home(node).join("data")
    }

    /// The segments of a node's voting journal, the oldest first.
    ///
    /// # Panics
    /// When there is none.
    pub fn segments(&self, node: usize) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data(node).join("journal")).expect("a journal");
        let mut segments: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        segments.sort();
        segments
    }

    /// Whether a line of a node's log holds all these words.
    pub fn logged(&self, node: usize, words: &[&str]) -> bool {
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

/// Copies a folder to a place where nothing is.
///
/// # Panics
/// When that fails.
pub fn copy_folder(from: &Path, to: &Path) {
    assert!(!to.exists(), "{} is there", to.display());
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}
