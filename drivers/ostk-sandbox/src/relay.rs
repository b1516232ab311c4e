//! Listening sockets inside a command's own network, served from outside: the only ways out that it has.
//!
//! A socket belongs to the network in which it was made, whoever holds its descriptor. So the child makes one for each
//! port when it has entered its network, and hands it to the daemon, which accepts there what the command connects to.
//! Who serves them, and to which hosts, is not decided here.

use std::{
    collections::BTreeSet,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    },
};

use crate::SandboxError;

/// One for each kind of service is a handful; each is a descriptor of the daemon for as long as the command runs.
pub(crate) const MAX_RELAYS: usize = 16;
/// Connections that wait to be accepted: what a parallel package manager opens at once.
const BACKLOG: i32 = 128;

/// The relays of one command, and the pair of sockets over which they are handed out.
pub(crate) struct Relays {
    ports: Vec<u16>,
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Relays {
    /// In a network of its own every port is free, so each must be named: the environment of the command names it too.
    pub(crate) fn new(ports: &[u16]) -> Result<Self, SandboxError> {
        let distinct: BTreeSet<_> = ports.iter().collect();
        if ports.len() > MAX_RELAYS || distinct.len() < ports.len() || ports.contains(&0) {
            let wanted =
                format!("relays need at most {MAX_RELAYS} different ports, none of them 0: {ports:?}");
            return Err(SandboxError::InvalidSpec(wanted));
        }
        let pair = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        let (ours, theirs) = pair.map_err(|errno| SandboxError::io("make a socket pair")(errno.into()))?;
        Ok(Self { ports: ports.to_vec(), ours, theirs })
    }

    /// Makes the sockets and hands them out. Called by the child inside its network; system calls only.
    pub(crate) fn open(&self) -> Result<(), Errno> {
        self.ports.iter().try_for_each(|port| {
            let socket = rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port))?;
            rustix::net::listen(&socket, BACKLOG)?;
            self.hand_out(&socket)
        })
    }

    fn hand_out(&self, socket: &OwnedFd) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket.as_fd()];
        if !message.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(Errno::NOBUFS);
        }
        rustix::net::sendmsg(&self.theirs, &[IoSlice::new(b"r")], &mut message, SendFlags::NOSIGNAL).map(drop)
    }

    /// The sockets, in the order of the ports, when the child has opened them.
    pub(crate) fn collect(&self) -> Result<Vec<TcpListener>, Errno> {
        self.ports.iter().map(|_| self.receive()).collect()
    }

    fn receive(&self) -> Result<TcpListener, Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let into = &mut [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(&self.ours, into, &mut message, RecvFlags::CMSG_CLOEXEC)?;
        let socket = message.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
            _ => None,
        });
        socket.map(TcpListener::from).ok_or(Errno::BADMSG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_cannot_all_be_named_in_an_environment_are_refused() {
        let many: Vec<u16> = (1..=17).collect();
        for ports in [&[0][..], &[80, 80], &many] {
            assert!(matches!(Relays::new(ports), Err(SandboxError::InvalidSpec(_))), "{ports:?}");
        }
        assert!(Relays::new(&many[..16]).is_ok());
    }
}
