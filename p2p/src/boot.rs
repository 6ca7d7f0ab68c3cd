//! Which process speaks: a random id for each start of a node, and the alarm when two processes run with one key.
//!
//! Each stream of a channel opens with its sender's id, the greeting: a frame of 16 bytes.
//!
//! Invariant (N6): two ids are reported only if their processes ran at the same time, and a restart is never taken for
//! two. It holds because each of the two must show life after the other one was seen, and the only sign of life is an
//! answered ping, dated by when that ping was *sent*: a process that has ended answers none that is sent later. Frames
//! are no sign, since those of a dead process may still be on their way; nor is a connection that stands open.
//!
//! Copies of a running machine's memory share one id, and are not told apart.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use crate::channel::{ReadError, read_length, write_frame};

/// The length of an id, and of a greeting's frame.
const BYTES: usize = 16;

/// How many ids of one key are remembered: those that showed life most recently.
const REMEMBERED: usize = 4;

/// How much later than the other id's first sight a ping must have been sent. Both moments are taken some time after
/// they occurred, and not by the same task.
const MARGIN: Duration = Duration::from_millis(500);

/// The shortest time between two reports about one key, whatever ids its holder makes up.
const PAUSE: Duration = Duration::from_secs(10);

/// What tells a node's process from the ones before it and after it: drawn at random when the network starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId([u8; BYTES]);

impl BootId {
    pub(crate) fn draw() -> Self {
        Self(rand::random())
    }

    /// The id with these bytes.
    #[cfg(test)]
    pub(crate) const fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A process that runs with a peer's key, and where it was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Which one.
    pub boot: BootId,
    /// The other end of its newest connection. The port is one that it listens on only if we dialled it.
    pub address: SocketAddr,
}

/// Tells the other side who speaks, without flushing.
pub(crate) async fn write_greeting(
    stream: &mut (impl AsyncWrite + Unpin),
    boot: BootId,
) -> std::io::Result<()> {
    write_frame(stream, &boot.0).await
}

/// Reads who speaks.
pub(crate) async fn read_greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<BootId, ReadError> {
    let length = read_length(stream, BYTES as u32).await?;
    if length as usize != BYTES {
        return Err(ReadError::Greeting { length });
    }
    let mut bytes = [0; BYTES];
    stream.read_exact(&mut bytes).await?;
    Ok(BootId(bytes))
}

/// The processes that were seen with one key.
#[derive(Debug, Default)]
pub(crate) struct Boots {
    known: Vec<Boot>,
    /// The pairs among the known that were reported.
    reported: Vec<[BootId; 2]>,
    last_report: Option<Instant>,
}

#[derive(Debug)]
struct Boot {
    host: Host,
    /// When it was first seen: it ran by then.
    seen: Instant,
    /// The newest moment at which it is known to have run still.
    lived: Option<Instant>,
}

impl Boot {
    fn outlived_sight_of(&self, other: &Self) -> bool {
        self.lived.is_some_and(|lived| lived >= other.seen + MARGIN)
    }

    fn last_sign(&self) -> Instant {
        self.lived.map_or(self.seen, |lived| lived.max(self.seen))
    }
}

impl Boots {
    /// Notes that `host` greeted us.
    pub fn greeted(&mut self, host: Host, now: Instant) {
        if let Some(known) = self.known.iter_mut().find(|known| known.host.boot == host.boot) {
            known.host.address = host.address;
            return;
        }
        if self.known.len() >= REMEMBERED
            && let Some(quietest) = (0..self.known.len()).min_by_key(|at| self.known[*at].last_sign())
        {
            let forgotten = self.known.remove(quietest).host.boot;
            self.reported.retain(|pair| !pair.contains(&forgotten));
        }
        self.known.push(Boot { host, seen: now, lived: None });
    }

    /// Notes that `boot` has answered a ping that left at `sent`. If that shows that it runs beside another process,
    /// and these two were not yet reported, they are returned, the one that was seen first being the first.
    pub fn answered(&mut self, boot: BootId, sent: Instant, now: Instant) -> Option<[Host; 2]> {
        let at = self.known.iter().position(|known| known.host.boot == boot)?;
        let known = &mut self.known[at];
        known.lived = known.lived.max(Some(sent));
        if self.last_report.is_some_and(|last| now < last + PAUSE) {
            return None;
        }
        let known = &self.known[at];
        let beside = |other: &&Boot| {
            let pair = [known.host.boot, other.host.boot];
            other.host.boot != boot
                && known.outlived_sight_of(other)
                && other.outlived_sight_of(known)
                && !self.reported.iter().any(|reported| pair.iter().all(|boot| reported.contains(boot)))
        };
        let other = self.known.iter().find(beside)?;
        let (first, second) = if other.seen < known.seen { (other, known) } else { (known, other) };
        let hosts = [first.host, second.host];
        self.reported.push(hosts.map(|host| host.boot));
        self.last_report = Some(now);
        Some(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Boots, with a clock that is turned by hand.
    struct Watch {
        boots: Boots,
        start: Instant,
    }

    impl Watch {
        fn new() -> Self {
            Self { boots: Boots::default(), start: Instant::now() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn greeted(&mut self, boot: u8, ms: u64) {
            self.boots.greeted(host(boot), self.at(ms));
        }

        /// The first bytes of the reported ids.
        fn answered(&mut self, boot: u8, sent_ms: u64, ms: u64) -> Option<[u8; 2]> {
            let hosts = self.boots.answered(host(boot).boot, self.at(sent_ms), self.at(ms))?;
            Some(hosts.map(|host| host.boot.as_bytes()[0]))
        }
    }

    fn host(boot: u8) -> Host {
        Host { boot: BootId::from_bytes([boot; BYTES]), address: ([10, 0, 0, boot], 7000).into() }
    }

    #[test]
    fn two_processes_that_both_live_on_are_reported_once() {
        let mut watch = Watch::new();
        watch.greeted(1, 0);
        assert_eq!(watch.answered(1, 10, 11), None);
        watch.greeted(2, 5_000);
        assert_eq!(watch.answered(2, 5_010, 5_011), None);
        assert_eq!(watch.answered(1, 6_000, 6_001), Some([1, 2]));
        for second in 7..100 {
            assert_eq!(watch.answered(1, second * 1_000, second * 1_000 + 1), None);
            assert_eq!(watch.answered(2, second * 1_000, second * 1_000 + 1), None);
        }
    }

    #[test]
    fn a_process_that_answers_late_what_was_asked_before_the_next_one_came_is_no_second() {
        let mut watch = Watch::new();
        watch.greeted(1, 0);
        // The old one's last answers are held up on the way; some were asked for just as the new one came.
        watch.greeted(2, 5_000);
        for (sent, arrived) in [(4_000, 9_000), (4_999, 9_001), (5_400, 9_002)] {
            assert_eq!(watch.answered(1, sent, arrived), None);
            assert_eq!(watch.answered(2, arrived, arrived + 1), None);
        }
    }

    #[test]
    fn a_dead_process_whose_greeting_comes_late_is_no_second() {
        let mut watch = Watch::new();
        watch.greeted(2, 5_000);
        assert_eq!(watch.answered(2, 5_010, 5_011), None);
        // Written by the process before, and delivered after the new one came.
        watch.greeted(1, 6_000);
        for second in 7..20 {
            assert_eq!(watch.answered(2, second * 1_000, second * 1_000 + 1), None);
        }
    }

    #[test]
    fn hosts_that_are_never_connected_at_the_same_time_are_reported() {
        let mut watch = Watch::new();
        watch.greeted(1, 0);
        assert_eq!(watch.answered(1, 1_000, 1_001), None);
        watch.greeted(2, 2_000);
        assert_eq!(watch.answered(2, 3_000, 3_001), None);
        watch.greeted(1, 4_000);
        assert_eq!(watch.answered(1, 4_010, 4_011), Some([1, 2]));
    }

    #[test]
    fn made_up_ids_are_forgotten_and_reported_no_more_often_than_the_pause_allows() {
        let mut watch = Watch::new();
        watch.greeted(1, 0);
        let mut reports = 0;
        for turn in 0..100_u64 {
            let (boot, ms) = (2 + turn as u8, 1_000 * turn);
            watch.greeted(boot, ms);
            reports += u32::from(watch.answered(boot, ms + 600, ms + 601).is_some());
            reports += u32::from(watch.answered(1, ms + 700, ms + 701).is_some());
            assert!(watch.boots.known.len() <= REMEMBERED);
            assert!(watch.boots.reported.len() <= REMEMBERED * (REMEMBERED - 1) / 2);
        }
        assert_eq!(reports, 10);
        assert!(watch.boots.known.iter().any(|known| known.host == host(1)), "who lives is remembered");
    }

    #[test]
    fn an_id_reads_as_hex() {
        let id = BootId::from_bytes([0, 1, 0xab, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(id.to_string(), "0001ab030405060708090a0b0c0d0eff");
    }
}
