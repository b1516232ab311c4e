//! Where a client wants to go: a host and a port, in the one form that rules are compared with.
//!
//! Parsing is strict, because what a resolver would understand otherwise than a rule is a way around the rule: `2130706433`,
//! `0x7f.1` and `127.1` are refused, as are names outside of DNS's letters. Nothing is resolved here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name, RFC 1035.
const MAX_NAME_BYTES: usize = 253;
/// The longest part of a name, RFC 1035.
const MAX_LABEL_BYTES: usize = 63;

/// A host as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name of DNS: lower case, ASCII (`xn--` for others), without a dot at its end.
    Name(String),
    /// An address that was written as such; an IPv4 address in an IPv6 one (`::ffff:…`) is an IPv4 address.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port; never 0.
    pub port: u16,
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No port, port 0, or no number.
    #[error("a port from 1 to 65535 is missing")]
    Port,
    /// Empty, too long, or with characters that names do not have.
    #[error("the host is no name of DNS; others than ASCII are written as xn--")]
    Name,
    /// Looks like a number that some resolvers take for an address.
    #[error("the host is a number that is no plain IPv4 address")]
    Number,
    /// No IPv6 address in the brackets, or one with a zone.
    #[error("the host is no plain IPv6 address")]
    Ipv6,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    /// A host as URLs write it: a name, an IPv4 address, an IPv6 address in brackets.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(TargetError::Ipv6)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| TargetError::Ipv6)?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        Self::name(text)
    }

    fn name(text: &str) -> Result<Self, TargetError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
            return Err(TargetError::Name);
        }
        // The rule of the URL standard: a host whose last part is a number is an address or an error.
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(TargetError::Number);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl Target {
    /// A target as authorities write it: `host:port`, or `host` where the scheme gives `default_port`.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        let in_brackets = text.rfind(']').unwrap_or(0);
        let colon = text.rfind(':').filter(|at| *at > in_brackets);
        let (host, port) = match colon {
            Some(at) => (text.split_at(at).0, port_of(text.split_at(at).1.trim_start_matches(':'))),
            None => (text, default_port),
        };
        Self::new(Host::parse(host)?, port.unwrap_or(0))
    }

    /// A host with a port.
    ///
    /// # Errors
    /// [`TargetError::Port`] for port 0.
    pub fn new(host: Host, port: u16) -> Result<Self, TargetError> {
        if port == 0 { Err(TargetError::Port) } else { Ok(Self { host, port }) }
    }
}

/// Digits only: `u16`'s own parser takes a plus sign.
fn port_of(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !label.is_empty() && label.len() <= MAX_LABEL_BYTES && label.bytes().all(inner) && !label.starts_with('-')
}

fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        || label.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<String, TargetError> {
        Target::parse(text, None).map(|target| target.to_string())
    }

    #[test]
    fn a_name_has_one_form_whatever_its_case_and_its_last_dot() {
        assert_eq!(target("Example.ORG.:443").as_deref(), Ok("example.org:443"));
        assert_eq!(target("xn--bcher-kva.example:1").as_deref(), Ok("xn--bcher-kva.example:1"));
        assert_eq!(target("_srv.a-b.c:1").as_deref(), Ok("_srv.a-b.c:1"));
    }

    #[test]
    fn addresses_are_told_from_names() {
        let host = |text| Target::parse(text, Some(80)).map(|target| target.host);
        assert_eq!(host("10.0.0.1"), Ok(Host::Address("10.0.0.1".parse().unwrap())));
        assert_eq!(host("[::1]:8"), Ok(Host::Address("::1".parse().unwrap())));
        assert_eq!(host("[::ffff:10.0.0.1]"), host("10.0.0.1"));
        assert_eq!(host("10.0.0.1.example"), Ok(Host::Name("10.0.0.1.example".into())));
    }

    #[test]
    fn numbers_that_a_resolver_may_take_for_an_address_are_refused() {
        for text in [
            "2130706433:80",
            "0x7f000001:80",
            "127.1:80",
            "0177.0.0.1:80",
            "a.0x1:80",
            "1.2.3.4.:80",
            "0x:80",
        ] {
            assert_eq!(target(text), Err(TargetError::Number), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = format!("{}:1", "a.".repeat(130));
        for text in [
            "",
            ":1",
            "a..b:1",
            ".a:1",
            "a b:1",
            "a\0b:1",
            "a/b:1",
            "u@a:1",
            "a%2e:1",
            "bücher:1",
            "-a:1",
            &long,
        ] {
            assert!(matches!(target(text), Err(TargetError::Name)), "{text}");
        }
        for text in ["[::1:1", "[fe80::1%eth0]:1", "[]:1", "[1.2.3.4]:1"] {
            assert_eq!(target(text), Err(TargetError::Ipv6), "{text}");
        }
    }

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        for text in ["a", "a:", "a:0", "a:65536", "a:+1", "a:1x", "a:-1"] {
            assert_eq!(target(text), Err(TargetError::Port), "{text}");
        }
    }
}
