//! A host that commands may reach: `crates.io`, `crates.io:443`, `*.example.org`, `192.0.2.7`, `[2001:db8::1]:8443`.
//!
//! Names are compared without case and without a final dot; `*.` stands for one or more labels before the rest, so
//! `*.example.org` is not `example.org`. What a name resolves to is the egress proxy's business.

use std::{fmt, net::IpAddr, str::FromStr};

/// Longest name of a host (RFC 1035, 2.3.4).
const MAX_HOST_BYTES: usize = 253;
/// Longest label of a name, from the same place.
const MAX_LABEL_BYTES: usize = 63;

/// A host with a port, or every port when none is given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    /// In lower case, without `*.` and final dot; an address in its canonical form.
    name: String,
    /// Only names below `name`.
    below: bool,
    address: Option<IpAddr>,
    port: Option<u16>,
}

/// Why a text is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The part after the last colon.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// A scheme, a path or a user.
    #[error("a host stands alone, without `https://`, user or path")]
    Url,
    /// `*` where it means nothing, or nothing but `*`.
    #[error("`*` stands only before a name: `*.example.org`")]
    Star,
    /// Anything else.
    #[error(
        "a host is a name of letters, digits, `-` and `.`, or an address; an IPv6 address stands in brackets"
    )]
    Name,
}

impl HostPattern {
    /// Reads a host.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.contains(['/', '@', '?']) {
            return Err(HostError::Url);
        }
        let (host, port) = split_port(text)?;
        let (below, rest) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
        if rest.contains('*') {
            return Err(HostError::Star);
        }
        let name = plain(rest);
        let bracketed = name.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let address = bracketed.unwrap_or(&name).parse::<IpAddr>().ok();
        match address {
            Some(address) if !below && address.is_ipv6() == bracketed.is_some() => {
                Ok(Self { name: address.to_string(), below, address: Some(address), port })
            }
            None if is_name(&name) && (!below || name.contains('.')) => {
                Ok(Self { name, below, address: None, port })
            }
            None if below => Err(HostError::Star),
            _ => Err(HostError::Name),
        }
    }

    /// Whether a connection to this host and port is meant. `host` is a name or an address without brackets.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|own| own != port) {
            return false;
        }
        if let Some(address) = self.address {
            return IpAddr::from_str(host).is_ok_and(|other| other == address);
        }
        let host = plain(host);
        match self.below {
            false => host == self.name,
            true => host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }

    /// Whether a connection to this `host:port` is meant, written as in [`crate::Resource::Host`].
    pub(crate) fn covers_target(&self, target: &str) -> bool {
        parts(target).is_some_and(|(host, port)| self.covers(host, port))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "*." } else { "" };
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            _ => write!(f, "{star}{}", self.name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Host without brackets, and port, of a `host:port`; `None` if it is not one.
fn parts(target: &str) -> Option<(&str, u16)> {
    let (host, port) = split_port(target).ok()?;
    let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    Some((host, port?)).filter(|_| HostPattern::parse(target).is_ok_and(|pattern| !pattern.below))
}

/// Whether a text is a `host:port`.
pub(crate) fn is_target(target: &str) -> bool {
    parts(target).is_some()
}

/// The address that a target names, if it names one.
pub(crate) fn literal(target: &str) -> Option<IpAddr> {
    parts(target)?.0.parse().ok()
}

/// The host and the port. An IPv6 address without brackets has no port.
fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    let Some((host, port)) = text.rsplit_once(':') else { return Ok((text, None)) };
    if text.ends_with(']') {
        return Ok((text, None));
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((host, Some(number)))
        }
        _ => Err(HostError::Port),
    }
}

fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A name by RFC 1123, 2.1, and `_`, which real names hold. A name whose last label is a number is no name: programs read
/// it as an address in their own ways.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
    name.len() <= MAX_HOST_BYTES && name.split('.').all(label) && !name.rsplit('.').next().is_some_and(number)
}
