//! What the system knows of a process, and signals to processes.

use std::process::Command;

/// A figure of a process from /proc/PID/status, in KiB, such as `VmRSS`.
pub fn memory_kib(pid: u32, figure: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(figure))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The processor time that a process has used, in clock ticks (usually 10 ms).
pub fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces: the fields after it are counted from there.
    let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// How many bytes a process has handed to the disk, as /proc/PID/io counts them: whole pages, compaction included.
pub fn written_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()
}

/// Sends a signal, such as `-KILL`, to processes.
///
/// # Panics
/// When one of them does not run.
pub fn signal(signal: &str, ids: &[String]) {
    if !ids.is_empty() {
        let done = Command::new("kill").arg(signal).args(ids).status().expect("kill");
        assert!(done.success(), "kill {signal} {ids:?}");
    }
}
