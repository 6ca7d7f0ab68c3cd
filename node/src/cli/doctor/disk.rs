//! How fast the disk makes data durable. Each vote waits for that (the journal), each block too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a record is written and made durable.
const RECORDS: usize = 100;
/// The bytes of one: about what a vote takes, filled up to what disks write.
const RECORD_BYTES: usize = 4_096;
/// A disk so slow that fewer records do.
const LONGEST: Duration = Duration::from_secs(5);

/// How long it took to make a small record durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speed {
    /// Half of the records took at most so long.
    pub p50: Duration,
    /// 99 of 100 did.
    pub p99: Duration,
}

/// Measures it in `folder`: appends to a new file, and deletes it.
pub(super) fn measure(folder: &Path) -> io::Result<Speed> {
    let path = folder.join(format!("doctor-{}.tmp", std::process::id()));
    let file = File::options().create_new(true).write(true).open(&path)?;
    let measured = append(file);
    fs::remove_file(&path)?;
    measured
}

fn append(mut file: File) -> io::Result<Speed> {
    let record = [0x5a; RECORD_BYTES];
    let (begin, mut times) = (Instant::now(), Vec::with_capacity(RECORDS));
    while times.len() < RECORDS && begin.elapsed() < LONGEST {
        let one = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    times.sort_unstable();
    let at =
        |hundredths: usize| times.get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)));
    match (at(50), at(99)) {
        (Some(p50), Some(p99)) => Ok(Speed { p50: *p50, p99: *p99 }),
        _ => Err(io::Error::other("nothing could be written within 5 s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_takes_time_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let speed = measure(folder.path()).unwrap();
        assert!(Duration::ZERO < speed.p50 && speed.p50 <= speed.p99, "{speed:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(measure(&folder.path().join("nowhere")).is_err());
    }
}
