//! SOCKS5 (RFC 1928) without authentication, for programs that speak no HTTP: ssh, git over ssh, databases.
//!
//! Only `CONNECT`: UDP would carry names past the desk, and nobody connects to a contained process. The shapes live here;
//! what to do with a target is `egress.rs`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::dial::Failure;
use crate::target::{Host, Target};

/// The protocol's number, its first byte.
pub(crate) const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// The answers of RFC 1928, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reply {
    Succeeded = 0,
    NotAllowed = 2,
    HostUnreachable = 4,
    TtlExpired = 6,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

impl From<&Failure> for Reply {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(_) => Self::NotAllowed,
            Failure::Unreachable(_) => Self::HostUnreachable,
            Failure::TooSlow(_) => Self::TtlExpired,
        }
    }
}

/// Reads a greeting and a request; the caller sets the deadline. `None`: the client was told why not.
pub(crate) async fn read<S>(stream: &mut S) -> io::Result<Option<Target>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _version = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_METHOD]).await?;
        return Ok(None);
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _reserved, kind] = head;
    if version != VERSION {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let host = host(stream, kind).await?;
    let port = stream.read_u16().await?;
    let target = host.and_then(|host| Target::new(host, port).ok());
    match (command, target) {
        (CONNECT, Some(target)) => return Ok(Some(target)),
        (CONNECT, None) => reply(stream, Reply::AddressNotSupported).await?,
        _ => reply(stream, Reply::CommandNotSupported).await?,
    }
    Ok(None)
}

async fn host<S: AsyncRead + Unpin>(stream: &mut S, kind: u8) -> io::Result<Option<Host>> {
    match kind {
        1 => Ok(Some(Host::Address(IpAddr::V4(Ipv4Addr::from_bits(stream.read_u32().await?))))),
        3 => {
            let mut name = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            // A name may spell an IPv4 address here; brackets would be an IPv6 one, which has a kind of its own.
            let name = std::str::from_utf8(&name).ok().filter(|name| !name.starts_with('['));
            Ok(name.and_then(|name| Host::parse(name).ok()))
        }
        4 => {
            let address = IpAddr::V6(Ipv6Addr::from_bits(stream.read_u128().await?));
            Ok(Some(Host::Address(address.to_canonical())))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Tells the client how its request went. The bound address is of no use to anyone and left zero.
pub(crate) async fn reply<S: AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> io::Result<()> {
    stream.write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}
