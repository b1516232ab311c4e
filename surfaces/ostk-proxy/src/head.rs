//! The head of a proxy request: where it wants to go, and whether everyone would read it the same way.
//!
//! Strict on purpose: two lengths, a length beside chunks, folded lines, bare line feeds or a `Host` that differs from the
//! target mean that two programs may disagree on what was asked, so they are refused (RFC 9112, section 11.2). Only the
//! head is read here; bodies are hyper's business.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::target::Target;

/// The largest head; curl and git stay under one tenth of it.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Header lines of one request.
const MAX_HEADERS: usize = 100;
/// Where plain HTTP goes if a URL names no port.
const HTTP_PORT: u16 = 80;

/// What a client asks of the proxy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// A tunnel (`CONNECT`), not one plain request.
    pub(crate) is_tunnel: bool,
    pub(crate) target: Target,
    /// Bytes of the head; what follows in the buffer belongs to the tunnel or the body.
    pub(crate) size: usize,
}

/// Why a head is not acted upon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadError {
    /// Not well-formed, or ambiguous.
    #[error("{0}")]
    Bad(String),
    /// More than [`MAX_HEAD_BYTES`] or [`MAX_HEADERS`].
    #[error("the head of the request is larger than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} lines")]
    TooLarge,
    /// The client left.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn bad(text: impl Into<String>) -> HeadError {
    HeadError::Bad(text.into())
}

/// Reads into `buffer` until a whole head is there, and takes it apart. The caller sets the deadline.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<Head, HeadError> {
    let mut searched: usize = 0;
    loop {
        let from = searched.saturating_sub(3);
        if let Some(at) = position(buffer.get(from..).unwrap_or_default(), b"\r\n\r\n") {
            return parse(buffer.get(..from + at + 4).unwrap_or_default());
        }
        if has_bare_line_feed(buffer) {
            return Err(bad("lines end with a carriage return and a line feed"));
        }
        searched = buffer.len();
        if searched >= MAX_HEAD_BYTES {
            return Err(HeadError::TooLarge);
        }
        let mut limited = stream.take((MAX_HEAD_BYTES - searched) as u64);
        if limited.read_buf(buffer).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut before = 0;
    bytes.iter().any(|byte| std::mem::replace(&mut before, *byte) != b'\r' && *byte == b'\n')
}

fn parse(bytes: &[u8]) -> Result<Head, HeadError> {
    if has_bare_line_feed(bytes) {
        return Err(bad("lines end with a carriage return and a line feed"));
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
        Ok(_) => return Err(bad("the head of the request ends in its middle")),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(error) => return Err(bad(format!("not a request: {error}"))),
    }
    let (method, uri) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let is_tunnel = method == "CONNECT";
    let target = if is_tunnel { tunnel_target(uri) } else { absolute_target(uri) }?;
    let headers = Headers { all: request.headers };
    headers.check_host(&target, is_tunnel)?;
    headers.check_length(is_tunnel, request.version == Some(0))?;
    Ok(Head { is_tunnel, target, size: bytes.len() })
}

fn tunnel_target(authority: &str) -> Result<Target, HeadError> {
    Target::parse(authority, None).map_err(|error| bad(format!("CONNECT {authority}: {error}")))
}

fn absolute_target(uri: &str) -> Result<Target, HeadError> {
    let (scheme, rest) = uri.split_once("://").ok_or_else(|| {
        bad("this is a proxy: a request names an absolute http URL, or CONNECT and a host with a port")
    })?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(bad(format!("{scheme} is not relayed in the clear; use CONNECT")));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Target::parse(authority, Some(HTTP_PORT)).map_err(|error| bad(format!("http://{authority}: {error}")))
}

struct Headers<'a> {
    all: &'a [httparse::Header<'a>],
}

impl Headers<'_> {
    fn of(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.all
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// `Host` says the same as the target, or nothing.
    fn check_host(&self, target: &Target, is_tunnel: bool) -> Result<(), HeadError> {
        let mut hosts = self.of("host");
        let (first, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return Err(bad("two Host headers"));
        }
        let Some(host) = first.filter(|host| !host.is_empty()) else { return Ok(()) };
        // For a tunnel clients leave the port out or name it; for a URL, 80 is left out.
        let default = if is_tunnel { target.port } else { HTTP_PORT };
        let named = std::str::from_utf8(host).ok().and_then(|host| Target::parse(host, Some(default)).ok());
        if named.as_ref() == Some(target) {
            return Ok(());
        }
        Err(bad(format!("the Host header is not that of the target {target}")))
    }

    /// The body has one length, said one way; a tunnel has none.
    fn check_length(&self, is_tunnel: bool, is_http_10: bool) -> Result<(), HeadError> {
        let lengths: Vec<_> = self.of("content-length").collect();
        let encodings: Vec<_> = self.of("transfer-encoding").collect();
        if lengths.len() + encodings.len() > 1 {
            return Err(bad("more than one Content-Length or Transfer-Encoding"));
        }
        if is_tunnel && lengths.len() + encodings.len() > 0 {
            return Err(bad("CONNECT has no body"));
        }
        if encodings.iter().any(|value| is_http_10 || !value.eq_ignore_ascii_case(b"chunked")) {
            return Err(bad("the only Transfer-Encoding is chunked, in HTTP/1.1"));
        }
        let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if lengths.iter().any(|value| !is_number(value)) {
            return Err(bad("Content-Length is not a number"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Head, HeadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut text.as_bytes(), &mut Vec::new()))
    }

    fn to(text: &str) -> Result<(bool, String), String> {
        read_all(text)
            .map(|head| (head.is_tunnel, head.target.to_string()))
            .map_err(|error| error.to_string())
    }

    fn tunnel(to: &str) -> Result<(bool, String), String> {
        Ok((true, to.to_owned()))
    }

    fn plain(to: &str) -> Result<(bool, String), String> {
        Ok((false, to.to_owned()))
    }

    #[test]
    fn what_curl_git_and_python_send_is_understood() {
        assert_eq!(
            to("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"),
            tunnel("a.example:443")
        );
        assert_eq!(to("CONNECT a.example:22 HTTP/1.0\r\n\r\n"), tunnel("a.example:22"));
        assert_eq!(to("CONNECT [2606::1]:443 HTTP/1.1\r\nHost: [2606::1]\r\n\r\n"), tunnel("[2606::1]:443"));
        assert_eq!(to("GET http://a.example HTTP/1.1\r\nHost: A.example\r\n\r\n"), plain("a.example:80"));
        assert_eq!(
            to("GET http://a.example:8080?x HTTP/1.1\r\nHost: a.example:8080\r\n\r\n"),
            plain("a.example:8080")
        );
        let body = "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(to(body), plain("a.example:80"));
        assert_eq!(read_all(body).unwrap().size, body.len() - 2);
    }

    #[test]
    fn a_request_whose_end_can_be_read_two_ways_is_refused() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 1, 1",
            "Content-Length: +1",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding : chunked",
            "X: a\r\n Content-Length: 1",
            "X: a\nContent-Length: 1",
            "X: a\rContent-Length: 1",
            "X: a\0b",
        ] {
            let text = format!("POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n\r\n");
            assert!(matches!(read_all(&text), Err(HeadError::Bad(_))), "{lines:?}");
        }
        let text = "CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        assert!(matches!(read_all(text), Err(HeadError::Bad(_))));
    }

    #[test]
    fn a_host_header_that_differs_from_the_target_is_refused() {
        for lines in [
            "Host: b.example",
            "Host: a.example:81",
            "Host: a.example\r\nHost: a.example",
            "Host: a.example, b",
        ] {
            let text = format!("GET http://a.example/ HTTP/1.1\r\n{lines}\r\n\r\n");
            assert!(to(&text).unwrap_err().contains("Host"), "{lines:?}");
        }
    }

    #[test]
    fn a_target_that_hides_another_is_refused() {
        for line in [
            "GET / HTTP/1.1",
            "GET http://a.example@b.example/ HTTP/1.1",
            "GET http://a.example\\@b.example/ HTTP/1.1",
            "GET https://a.example/ HTTP/1.1",
            "GET file:///etc/passwd HTTP/1.1",
            "CONNECT a.example HTTP/1.1",
            "CONNECT http://a.example:443 HTTP/1.1",
            "CONNECT a.example:443/x HTTP/1.1",
            "CONNECT 127.1:443 HTTP/1.1",
        ] {
            assert!(matches!(read_all(&format!("{line}\r\n\r\n")), Err(HeadError::Bad(_))), "{line:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let many = format!("GET http://a/ HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(matches!(read_all(&many), Err(HeadError::TooLarge)));
        let long = format!("GET http://a/{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
        assert!(matches!(read_all(&long), Err(HeadError::TooLarge)));
        assert!(matches!(read_all("GET http://a/ HTTP/1.1\r\nHost"), Err(HeadError::Io(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let mut text = b"GET http://a.example/ HTTP/1.1\r\n".to_vec();
            text.extend(bytes);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let head = runtime.block_on(read(&mut text.as_slice(), &mut Vec::new()));
            if let Ok(head) = head {
                proptest::prop_assert_eq!(head.target.to_string(), "a.example:80");
            }
        }
    }
}
