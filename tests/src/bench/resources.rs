//! What the processes of a run use, as the kernel and the nodes' own metrics tell.

use std::time::Duration;

use crate::harness::{Cluster, cpu_ticks, get, memory_kib, written_bytes};

/// Linux tells processor time in these, on every architecture that it is built for as shipped.
const TICK: Duration = Duration::from_millis(10);

/// What a process used: since it started or, as the difference of two, in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// User and system time.
    pub cpu: Duration,
    /// The most memory that it ever held (`VmHWM`).
    pub peak_memory_kib: u64,
    /// Bytes handed to the disk.
    pub written_bytes: u64,
    /// Bytes sent to other nodes.
    pub sent_bytes: u64,
}

impl Use {
    /// What a node used since it started.
    ///
    /// # Panics
    /// When the node does not run or does not serve its metrics: no figure is left out silently.
    pub fn of(cluster: &Cluster, node: usize) -> Self {
        let pid = cluster.pid(node);
        let told = "the system tells what a process that runs has used";
        let page = get(cluster.ports(node)[2], "/metrics").expect("a node that answers serves its metrics");
        Self {
            cpu: TICK * u32::try_from(cpu_ticks(pid).expect(told)).expect("a run ends within a year"),
            peak_memory_kib: memory_kib(pid, "VmHWM").expect(told),
            written_bytes: written_bytes(pid).expect(told),
            sent_bytes: sent_bytes(&page).expect("a node counts the bytes that it sends"),
        }
    }

    /// What was used since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            peak_memory_kib: self.peak_memory_kib,
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
            sent_bytes: self.sent_bytes.saturating_sub(before.sent_bytes),
        }
    }
}

/// The processor time that this process has used.
///
/// # Panics
/// When the system does not tell.
pub fn own_cpu() -> Duration {
    let ticks = cpu_ticks(std::process::id()).expect("the system tells what this process has used");
    TICK * u32::try_from(ticks).expect("a run ends within a year")
}

/// The sum of what was sent over all channels, from a node's metrics page; none where there is no such figure.
fn sent_bytes(page: &str) -> Option<u64> {
    let lines = page
        .lines()
        .filter(|line| line.starts_with("realdid_p2p_bytes{") && line.contains("direction=\"sent\""));
    let values: Vec<f64> = lines.map(|line| line.rsplit(' ').next()?.parse().ok()).collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_over_all_channels_counts_and_nothing_else() {
        let page = "# HELP realdid_p2p_bytes bytes\n\
                    realdid_p2p_bytes{channel=\"batches\",direction=\"received\"} 7\n\
                    realdid_p2p_bytes{channel=\"batches\",direction=\"sent\"} 100\n\
                    realdid_p2p_bytes{channel=\"votes\",direction=\"sent\"} 20\n";
        assert_eq!(sent_bytes(page), Some(120));
        assert_eq!(sent_bytes("realdid_height 3\n"), None);
    }

    #[test]
    fn this_process_uses_processor_time() {
        let start = own_cpu();
        while own_cpu() == start {
            std::hint::black_box(0);
        }
    }
}
