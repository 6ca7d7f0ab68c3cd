//! Which process holds the other end of a connection on this machine, by Linux's /proc.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The one of `processes` that has a connection from `local` to `remote`.
pub fn owner(local: SocketAddr, remote: SocketAddr, processes: &[Option<u32>]) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let ends = (address(fields.get(1)?)?, address(fields.get(2)?)?);
        (ends == (local, remote)).then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    })?;
    processes.iter().position(|process| process.is_some_and(|process| holds(process, &inode)))
}

fn holds(process: u32, link: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd"));
    files.is_ok_and(|mut files| {
        files.any(|file| {
            file.and_then(|file| fs::read_link(file.path())).is_ok_and(|target| target.as_os_str() == link)
        })
    })
}

/// `0100007F:1F90`: the address as the machine's own number, the port plainly.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_traced_to_the_process_that_opened_it_and_to_no_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let dialled = std::net::TcpStream::connect(remote).unwrap();
        let local = dialled.local_addr().unwrap();
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = std::process::id();
        assert_eq!(owner(local, remote, &[None, Some(other.id()), Some(own)]), Some(2));
        assert_eq!(owner(local, remote, &[None, Some(other.id())]), None);
        other.kill().unwrap();
        other.wait().unwrap();
        drop((dialled, listener));
    }
}
