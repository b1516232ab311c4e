//! Failures: which may pass, which will not, and what an error says.

use std::io::{Read, Write};
use std::net::TcpListener;

use ostk_models::Phase;

use super::*;

/// A server that answers each connection with the same bytes, for what a script cannot say. Returns its base URL.
fn answer_always(response: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 65_536];
            // The requests here fit one read; a client that goes away early is the client's business.
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&response);
        }
    });
    url
}

fn response(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

async fn error_of(response: Vec<u8>, model: &str) -> ModelError {
    ask(&Models::new(config(&answer_always(response))).unwrap(), &hello(model)).await.unwrap_err()
}

#[tokio::test]
async fn a_failure_that_may_pass_is_told_at_once_with_the_wait_that_the_vendor_asks_for() {
    for status in [408, 429, 500, 502, 503, 504, 529] {
        let failure = json!({"status": status, "times": 1, "retry_after_ms": 3_600_000});
        let server = serve(json!([{"reply": [{"text": "at last"}], "fail": failure}]));
        let error = ask(&models(&server), &hello(WIRES[0])).await.unwrap_err();
        assert!(error.is_transient(), "{status}: {error:?}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3_600)), "{status}");
        assert_eq!(server.requests().len(), 1, "{status}");
        let reply = ask(&models(&server), &hello(WIRES[0])).await.unwrap();
        assert_eq!(reply.content, [text("at last")], "{status}");
    }
}

#[tokio::test]
async fn a_request_that_is_wrong_will_not_pass() {
    for model in WIRES {
        for (status, is_expected) in [
            (400, (|e| matches!(e, ModelError::BadRequest { status: 400, .. })) as fn(&ModelError) -> bool),
            (401, |e| matches!(e, ModelError::Unauthorized { .. })),
            (403, |e| matches!(e, ModelError::Refused { .. })),
            (404, |e| matches!(e, ModelError::BadRequest { status: 404, .. })),
        ] {
            let server = serve(json!([{"fail": {"status": status, "times": 9}}]));
            let error = ask(&models(&server), &hello(model)).await.unwrap_err();
            assert!(is_expected(&error) && !error.is_transient(), "{status}: {error:?}");
            assert!(error.to_string().contains("failed as the script says"), "{error}");
            assert_eq!(server.requests().len(), 1, "{status}");
        }
    }
}

#[tokio::test]
async fn a_cut_stream_is_a_failure_that_may_pass() {
    for model in WIRES {
        let said = "long enough to be cut in the middle, ".repeat(30);
        let server = serve(json!([{"reply": [{"text": said}], "cut_after_bytes": 2000}]));
        let (error, deltas) = listen(&models(&server), &hello(model)).await;
        assert!(error.unwrap_err().is_transient(), "{model}");
        assert!(!deltas.is_empty(), "{model}: something had arrived before");
        let reply = ask(&models(&server), &hello(model)).await.unwrap();
        assert_eq!(reply.content, [text(&said)], "{model}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_politely_before_its_end_is_broken_too() {
    let begin = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"id\":\"m\"}}\n\n";
    let error = error_of(response("200 OK", "text/event-stream", begin), WIRES[0]).await;
    assert!(matches!(error, ModelError::Stream { .. }), "{error:?}");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let server = serve(json!([{"reply": [{"text": "x"}], "stall_ms": 60_000, "stall_times": 1}]));
    let mut config = config(&server.base_url());
    config.timeouts.idle = Duration::from_millis(50);
    let models = Models::new(config).unwrap();
    let error = ask(&models, &hello(WIRES[0])).await.unwrap_err();
    assert_eq!(error, ModelError::Timeout { phase: Phase::Idle });
    assert!(error.is_transient());
    assert_eq!(ask(&models, &hello(WIRES[0])).await.unwrap().content, [text("x")]);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_a_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(&format!("http://{}", silent.local_addr().unwrap()));
    config.timeouts.first_byte = Duration::from_millis(50);
    let error = ask(&Models::new(config).unwrap(), &hello(WIRES[1])).await.unwrap_err();
    assert_eq!(error, ModelError::Timeout { phase: Phase::FirstByte });
}

#[tokio::test]
async fn the_deadline_ends_a_call_whatever_it_waits_for() {
    let server = serve(json!([{"reply": [{"text": "x"}], "stall_ms": 60_000}]));
    let deadline = Instant::now() + Duration::from_millis(50);
    let error = models(&server).call(&hello(WIRES[0]), deadline, |_| {}).await.unwrap_err();
    assert_eq!(error, ModelError::Timeout { phase: Phase::Deadline });
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_named_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let models = Models::new(config(&format!("http://{closed}"))).unwrap();
    let error = ask(&models, &hello(WIRES[0])).await.unwrap_err();
    assert!(matches!(&error, ModelError::Connect { message } if message.contains("refused")), "{error:?}");
}

/// What a proxy that refuses everything was asked when a call went to `https://api.invalid`.
async fn asked_of_a_proxy(no_proxy: Option<&str>) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = vec![0; 4096];
        let length = stream.read(&mut head).unwrap();
        tell.send(String::from_utf8_lossy(&head[..length]).into_owned()).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
    });
    let mut config = config("https://api.invalid");
    config.https_proxy = Some(format!("http://user:pass@{address}"));
    config.no_proxy = no_proxy.map(str::to_owned);
    let error = ask(&Models::new(config).unwrap(), &hello(WIRES[0])).await.unwrap_err();
    assert!(matches!(error, ModelError::Connect { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("pass"), "{error:?}");
    told.try_recv().ok()
}

#[tokio::test]
async fn https_to_another_machine_goes_through_the_proxy_unless_it_is_exempt() {
    let asked = asked_of_a_proxy(None).await.unwrap();
    assert!(asked.starts_with("CONNECT api.invalid:443 "), "{asked}");
    assert!(asked.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"), "{asked}");
    assert!(!asked.contains(KEY), "the key is for the other end of the tunnel: {asked}");
    assert_eq!(asked_of_a_proxy(Some("api.invalid")).await, None);
}

#[tokio::test]
async fn a_missing_key_is_named_with_the_way_to_provide_it() {
    let mut config = config("https://api.invalid");
    config.anthropic.key = None;
    let error = ask(&Models::new(config).unwrap(), &hello(WIRES[0])).await.unwrap_err();
    assert!(matches!(error, ModelError::MissingKey { env: "ANTHROPIC_API_KEY", .. }), "{error:?}");
    assert!(error.to_string().contains("export ANTHROPIC_API_KEY=…"), "{error}");
}

#[tokio::test]
async fn a_server_on_this_machine_needs_no_key() {
    let server = serve(json!([{"reply": [{"text": "x"}]}]));
    let mut config = config(&server.base_url());
    config.anthropic.key = None;
    ask(&Models::new(config).unwrap(), &hello(WIRES[0])).await.unwrap();
}

#[tokio::test]
async fn a_key_that_a_server_repeats_is_in_no_error() {
    let body = format!("{{\"error\": {{\"message\": \"no such key: {KEY}\", \"type\": \"x\"}}}}");
    for status in ["400 Bad", "401 No", "402 Pay", "403 No", "429 Slow", "500 Oh", "503 Busy"] {
        for model in &WIRES[..3] {
            let config = config(&answer_always(response(status, "application/json", &body)));
            let error = ask(&Models::new(config.clone()).unwrap(), &hello(model)).await.unwrap_err();
            assert!(error.to_string().contains("no such key: [key]"), "{error}");
            assert!(!format!("{error:?}{config:?}").contains(KEY), "{error:?}");
        }
    }
    let event = format!(
        "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"x\",\"message\":\"{KEY}\"}}}}\n\n"
    );
    let error = error_of(response("200 OK", "text/event-stream", &event), WIRES[0]).await;
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    let torn = error_of(response("200 OK", "text/event-stream", &format!("data: {KEY}\n\n")), WIRES[0]).await;
    assert!(!format!("{torn:?}").contains(KEY), "{torn:?}");
}

#[tokio::test]
async fn a_reply_that_is_no_json_is_malformed_and_not_repeated() {
    for model in WIRES {
        for (kind, body) in [
            ("application/json", "{\"half\":"),
            ("application/json", "[]"),
            ("text/event-stream", "data: {\"half\":\n\n"),
        ] {
            let error = error_of(response("200 OK", kind, body), model).await;
            assert!(matches!(error, ModelError::Malformed { .. }), "{model} {kind}: {error:?}");
            assert!(!error.is_transient());
        }
    }
}

#[tokio::test]
async fn an_event_or_a_reply_too_large_is_refused() {
    let event = format!("data: \"{}\"\n\n", "x".repeat(9 << 20));
    let error = error_of(response("200 OK", "text/event-stream", &event), WIRES[0]).await;
    assert!(matches!(error, ModelError::TooLarge { limit_bytes: 8_388_608, .. }), "{error:?}");
    let reply = " ".repeat(65 << 20);
    let error = error_of(response("200 OK", "application/json", &reply), WIRES[1]).await;
    assert!(matches!(error, ModelError::TooLarge { what: "the reply", .. }), "{error:?}");
}

#[tokio::test]
async fn an_error_inside_a_stream_is_what_it_would_be_outside() {
    let of = |name: &str, data: &str| {
        response("200 OK", "text/event-stream", &format!("event: {name}\ndata: {data}\n\n"))
    };
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let error = error_of(of("error", overloaded), WIRES[0]).await;
    assert!(matches!(&error, ModelError::Overloaded { message, .. } if message == "Overloaded"), "{error:?}");
    let failed =
        r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"slow"}}}"#;
    let error = error_of(of("response.failed", failed), WIRES[1]).await;
    assert!(matches!(&error, ModelError::RateLimited { message, .. } if message == "slow"), "{error:?}");
    let error = error_of(of("", r#"{"error":{"message":"gone","code":502}}"#), WIRES[2]).await;
    assert!(matches!(&error, ModelError::Server { message, .. } if message == "gone"), "{error:?}");
}

#[tokio::test]
async fn a_conversation_too_long_and_an_empty_account_have_names_of_their_own() {
    let too_long =
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#;
    let error = error_of(response("400 Bad", "application/json", too_long), WIRES[0]).await;
    assert!(matches!(error, ModelError::ContextOverflow { .. }), "{error:?}");
    let too_long = r#"{"error":{"message":"Your input exceeds","code":"context_length_exceeded"}}"#;
    let error = error_of(response("400 Bad", "application/json", too_long), WIRES[1]).await;
    assert!(matches!(error, ModelError::ContextOverflow { .. }), "{error:?}");
    let no_money =
        r#"{"error":{"message":"check your plan","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    let error = error_of(response("429 Slow", "application/json", no_money), WIRES[1]).await;
    assert!(matches!(error, ModelError::QuotaExhausted { .. }), "{error:?}");
}

#[tokio::test]
async fn a_tool_call_torn_by_the_token_limit_is_dropped_and_a_garbled_one_is_kept_as_text() {
    let of = |finish: &str| {
        let body = json!({"id": "x", "model": "m", "choices": [{"finish_reason": finish, "message": {"content": "hm",
            "tool_calls": [{"id": "1", "function": {"name": "read", "arguments": "{\"path\": \"a"}}]}}]});
        answer_always(response("200 OK", "application/json", &body.to_string()))
    };
    let reply = ask(&Models::new(config(&of("length"))).unwrap(), &hello(WIRES[2])).await.unwrap();
    assert_eq!(reply.content, [text("hm")]);
    let reply = ask(&Models::new(config(&of("tool_calls"))).unwrap(), &hello(WIRES[2])).await.unwrap();
    let Block::ToolUse { input, .. } = &reply.content[1] else { panic!("{reply:?}") };
    assert_eq!(input, &json!("{\"path\": \"a"));
}

#[tokio::test]
async fn a_local_server_may_put_several_calls_under_one_index_and_leave_out_the_end() {
    let call = |id: &str, path: &str| {
        let call = json!({"index": 0, "id": id, "function": {"name": "read", "arguments": format!("{{\"path\":\"{path}\"}}")}});
        json!({"id": "x", "choices": [{"delta": {"tool_calls": [call]}, "finish_reason": null}]})
    };
    let end = json!({"choices": [{"delta": {}, "finish_reason": "stop"}]});
    let stream = format!("data: {}\n\ndata: {}\n\ndata: {end}\n\n", call("a", "1"), call("b", "2"));
    let url = answer_always(response("200 OK", "text/event-stream", &stream));
    let reply = ask(&Models::new(config(&url)).unwrap(), &hello(WIRES[3])).await.unwrap();
    assert_eq!(reply.stop, ostk_agent::model::StopReason::ToolUse);
    let call = |id: &str, path: &str| Block::ToolUse {
        id: id.into(),
        name: "read".into(),
        input: json!({"path": path}),
    };
    assert_eq!(reply.content, [call("a", "1"), call("b", "2")]);
}

#[tokio::test]
async fn replies_that_are_not_streamed_are_understood() {
    let anthropic = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}});
    let responses = json!({"id": "resp_1", "object": "response", "status": "completed", "error": null, "model": "gpt-5",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}], "usage": {"input_tokens": 1, "output_tokens": 2}});
    let chat = json!({"id": "chatcmpl-1", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    for (model, body) in
        [(WIRES[0], &anthropic), (WIRES[1], &responses), (WIRES[2], &chat), (WIRES[3], &chat)]
    {
        let url = answer_always(response("200 OK", "application/json; charset=utf-8", &body.to_string()));
        let reply = ask(&Models::new(config(&url)).unwrap(), &hello(model)).await.unwrap();
        assert_eq!(reply.content, [text("hi")], "{model}");
        assert_eq!((reply.usage.input, reply.usage.output), (1, 2), "{model}");
    }
}
