//! What is sent: the vendors' documented shapes, member by member.

use expect_test::{Expect, expect};

use super::*;

/// A conversation with a bit of everything, as it stands before its third turn.
fn conversation(model: &str) -> ModelRequest {
    let reasoning =
        |wire: &str, value: Value| Block::Opaque { wire: wire.to_owned(), model: String::new(), value };
    let call = |id: &str| Block::ToolUse { id: id.into(), name: "read".into(), input: json!({"path": id}) };
    let result = |id: &str, is_error| Block::ToolResult { id: id.into(), text: format!("of {id}"), is_error };
    let mut request = request(
        model,
        vec![
            user(vec![text("fix it")]),
            assistant(vec![
                reasoning("anthropic", json!({"type": "thinking", "thinking": "hm", "signature": "s"})),
                reasoning(
                    "openai-responses",
                    json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e"}),
                ),
                reasoning(
                    "openai-responses",
                    json!({"type": "reasoning", "id": "rs_2", "encrypted_content": null}),
                ),
                text(""),
                text("Reading."),
                call("t1"),
                call("t2"),
            ]),
            user(vec![text("also this"), result("t1", false), result("t2", true)]),
        ],
    );
    request.tools.truncate(1);
    request
}

/// Compares the body and the headers that were sent; the key is checked apart because nothing records it.
async fn check(model: &str, expected: Expect) {
    let server = serve(json!([{}, {"reply": [{"text": "x"}]}]));
    ask(&models(&server), &conversation(model)).await.unwrap();
    let sent = server.requests().pop().unwrap();
    let version = sent.headers.get("anthropic-version").map_or("-", String::as_str);
    let body = serde_json::to_string_pretty(&sorted(sent.body)).unwrap();
    expected.assert_eq(&format!("{} {} {version}\n{body}\n", sent.method, sent.path));
}

/// The same value with its members in alphabetical order, whichever order the build of `serde_json` keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let ordered: std::collections::BTreeMap<String, Value> =
                members.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[tokio::test]
async fn anthropic_messages() {
    check(
        "claude-sonnet-4-6",
        expect![[r#"
        POST /v1/messages 2023-06-01
        {
          "max_tokens": 1024,
          "messages": [
            {
              "content": [
                {
                  "cache_control": {
                    "type": "ephemeral"
                  },
                  "text": "fix it",
                  "type": "text"
                }
              ],
              "role": "user"
            },
            {
              "content": [
                {
                  "signature": "s",
                  "thinking": "hm",
                  "type": "thinking"
                },
                {
                  "text": "Reading.",
                  "type": "text"
                },
                {
                  "id": "t1",
                  "input": {
                    "path": "t1"
                  },
                  "name": "read",
                  "type": "tool_use"
                },
                {
                  "id": "t2",
                  "input": {
                    "path": "t2"
                  },
                  "name": "read",
                  "type": "tool_use"
                }
              ],
              "role": "assistant"
            },
            {
              "content": [
                {
                  "content": "of t1",
                  "tool_use_id": "t1",
                  "type": "tool_result"
                },
                {
                  "content": "of t2",
                  "is_error": true,
                  "tool_use_id": "t2",
                  "type": "tool_result"
                },
                {
                  "cache_control": {
                    "type": "ephemeral"
                  },
                  "text": "also this",
                  "type": "text"
                }
              ],
              "role": "user"
            }
          ],
          "model": "claude-sonnet-4-6",
          "stream": true,
          "system": [
            {
              "cache_control": {
                "type": "ephemeral"
              },
              "text": "You are terse.",
              "type": "text"
            }
          ],
          "tools": [
            {
              "cache_control": {
                "type": "ephemeral"
              },
              "description": "does read",
              "input_schema": {
                "properties": {
                  "path": {
                    "type": "string"
                  }
                },
                "type": "object"
              },
              "name": "read"
            }
          ]
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn openai_responses() {
    check(
        "gpt-5",
        expect![[r#"
        POST /v1/responses -
        {
          "include": [
            "reasoning.encrypted_content"
          ],
          "input": [
            {
              "content": [
                {
                  "text": "fix it",
                  "type": "input_text"
                }
              ],
              "role": "user",
              "type": "message"
            },
            {
              "encrypted_content": "e",
              "id": "rs_1",
              "type": "reasoning"
            },
            {
              "content": [
                {
                  "text": "Reading.",
                  "type": "output_text"
                }
              ],
              "role": "assistant",
              "type": "message"
            },
            {
              "arguments": "{\"path\":\"t1\"}",
              "call_id": "t1",
              "name": "read",
              "type": "function_call"
            },
            {
              "arguments": "{\"path\":\"t2\"}",
              "call_id": "t2",
              "name": "read",
              "type": "function_call"
            },
            {
              "call_id": "t1",
              "output": "of t1",
              "type": "function_call_output"
            },
            {
              "call_id": "t2",
              "output": "of t2",
              "type": "function_call_output"
            },
            {
              "content": [
                {
                  "text": "also this",
                  "type": "input_text"
                }
              ],
              "role": "user",
              "type": "message"
            }
          ],
          "instructions": "You are terse.",
          "max_output_tokens": 1024,
          "model": "gpt-5",
          "store": false,
          "stream": true,
          "tools": [
            {
              "description": "does read",
              "name": "read",
              "parameters": {
                "properties": {
                  "path": {
                    "type": "string"
                  }
                },
                "type": "object"
              },
              "strict": false,
              "type": "function"
            }
          ]
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn openai_chat_completions() {
    check(
        "openai-chat/gpt-5",
        expect![[r#"
        POST /v1/chat/completions -
        {
          "max_completion_tokens": 1024,
          "messages": [
            {
              "content": "You are terse.",
              "role": "system"
            },
            {
              "content": "fix it",
              "role": "user"
            },
            {
              "content": "Reading.",
              "role": "assistant",
              "tool_calls": [
                {
                  "function": {
                    "arguments": "{\"path\":\"t1\"}",
                    "name": "read"
                  },
                  "id": "t1",
                  "type": "function"
                },
                {
                  "function": {
                    "arguments": "{\"path\":\"t2\"}",
                    "name": "read"
                  },
                  "id": "t2",
                  "type": "function"
                }
              ]
            },
            {
              "content": "of t1",
              "role": "tool",
              "tool_call_id": "t1"
            },
            {
              "content": "of t2",
              "role": "tool",
              "tool_call_id": "t2"
            },
            {
              "content": "also this",
              "role": "user"
            }
          ],
          "model": "gpt-5",
          "stream": true,
          "stream_options": {
            "include_usage": true
          },
          "tools": [
            {
              "function": {
                "description": "does read",
                "name": "read",
                "parameters": {
                  "properties": {
                    "path": {
                      "type": "string"
                    }
                  },
                  "type": "object"
                }
              },
              "type": "function"
            }
          ]
        }
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_local_server_gets_the_older_name_of_the_limit_and_models_without_reasoning_are_not_asked_for_it() {
    let server = serve(json!([{"reply": [{"text": "x"}]}]));
    let models = models(&server);
    ask(&models, &hello("ollama/qwen3")).await.unwrap();
    let sent = server.requests().pop().unwrap().body;
    assert_eq!((&sent["max_tokens"], &sent["max_completion_tokens"]), (&json!(1024), &Value::Null));
    for (model, asked) in
        [("gpt-4.1", false), ("gpt-5.2-codex", true), ("gpt-5-chat-latest", false), ("o4-mini", true)]
    {
        ask(&models, &hello(model)).await.unwrap();
        assert_eq!(server.requests().pop().unwrap().body.get("include").is_some(), asked, "{model}");
    }
}

#[tokio::test]
async fn the_key_is_in_the_header_that_the_vendor_reads() {
    for (model, header) in
        [(WIRES[0], format!("x-api-key: {KEY}")), (WIRES[1], format!("authorization: Bearer {KEY}"))]
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = vec![0; 4096];
            let length = std::io::Read::read(&mut stream, &mut head).unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        ask(&Models::new(config(&url)).unwrap(), &hello(model)).await.unwrap_err();
        let head = seen.join().unwrap();
        assert!(head.contains(&header), "{head}");
    }
}
