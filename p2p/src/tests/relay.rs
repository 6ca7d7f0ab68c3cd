//! A wire that can be cut, in one direction or both, without either end being told.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to what is sent in one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It arrives.
    On,
    /// It is on its way, and does not arrive.
    Held,
    /// Nothing more is taken: whoever dies now says no goodbye.
    Cut,
    /// What was held arrives, and nothing more is taken.
    LastWords,
}

/// Forwards connections to a target.
pub struct Relay {
    /// Where to call.
    pub address: SocketAddr,
    /// From the caller to the target.
    pub there: watch::Sender<Flow>,
    /// From the target to the caller.
    pub back: watch::Sender<Flow>,
    came_back: Arc<AtomicUsize>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ((there, there_on), (back, back_on)) = (watch::channel(Flow::On), watch::channel(Flow::On));
        let address = listener.local_addr().unwrap();
        let came_back = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&came_back);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(forward(near_in, far_out, there_on.clone(), Arc::default()));
                tokio::spawn(forward(far_in, near_out, back_on.clone(), Arc::clone(&counted)));
            }
        });
        Self { address, there, back, came_back }
    }

    /// How many bytes of the target have reached callers.
    pub fn came_back(&self) -> usize {
        self.came_back.load(Ordering::Relaxed)
    }

    /// Lets both directions flow, or cuts both.
    pub fn switch(&self, on: bool) {
        for direction in [&self.there, &self.back] {
            direction.send_replace(if on { Flow::On } else { Flow::Cut });
        }
    }
}

async fn forward(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    flow: watch::Receiver<Flow>,
    forwarded: Arc<AtomicUsize>,
) {
    let (mut taking, mut giving) = (flow.clone(), flow);
    let (mut bytes, mut held, mut open) = ([0; 4096], Vec::new(), true);
    loop {
        tokio::select! {
            ready = readable(&from, &mut taking), if open => match ready.and_then(|()| from.try_read(&mut bytes)) {
                Ok(length @ 1..) => held.extend_from_slice(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => open = false,
            },
            ready = writable(&to, &mut giving), if !held.is_empty() => {
                match ready.and_then(|()| to.try_write(&held)) {
                    Ok(length) => {
                        forwarded.fetch_add(length, Ordering::Relaxed);
                        drop(held.drain(..length));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            else => return,
        }
    }
}

// A test that has dropped its relay switches no more: `wait_for` fails at once, and all flows.

async fn readable(from: &OwnedReadHalf, flow: &mut watch::Receiver<Flow>) -> std::io::Result<()> {
    drop(flow.wait_for(|flow| matches!(flow, Flow::On | Flow::Held)).await);
    from.readable().await
}

async fn writable(to: &OwnedWriteHalf, flow: &mut watch::Receiver<Flow>) -> std::io::Result<()> {
    drop(flow.wait_for(|flow| matches!(flow, Flow::On | Flow::LastWords)).await);
    to.writable().await
}
