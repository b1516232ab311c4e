//! Listening sockets inside a command's own network, served from outside: the only ways out that it has.
//!
//! A socket belongs to the network in which it was made, whoever holds its descriptor. So the child makes one for each
//! port when it has entered its network, and hands it to the daemon, which accepts there what the command connects to.
//! Who serves them, and to which hosts, is not decided here.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsFd as _,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
};

use crate::{SandboxError, handover::Handover};

/// One for each kind of service is a handful; each is a descriptor of the daemon for as long as the command runs.
const MAX_RELAYS: usize = 16;
/// Connections that wait to be accepted: what a parallel package manager opens at once.
const BACKLOG: i32 = 128;

/// In a network of its own every port is free, so each must be named: the environment of the command names it too.
pub(crate) fn require_named(ports: &[u16]) -> Result<(), SandboxError> {
    let distinct: BTreeSet<_> = ports.iter().collect();
    if ports.len() <= MAX_RELAYS && distinct.len() == ports.len() && !ports.contains(&0) {
        return Ok(());
    }
    let wanted = format!("relays need at most {MAX_RELAYS} different ports, none of them 0: {ports:?}");
    Err(SandboxError::InvalidSpec(wanted))
}

/// Makes a socket that listens on `port` and hands it out. Called by the child inside its network; system calls only.
pub(crate) fn open(port: u16, handover: &Handover) -> Result<(), Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    handover.give(socket.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_cannot_all_be_named_in_an_environment_are_refused() {
        let many: Vec<u16> = (1..=17).collect();
        for ports in [&[0][..], &[80, 80], &many] {
            assert!(matches!(require_named(ports), Err(SandboxError::InvalidSpec(_))), "{ports:?}");
        }
        assert!(require_named(&many[..16]).is_ok());
    }
}
