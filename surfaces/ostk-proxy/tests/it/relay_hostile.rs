//! What does not get through: requests without the token, keys, paths and bodies that hide something, vendors that do not
//! answer; and that every refusal is an error of the vendor's own shape.

use std::{io::Write, time::Duration};

use http_body_util::Full;
use hyper::{Request, StatusCode};
use ostk_proxy::RelayLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::vendor::{ByHand, KEY, Rig, TOKEN, echoes, post};

const ENDPOINTS: [&str; 4] = [
    "/anthropic/v1/messages",
    "/openai/v1/chat/completions",
    "/openai/v1/responses",
    "/gemini/v1beta/models/m:generateContent",
];

/// A rig whose vendor nobody may reach: the port is closed.
fn nowhere() -> Rig {
    Rig::with("http://127.0.0.1:1", Some(KEY), RelayLimits::default())
}

#[tokio::test]
async fn without_the_right_token_nothing_is_asked_and_nothing_sent() {
    let rig = nowhere();
    for path in ENDPOINTS {
        for credential in [None, Some("wrong"), Some("ostk_local-tokem"), Some("")] {
            let request = Request::post(path).header("host", "localhost");
            let request = match credential {
                Some(value) => {
                    request.header("x-api-key", value).header("authorization", format!("Bearer {value}"))
                }
                None => request,
            };
            let reply = rig.whole(request.body(Full::from("{\"model\":\"m\"}")).unwrap()).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
            assert!(reply.error().contains("Hint: "), "{}", reply.error());
        }
    }
    assert!(rig.book.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_vendor_without_a_key_says_what_to_do_unless_it_is_this_machine() {
    let rig = Rig::with("http://192.0.2.1", None, RelayLimits::default());
    for path in ENDPOINTS {
        let reply = rig.post(path, "{\"model\":\"m\"}").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(reply.error().contains("HUMANFILE"), "{}", reply.error());
    }
    assert!(rig.book.asked.lock().unwrap().is_empty());
    let (vendor, address) = ByHand::new().await;
    let local = Rig::with(&format!("http://{address}"), None, RelayLimits::default());
    tokio::spawn(async move {
        let (mut stream, head, _) = vendor.accept().await;
        assert!(!head.contains("authorization") && !head.contains(TOKEN));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    });
    assert_eq!(local.post("/openai/v1/responses", "{\"model\":\"m\"}").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_refusal_of_the_desk_reaches_the_agent_with_its_hint_and_the_vendor_not_at_all() {
    let rig = nowhere();
    for path in &ENDPOINTS[..3] {
        let reply = rig.post(path, "{\"model\":\"forbidden\"}").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert_eq!(
            reply.error(),
            "worker-a may not use forbidden\nHint: ostk why worker-a model.call forbidden"
        );
    }
    let reply = rig.post("/gemini/v1beta/models/forbidden:generateContent", "{}").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(rig.book.ended.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_vendor_that_is_not_there_or_silent_is_told_to_agent_and_desk() {
    let rig = nowhere();
    let reply = rig.post("/openai/v1/responses", "{\"model\":\"m\"}").await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(reply.error().contains("openai cannot be reached"), "{}", reply.error());
    assert!(rig.book.end().await.problem.is_some());
    let (_vendor, address) = ByHand::new().await;
    let limits = RelayLimits { first_byte: Duration::from_millis(50), ..RelayLimits::default() };
    let silent = Rig::with(&format!("http://{address}"), Some(KEY), limits);
    let reply = silent.post("/anthropic/v1/messages", "{\"model\":\"m\"}").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    let end = silent.book.end().await;
    assert_eq!((end.status, end.problem.as_deref()), (None, Some("no answer in time")));
}

#[tokio::test]
async fn a_vendor_that_falls_silent_in_the_middle_is_given_up() {
    let (vendor, address) = ByHand::new().await;
    let limits = RelayLimits { idle: Duration::from_millis(50), ..RelayLimits::default() };
    let rig = Rig::with(&format!("http://{address}"), Some(KEY), limits);
    let request = post("/anthropic/v1/messages").body(Full::from("{\"model\":\"m\"}")).unwrap();
    let holding = tokio::spawn(async move {
        let (mut stream, ..) = vendor.accept().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
        stream
    });
    assert!(http_body_util::BodyExt::collect(rig.send(request).await.into_body()).await.is_err());
    let end = rig.book.end().await;
    assert!(!end.complete && end.problem.unwrap().contains("sent nothing"));
    drop(holding);
}

#[tokio::test]
async fn a_key_that_the_vendor_echoes_is_dotted_out_for_agent_and_desk() {
    let (vendor, address) = ByHand::new().await;
    let rig = Rig::to(address);
    tokio::spawn(async move {
        let (mut stream, ..) = vendor.accept().await;
        let (body, half) = (format!("bad key: {KEY}!"), KEY.len() / 2 + 9);
        let head = format!("HTTP/1.1 401 No\r\nx-echo: {KEY}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.as_bytes()[..half]).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&body.as_bytes()[half..]).await.unwrap();
    });
    let reply = rig.post("/anthropic/v1/messages", "{\"model\":\"m\"}").await;
    let dots = "*".repeat(KEY.len());
    assert_eq!(reply.body, format!("bad key: {dots}!"));
    assert_eq!(reply.headers["x-echo"], dots);
    let end = rig.book.end().await;
    assert!(!format!("{end:?} {:?}", rig.book.request()).contains(KEY));
    assert_eq!(end.body, reply.body);
}

#[tokio::test]
async fn a_request_that_two_readers_read_differently_is_refused() {
    let rig = nowhere();
    for body in [
        "{\"model\":\"a\",\"model\":\"b\"}",
        "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}",
        "{}",
        "[]",
        "not json",
        "",
        "{\"model\":7}",
    ] {
        for path in &ENDPOINTS[..3] {
            let reply = rig.post(path, body).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}: {body}");
        }
    }
    for path in [
        "/anthropic/v1/../admin",
        "/anthropic//v1/messages",
        "/anthropic/v1/%2e%2e/admin",
        "/anthropic/v1%2fmessages",
    ] {
        assert_eq!(rig.post(path, "{\"model\":\"m\"}").await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    assert_eq!(rig.post("/elsewhere/v1/x", "{}").await.status, StatusCode::NOT_FOUND);
    assert!(rig.book.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_page_in_a_browser_is_turned_away() {
    let rig = nowhere();
    let with = |name: &'static str, value: &'static str, host: &'static str| {
        Request::post("/anthropic/v1/messages")
            .header("host", host)
            .header("x-api-key", TOKEN)
            .header(name, value)
    };
    for request in [with("origin", "https://evil.example", "localhost:8"), with("x-a", "b", "evil.example:8")]
    {
        let reply = rig.whole(request.body(Full::from("{\"model\":\"m\"}")).unwrap()).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    assert!(rig.book.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_waited_for() {
    let rig = nowhere();
    let mut client = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    let head = format!(
        "POST /anthropic/v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {TOKEN}\r\ncontent-length: 67108865\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    assert!(crate::desk::read_head(&mut client).await.starts_with("HTTP/1.1 413 "));
    let slow = RelayLimits { body: Duration::from_millis(50), ..RelayLimits::default() };
    let rig = Rig::with("http://127.0.0.1:1", Some(KEY), slow);
    let mut client = tokio::net::TcpStream::connect(rig.address).await.unwrap();
    client.write_all(head.replace("67108865", "9").as_bytes()).await.unwrap();
    assert!(crate::desk::read_head(&mut client).await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_websocket_is_declined_so_that_the_client_streams_over_http() {
    let rig = nowhere();
    let request = Request::get("/openai/v1/responses").header("host", "localhost").header("x-api-key", TOKEN);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let reply = rig.whole(request.body(Full::default()).unwrap()).await;
    assert_eq!(reply.status, StatusCode::UPGRADE_REQUIRED);
    assert!(rig.book.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_secret_in_a_request_reaches_neither_the_vendor_nor_the_desk() {
    let rig = Rig::to(echoes(16_384).await);
    let (first, rest) = KEY.split_at(9);
    let hex: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let body = format!(r#"{{"model":"m","input":"{KEY} {hex} '{first}' + '{rest}'"}}"#);
    let reply = rig.post("/openai/v1/responses", &body).await;
    let label = format!("[secret KEY, {} characters]", KEY.len());
    let sent = rig.book.request().body;
    assert_eq!(sent, format!(r#"{{"model":"m","input":"{label} {label} '{label}'"}}"#));
    assert_eq!(
        (&reply.body, &rig.book.end().await.body),
        (&sent, &sent),
        "the vendor had nothing else to send back"
    );
}

#[tokio::test]
async fn a_compressed_reply_with_a_secret_in_it_is_not_kept() {
    let (vendor, address) = ByHand::new().await;
    let rig = Rig::to(address);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    Write::write_all(&mut gzip, format!("bad key: {KEY}").as_bytes()).unwrap();
    let sent = gzip.finish().unwrap();
    tokio::spawn(async move {
        let (mut stream, ..) = vendor.accept().await;
        let head =
            format!("HTTP/1.1 401 No\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", sent.len());
        stream.write_all(&[head.as_bytes(), &sent].concat()).await.unwrap();
        stream.read_u8().await
    });
    rig.post("/openai/v1/responses", r#"{"model":"m"}"#).await;
    let end = rig.book.end().await;
    assert!(
        end.body.is_empty() && end.problem.as_ref().is_some_and(|problem| problem.contains("KEY")),
        "{end:?}"
    );
}
