//! Descriptors that a child makes in its own view of the machine and hands to the daemon: a pair of connected sockets.
//!
//! Used for the listening sockets of relays (`relay.rs`), for the terminal (`terminal.rs`) and
//! for notices of system calls (`notify.rs`). A child has a copy of the
//! daemon's table of descriptors, so what it opens has to be sent.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
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

/// Neither end waits: all is sent before the program is executed, and received after that.
pub(crate) struct Handover {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Handover {
    pub(crate) fn new() -> Result<Self, SandboxError> {
        let pair = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        let (ours, theirs) = pair.map_err(|errno| SandboxError::io("make a socket pair")(errno.into()))?;
        Ok(Self { ours, theirs })
    }

    /// Readable when something was given.
    pub(crate) fn ours(&self) -> &OwnedFd {
        &self.ours
    }

    /// Sends a copy of a descriptor. Called by the child; system calls only.
    pub(crate) fn give(&self, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        if !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::NOBUFS);
        }
        rustix::net::sendmsg(&self.theirs, &[IoSlice::new(b"d")], &mut message, SendFlags::NOSIGNAL).map(drop)
    }

    /// The first descriptor that was given and not taken.
    pub(crate) fn take(&self) -> Result<OwnedFd, Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let into = &mut [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(self.ours.as_fd(), into, &mut message, RecvFlags::CMSG_CLOEXEC)?;
        let given = message.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        given.ok_or(Errno::BADMSG)
    }
}
