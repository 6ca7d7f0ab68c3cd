//! A wire that can be cut, in one direction or both, without either end being told.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections to a target; while a direction is off, what was sent in it waits.
pub struct Relay {
    /// Where to call.
    pub address: SocketAddr,
    /// From the caller to the target.
    pub there: watch::Sender<bool>,
    /// From the target to the caller.
    pub back: watch::Sender<bool>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ((there, there_on), (back, back_on)) = (watch::channel(true), watch::channel(true));
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(forward(near_in, far_out, there_on.clone()));
                tokio::spawn(forward(far_in, near_out, back_on.clone()));
            }
        });
        Self { address, there, back }
    }

    /// Turns both directions on or off.
    pub fn switch(&self, on: bool) {
        self.there.send_replace(on);
        self.back.send_replace(on);
    }
}

async fn forward(
    from: tokio::net::tcp::OwnedReadHalf,
    to: tokio::net::tcp::OwnedWriteHalf,
    mut on: watch::Receiver<bool>,
) {
    let mut bytes = [0; 4096];
    loop {
        from.readable().await.unwrap();
        on.wait_for(|on| *on).await.ok();
        match from.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => {
                let mut rest = &bytes[..length];
                while !rest.is_empty() && to.writable().await.is_ok() {
                    match to.try_write(rest) {
                        Ok(written) => rest = &rest[written..],
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
