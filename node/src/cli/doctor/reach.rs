//! Whether something at an address speaks as a node's port for peers does, before any key is shown.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long each step may take: connecting, and the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many are tried at a time: the largest networks take some seconds then.
const AT_ONCE: usize = 32;

/// What both sides of a libp2p connection say first (multistream-select), each line after its length.
const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";
/// What is to be spoken: the encryption that our nodes use.
const PROPOSAL: &[u8] = b"\x07/noise\n";

/// What was found at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// It offers encrypted connections as a node does.
    Node,
    /// Nothing that answers, and why.
    Nothing(String),
    /// Something else.
    Other,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("a node"),
            Self::Nothing(why) => f.write_str(why),
            Self::Other => f.write_str("something listens there that is no node"),
        }
    }
}

/// Tries all of these, by name and address.
pub(super) fn all(nodes: Vec<(String, String)>) -> Vec<(String, Reached)> {
    let mut found = Vec::with_capacity(nodes.len());
    for some in nodes.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let trials: Vec<_> =
                some.iter().map(|(name, address)| (name, scope.spawn(|| one(address)))).collect();
            for (name, trial) in trials {
                let reached =
                    trial.join().unwrap_or_else(|_| Reached::Nothing("the attempt panicked".to_owned()));
                found.push((name.clone(), reached));
            }
        });
    }
    found
}

fn one(address: &str) -> Reached {
    let nothing = |why: &dyn fmt::Display| Reached::Nothing(format!("{address}: {why}"));
    let resolved = match address.to_socket_addrs() {
        Ok(resolved) => resolved,
        Err(error) => return nothing(&error),
    };
    let mut last = nothing(&"the name has no address");
    // A name may have several addresses, of which one works.
    for address in resolved.take(4) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return greet(stream).unwrap_or_else(|error| nothing(&error)),
            Err(error) => last = nothing(&error),
        }
    }
    last
}

fn greet(mut stream: TcpStream) -> std::io::Result<Reached> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let wanted = [GREETING, PROPOSAL].concat();
    stream.write_all(&wanted)?;
    let mut answer = vec![0; wanted.len()];
    let mut length = 0;
    while length < answer.len() {
        match stream.read(&mut answer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            // It waits for something else, or hung up on what it does not understand.
            Err(_) if length > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(if answer == wanted { Reached::Node } else { Reached::Other })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Something at a port that answers so.
    fn answering(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 28];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(answer).unwrap();
        });
        address
    }

    #[test]
    fn a_node_is_told_from_something_else_and_from_nothing() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let nodes = [
            ("node", answering(b"\x13/multistream/1.0.0\n\x07/noise\n")),
            ("plain", answering(b"\x13/multistream/1.0.0\n\x03na\n")),
            ("web", answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
            ("none", free.clone()),
        ];
        let found = all(nodes.map(|(name, address)| (name.to_owned(), address)).to_vec());
        let found: Vec<_> = found.into_iter().map(|(_, reached)| reached).collect();
        assert_eq!(found[..3], [Reached::Node, Reached::Other, Reached::Other]);
        assert!(matches!(&found[3], Reached::Nothing(why) if why.contains(&free)), "{:?}", found[3]);
    }
}
