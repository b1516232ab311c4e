//! What an agent gets from a vendor through the relay: the vendor's bytes, as they come.

use std::io::Write;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use ostk_proxy::{TokenCounts, Vendor, Wire};
use proptest::prelude::*;
use scripted_model::{Handle, Script, ScriptedModel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::desk::eventually;
use crate::vendor::{ByHand, KEY, Rig, TOKEN, connect, echoes, post};

const MESSAGE: &str =
    r#"{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stream":true}"#;

#[tokio::test]
async fn the_vendor_gets_the_request_as_it_was_but_with_the_real_key() {
    let (vendor, address) = ByHand::new().await;
    let rig = Rig::to(address);
    // Odd blanks and escapes: nothing is parsed and written anew.
    let body = "{ \"model\":\"claude-x\" ,\n\t\"a\":\"\\u00fc ü\",\"n\":1.0e0}";
    let request = post("/anthropic/v1/messages?beta=true&x=%20y")
        .header("Anthropic-Version", "2023-06-01")
        .header("Anthropic-Beta", "one")
        .header("Anthropic-Beta", "two")
        .header("Accept-Encoding", "gzip, br")
        .header("X-Stainless-Lang", "js")
        .header("X-Ostk-Session", "mine")
        .header("x-api-key", "")
        .header("connection", "x-hop, keep-alive")
        .header("x-hop", "1")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let playing = tokio::spawn(async move {
        let (mut stream, head, body) = vendor.accept().await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nRequest-Id: r\r\n\r\n{}").await.unwrap();
        (head, body)
    });
    let reply = rig.whole(request).await;
    let (head, sent) = playing.await.unwrap();
    assert_eq!(sent, body.as_bytes());
    let mut lines: Vec<String> = head.trim_end().split("\r\n").skip(1).map(str::to_ascii_lowercase).collect();
    lines.sort();
    let mut expected = vec![
        // A reply that is compressed could not be masked.
        "accept-encoding: identity".to_owned(),
        "anthropic-beta: one".into(),
        "anthropic-beta: two".into(),
        "anthropic-version: 2023-06-01".into(),
        format!("content-length: {}", body.len()),
        "content-type: application/json".into(),
        format!("host: {address}"),
        format!("x-api-key: {KEY}"),
        "x-stainless-lang: js".into(),
    ];
    expected.sort();
    assert_eq!(lines, expected);
    assert!(head.starts_with("POST /v1/messages?beta=true&x=%20y HTTP/1.1\r\n"), "{head}");
    assert_eq!((reply.status, &*reply.body), (StatusCode::OK, &b"{}"[..]));
    assert_eq!(reply.headers["request-id"], "r");
    assert_eq!(reply.headers.len(), 2, "{:?}", reply.headers);
    let asked = rig.book.request();
    assert_eq!(
        (asked.vendor, asked.wire, asked.model.as_deref()),
        (Vendor::Anthropic, Wire::Messages, Some("claude-x"))
    );
    assert_eq!((asked.path.as_str(), &*asked.body), ("/v1/messages?beta=true&x=%20y", body.as_bytes()));
}

#[tokio::test]
async fn each_vendor_gets_its_key_where_it_wants_it() {
    for (path, credential, line) in [
        (
            "/openai/v1/chat/completions",
            ("authorization", format!("Bearer {TOKEN}")),
            format!("authorization: Bearer {KEY}"),
        ),
        (
            "/openai/v1/responses",
            ("authorization", format!("Bearer {TOKEN}")),
            format!("authorization: Bearer {KEY}"),
        ),
        (
            "/gemini/v1beta/models/m:generateContent",
            ("x-goog-api-key", TOKEN.into()),
            format!("x-goog-api-key: {KEY}"),
        ),
        (
            &format!("/gemini/v1beta/models/m:streamGenerateContent?alt=sse&key={TOKEN}"),
            ("x-a", "b".into()),
            format!("x-goog-api-key: {KEY}"),
        ),
        ("/v1/messages", ("x-api-key", TOKEN.into()), format!("x-api-key: {KEY}")),
    ] {
        let (vendor, address) = ByHand::new().await;
        let rig = Rig::to(address);
        let request = Request::post(path).header("host", "localhost").header(credential.0, credential.1);
        let playing = tokio::spawn(async move {
            let (mut stream, head, _) = vendor.accept().await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            head
        });
        let reply = rig.whole(request.body(Full::from("{\"model\":\"m\"}")).unwrap()).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        let head = playing.await.unwrap();
        assert!(head.contains(&format!("{line}\r\n")) && !head.contains(TOKEN), "{path}: {head}");
        assert_eq!(rig.book.request().model.as_deref(), Some("m"));
        assert!(!format!("{:?}", rig.book.request()).contains(TOKEN));
    }
}

#[tokio::test]
async fn an_event_reaches_the_agent_before_the_next_one_is_there() {
    let (vendor, address) = ByHand::new().await;
    let rig = Rig::to(address);
    let request = post("/anthropic/v1/messages").body(Full::from(MESSAGE)).unwrap();
    let (go, gone_on) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, ..) = vendor.accept().await;
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        stream.write_all(b"9\r\ndata: 1\n\n\r\n").await.unwrap();
        gone_on.await.unwrap();
        stream.write_all(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n").await.unwrap();
    });
    let mut body = rig.send(request).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    go.send(()).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 2\n\n");
    assert!(body.frame().await.is_none());
    let end = rig.book.end().await;
    assert!(end.complete && end.problem.is_none());
    assert_eq!((&*end.body, end.size_bytes), (&b"data: 1\n\ndata: 2\n\n"[..], 18));
    assert_eq!(end.content_type.as_deref(), Some("text/event-stream"));
}

#[tokio::test]
async fn every_wire_of_the_scripted_vendor_gives_the_same_bytes_as_without_the_relay() {
    let script = r#"{"conversations": [{"name": "all", "turns": [
        {"reply": [{"text": "Grüße"}, {"tool": {"name": "t", "input": {"a": 1}}}],
         "usage": {"input": 900, "output": 7, "cache_read": 800}, "split_at": 7}]}]}"#;
    for (path, body) in [
        ("/v1/messages", MESSAGE.to_owned()),
        ("/v1/messages", MESSAGE.replace("true", "false")),
        (
            "/v1/chat/completions",
            MESSAGE.replace("\"stream\"", "\"stream_options\":{\"include_usage\":true},\"stream\""),
        ),
        ("/v1/responses", r#"{"model":"gpt-x","input":"hi","stream":true}"#.to_owned()),
    ] {
        let direct = ScriptedModel::start(Script::parse(script).unwrap()).unwrap();
        let through = ScriptedModel::start(Script::parse(script).unwrap()).unwrap();
        let address = |server: &Handle| server.base_url().trim_start_matches("http://").parse().unwrap();
        let rig = Rig::to(address(&through));
        let request = post(path).body(Full::from(body.clone())).unwrap();
        let expected = connect(address(&direct)).await.send_request(request).await.unwrap();
        let expected = expected.into_body().collect().await.unwrap().to_bytes();
        let reply = rig.post(path, &body).await;
        assert_eq!(reply.body, expected, "{path}");
        assert_eq!(through.unmet(), Vec::<String>::new());
        let end = rig.book.end().await;
        let tokens = TokenCounts {
            input: Some(900),
            output: Some(7),
            cache_read: Some(800),
            cache_write: end.tokens.cache_write,
        };
        assert_eq!((end.body, end.tokens), (expected, tokens), "{path}");
    }
}

#[tokio::test]
async fn a_reply_that_the_vendor_compresses_unasked_stays_compressed_and_its_tokens_are_counted() {
    let (vendor, address) = ByHand::new().await;
    let rig = Rig::to(address);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(br#"{"usage":{"input_tokens":7,"output_tokens":3}}"#).unwrap();
    let bytes = gzip.finish().unwrap();
    let sent = bytes.clone();
    tokio::spawn(async move {
        let (mut stream, ..) = vendor.accept().await;
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", sent.len());
        stream.write_all(&[head.as_bytes(), &sent].concat()).await.unwrap();
        stream.read_u8().await
    });
    let reply = rig.post("/anthropic/v1/messages", MESSAGE).await;
    assert_eq!((&*reply.body, &reply.headers["content-encoding"]), (&bytes[..], &"gzip".parse().unwrap()));
    let end = rig.book.end().await;
    assert_eq!((end.tokens.input, end.tokens.output, end.complete), (Some(7), Some(3), true));
    assert_eq!(end.body, bytes);
}

#[tokio::test]
async fn the_vendors_own_errors_pass_unchanged() {
    for (status, body) in [(429, "{\"type\":\"error\"}"), (529, "overloaded"), (500, ""), (307, "elsewhere")]
    {
        let (vendor, address) = ByHand::new().await;
        let rig = Rig::to(address);
        tokio::spawn(async move {
            let (mut stream, ..) = vendor.accept().await;
            let head =
                format!("HTTP/1.1 {status} Own Words\r\nretry-after: 7\r\nlocation: http://127.0.0.1:1/\r\n");
            let all = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(all.as_bytes()).await.unwrap();
        });
        let reply = rig.post("/anthropic/v1/messages", MESSAGE).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (status, body.as_bytes()));
        assert_eq!(reply.headers["retry-after"], "7");
        let end = rig.book.end().await;
        assert_eq!((end.status, end.complete), (Some(status), true));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_breaks_off_for_the_agent_too() {
    let (vendor, address) = ByHand::new().await;
    let rig = Rig::to(address);
    tokio::spawn(async move {
        let (mut stream, ..) = vendor.accept().await;
        let all = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\nda";
        stream.write_all(all).await.unwrap();
    });
    let request = post("/anthropic/v1/messages").body(Full::from(MESSAGE)).unwrap();
    assert!(rig.send(request).await.into_body().collect().await.is_err());
    let end = rig.book.end().await;
    assert!(!end.complete && end.problem.is_some(), "{end:?}");
    assert!(end.body.starts_with(b"data: 1\n\n"), "{end:?}");
}

#[tokio::test]
async fn an_agent_that_leaves_ends_the_request_to_the_vendor() {
    let replies: [&[u8]; 2] = [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"];
    for reply in replies {
        let (vendor, address) = ByHand::new().await;
        let rig = Rig::to(address);
        let mut client = tokio::net::TcpStream::connect(rig.address).await.unwrap();
        let request = format!(
            "POST /anthropic/v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\n{MESSAGE}",
            MESSAGE.len()
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut stream, ..) = vendor.accept().await;
        stream.write_all(reply).await.unwrap();
        if !reply.is_empty() {
            client.read_u8().await.unwrap();
        }
        drop(client);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        let end = rig.book.end().await;
        assert!(!end.complete && end.problem.is_some(), "{end:?}");
    }
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let address = echoes(5).await;
    let rig = Rig::to(address);
    let mut sender = connect(rig.address).await;
    for n in 0..3 {
        let body = format!("{{\"model\":\"m{n}\"}}");
        sender.ready().await.unwrap();
        let reply =
            sender.send_request(post("/openai/v1/responses").body(Full::from(body.clone())).unwrap()).await;
        assert_eq!(reply.unwrap().into_body().collect().await.unwrap().to_bytes(), body);
    }
    eventually(|| (rig.book.ended.lock().unwrap().len() == 3).then_some(())).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Both ways at once: the vendor sends back what it got.
    #[test]
    fn any_bytes_pass_unchanged_both_ways(
        body in proptest::collection::vec(any::<u8>(), 0..40_000),
        piece in prop_oneof![Just(1usize), 2usize..100, Just(16_384)],
    ) {
        // One byte at a time is for small bodies.
        let body = if piece == 1 { body[..body.len().min(500)].to_vec() } else { body };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::to(echoes(piece).await);
            let request = post("/openai/v1/files").body(Full::from(body.clone())).unwrap();
            let reply = rig.whole(request).await;
            prop_assert_eq!(&*reply.body, &*body);
            prop_assert_eq!(&*rig.book.end().await.body, &*body);
            prop_assert_eq!(&*rig.book.request().body, &*body);
            Ok(())
        })?;
    }
}
