use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::*;

/// Two nodes, of which this test plays both; node 0 dials node 1.
struct Pair {
    relay: Relay,
    node: TcpListener,
    door: SocketAddr,
}

impl Pair {
    fn new() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (node, unused, doors) = (listen(), listen(), [listen(), listen()]);
        let door = doors[1].local_addr().unwrap();
        let nodes = [unused.local_addr().unwrap(), node.local_addr().unwrap()];
        let doors = doors.into_iter().zip(nodes).map(|(listener, node)| Door { listener, node });
        Self { relay: Relay::start(7, doors.collect(), Arc::new(|_, _| Some(0))), node, door }
    }

    /// A connection: the dialler's end and the node's.
    fn connect(&self) -> [TcpStream; 2] {
        let dialled = TcpStream::connect(self.door).unwrap();
        let ends = [dialled, self.node.accept().unwrap().0];
        for end in &ends {
            end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            end.set_nodelay(true).unwrap();
        }
        ends
    }
}

/// Sends a byte from one end; whether it has arrived at the other within `time`.
fn passes(from: &mut TcpStream, to: &mut TcpStream, time: Duration) -> bool {
    from.write_all(b"x").unwrap();
    arrives(to, time)
}

fn arrives(to: &mut TcpStream, time: Duration) -> bool {
    to.set_read_timeout(Some(time)).unwrap();
    to.read(&mut [0]).is_ok_and(|count| count == 1)
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn bytes_pass_whole_and_in_order_in_any_weather() {
    let pair = Pair::new();
    let loss_percent = 5;
    pair.relay.weather(Weather {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        loss_percent,
        rate_bytes: NonZeroU64::new(4_000_000),
    });
    let [mut dialler, mut node] = pair.connect();
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let copy = sent.clone();
    let sender = std::thread::spawn(move || {
        for part in copy.chunks(50_000) {
            dialler.write_all(part).unwrap();
        }
        dialler
    });
    let mut received = vec![0; sent.len()];
    node.read_exact(&mut received).unwrap();
    assert!(sent == received, "bytes were changed, lost or reordered");
    // The end of the stream passes too; by then all that came before it is counted.
    drop(sender.join().unwrap());
    assert_eq!(node.read(&mut [0]).unwrap(), 0);
    assert_eq!(pair.relay.carried(0, 1), sent.len() as u64);
    assert_eq!(pair.relay.carried(1, 0), 0);
}

#[test]
fn the_delay_is_that_of_the_weather() {
    let pair = Pair::new();
    let [mut dialler, mut node] = pair.connect();
    pair.relay.weather(Weather { delay: Duration::from_millis(150), ..Weather::default() });
    let start = Instant::now();
    assert!(passes(&mut dialler, &mut node, LONG) && passes(&mut node, &mut dialler, LONG));
    assert!(start.elapsed() >= Duration::from_millis(300), "a round trip took {:?}", start.elapsed());
}

#[test]
fn a_one_way_cut_stops_one_way_and_the_heal_delivers_what_waited() {
    let pair = Pair::new();
    let [mut dialler, mut node] = pair.connect();
    assert!(passes(&mut dialler, &mut node, LONG));
    pair.relay.cut(0, 1, Passage::Silent);
    assert!(!passes(&mut dialler, &mut node, SHORT));
    assert!(passes(&mut node, &mut dialler, LONG));
    pair.relay.heal();
    assert!(arrives(&mut node, LONG), "the byte that was sent during the cut");
}

#[test]
fn a_dial_during_a_silent_cut_waits_for_the_heal_and_a_dialler_that_gives_up_is_forgotten() {
    let pair = Pair::new();
    pair.relay.split(&[&[0], &[1]], Passage::Silent);
    drop(TcpStream::connect(pair.door).unwrap());
    let mut patient = TcpStream::connect(pair.door).unwrap();
    patient.write_all(b"x").unwrap();
    pair.node.set_nonblocking(true).unwrap();
    std::thread::sleep(SHORT);
    assert!(pair.node.accept().is_err(), "a connection came through a cut");
    pair.relay.heal();
    pair.node.set_nonblocking(false).unwrap();
    let mut node = pair.node.accept().unwrap().0;
    assert!(arrives(&mut node, LONG), "the first connection to come through is the patient one");
}

#[test]
fn a_hard_cut_closes_what_is_open_and_what_is_dialled() {
    let pair = Pair::new();
    let ends = pair.connect();
    pair.relay.split(&[&[0], &[1]], Passage::Closed);
    for mut end in ends {
        assert!(end.read(&mut [0]).is_err() || end.read(&mut [0]).unwrap() == 0);
    }
    let mut late = TcpStream::connect(pair.door).unwrap();
    late.set_read_timeout(Some(LONG)).unwrap();
    assert!(!matches!(late.read(&mut [0]), Ok(1)));
    pair.relay.heal();
    let [mut dialler, mut node] = pair.connect();
    assert!(passes(&mut dialler, &mut node, LONG));
}

#[test]
fn nodes_in_one_group_of_a_split_stay_together() {
    let pair = Pair::new();
    let [mut dialler, mut node] = pair.connect();
    pair.relay.split(&[&[0, 1]], Passage::Closed);
    assert!(passes(&mut dialler, &mut node, LONG));
}

#[test]
fn the_seed_decides_the_draws() {
    let weather = Weather {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(10),
        loss_percent: 30,
        rate_bytes: None,
    };
    let draw = |seed| {
        let mut chance = Chance::new(seed);
        (0..200).map(|_| weather.crossing(1, &mut chance)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let lost = draw(1).iter().filter(|time| **time > Duration::from_millis(200)).count();
    assert!((30..90).contains(&lost), "{lost} of 200 were lost, of 30 in 100");
    assert!(draw(1).iter().all(|time| *time >= weather.delay));
}

#[test]
fn a_path_passes_no_more_than_its_rate_however_many_connections_share_it() {
    let pair = Pair::new();
    pair.relay.weather(Weather { rate_bytes: NonZeroU64::new(400_000), ..Weather::default() });
    let mut ends = [pair.connect(), pair.connect()];
    let start = Instant::now();
    for [dialler, _] in &mut ends {
        dialler.write_all(&[7; 100_000]).unwrap();
    }
    for [_, node] in &mut ends {
        node.read_exact(&mut [0; 100_000]).unwrap();
    }
    let took = start.elapsed();
    assert!((Duration::from_millis(490)..LONG).contains(&took), "200 kB at 400 kB a second took {took:?}");
}
