//! Replies: the same conversation gives the same reply on every wire, however the bytes are split.

use ostk_agent::model::{StopReason, Usage};

use super::*;

/// What was said, without identifiers and opaque blocks.
fn gist(reply: &ModelReply) -> Vec<String> {
    let one = |block: &Block| match block {
        Block::Text { text } => Some(text.clone()),
        Block::ToolUse { name, input, .. } => Some(format!("{name}{input}")),
        Block::ToolResult { .. } | Block::Opaque { .. } => None,
    };
    reply.content.iter().filter_map(one).collect()
}

fn prose_of(deltas: &[Delta]) -> String {
    let text = |delta: &Delta| if let Delta::Text(text) = delta { Some(text.clone()) } else { None };
    deltas.iter().filter_map(text).collect()
}

#[tokio::test]
async fn a_text_arrives_whole_and_in_parts_on_every_wire() {
    let said = "Grüße – a text longer than one piece, with \"quotes\" and\nlines.";
    let server =
        serve(json!([{"reply": [{"text": said}], "usage": {"input": 7, "output": 5, "cache_read": 30}}]));
    for model in WIRES {
        let (reply, deltas) = listen(&models(&server), &hello(model)).await;
        let reply = reply.unwrap();
        assert_eq!(gist(&reply), [said], "{model}");
        assert_eq!(prose_of(&deltas), said, "{model}");
        assert!(deltas.len() > 2, "{model} streams");
        assert_eq!(reply.stop, StopReason::EndTurn);
        assert_eq!(reply.usage, Usage { input: 7, output: 5, cache_read: 30, cache_write: 0 }, "{model}");
        assert!(reply.message_id.ends_with("c_0"), "{}", reply.message_id);
        assert!(model.ends_with(&reply.model), "{}", reply.model);
    }
    assert!(server.unmet().is_empty(), "{:?}", server.unmet());
}

#[tokio::test]
async fn anthropic_tells_what_was_written_to_the_cache() {
    let usage = json!({"input": 1, "output": 2, "cache_read": 3, "cache_write": 4});
    let server = serve(json!([{"reply": [{"text": "x"}], "usage": usage}]));
    let reply = ask(&models(&server), &hello(WIRES[0])).await.unwrap();
    assert_eq!(reply.usage, Usage { input: 1, output: 2, cache_read: 3, cache_write: 4 });
}

#[tokio::test]
async fn several_tools_of_one_turn_are_answered_in_the_next_on_every_wire() {
    let server = serve(json!([
        {"expect": {"tools_include": ["read", "edit"], "system_contains": "terse", "last_user_contains": "hello"},
         "reply": [{"text": "Reading."}, {"tool": {"name": "read", "input": {"path": "a \"b\""}}},
                   {"tool": {"name": "read", "input": {"deep": [1, {"x": null}], "path": "ä"}}},
                   {"tool": {"name": "edit"}}]},
        {"expect": {"tool_results": 3, "tool_result_contains": "gen=7"},
         "reply": [{"tool": {"name": "edit", "input": {"base": {"$from_last_result": "gen=(\\d+)"}}}}]}
    ]));
    for model in WIRES {
        let models = models(&server);
        let mut conversation = hello(model);
        let reply = ask(&models, &conversation).await.unwrap();
        assert_eq!(reply.stop, StopReason::ToolUse);
        let expected = [
            "Reading.",
            "read{\"path\":\"a \\\"b\\\"\"}",
            "read{\"deep\":[1,{\"x\":null}],\"path\":\"ä\"}",
            "edit{}",
        ];
        assert_eq!(gist(&reply), expected, "{model}");

        let ids: Vec<String> = reply.content.iter().filter_map(id_of).collect();
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "identifiers differ");
        let result =
            |id: &String| Block::ToolResult { id: id.clone(), text: "gen=7".into(), is_error: false };
        conversation.messages.push(assistant(reply.content));
        conversation.messages.push(user(ids.iter().map(result).collect()));
        let reply = ask(&models, &conversation).await.unwrap();
        assert_eq!(gist(&reply), ["edit{\"base\":\"7\"}"], "{model}");
    }
    assert!(server.unmet().is_empty(), "{:?}", server.unmet());
}

fn id_of(block: &Block) -> Option<String> {
    if let Block::ToolUse { id, .. } = block { Some(id.clone()) } else { None }
}

#[tokio::test]
async fn a_stream_split_at_every_byte_or_anywhere_is_the_same_reply() {
    let reply = json!([{"thinking": "hm – ja"}, {"text": "Grüße, 世界"}, {"tool": {"name": "read", "input": {"ü": "ß"}}}]);
    for model in WIRES {
        let mut seen = Vec::new();
        for split in [json!(null), json!("every-byte"), json!(7), json!(4096)] {
            let server = serve(json!([{"reply": reply, "split_at": split}]));
            let (reply, deltas) = listen(&models(&server), &hello(model)).await;
            seen.push((reply.unwrap(), deltas));
        }
        for other in &seen[1..] {
            assert_eq!(other, &seen[0], "{model}");
        }
    }
}

#[tokio::test]
async fn reasoning_goes_back_unchanged_to_the_model_it_came_from_and_to_no_other() {
    let server = serve(json!([
        {"reply": [{"thinking": "first look"}, {"tool": {"name": "read", "input": {}}}]},
        {"reply": [{"text": "done"}]}
    ]));
    let models = models(&server);
    for (model, others) in [(WIRES[0], [WIRES[1], "claude-haiku-4-5"]), (WIRES[1], [WIRES[0], "gpt-5-mini"])]
    {
        let (reply, deltas) = listen(&models, &hello(model)).await;
        let reply = reply.unwrap();
        let Block::Opaque { wire, value, .. } = &reply.content[0] else { panic!("{:?}", reply.content) };
        assert_eq!(wire, if model == WIRES[0] { "anthropic" } else { "openai-responses" });
        if model == WIRES[0] {
            assert!(deltas.contains(&Delta::Thinking("first look".into())), "{deltas:?}");
            assert!(value["signature"].is_string(), "{value}");
        }
        let result =
            Block::ToolResult { id: id_of(&reply.content[1]).unwrap(), text: "x".into(), is_error: false };
        let messages = vec![user(vec![text("hello")]), assistant(reply.content.clone()), user(vec![result])];
        ask(&models, &request(model, messages.clone())).await.unwrap();
        let sent = server.requests().last().unwrap().body.to_string();
        assert!(sent.contains(&value.to_string()), "{sent}");
        for other in others {
            ask(&models, &request(other, messages.clone())).await.unwrap();
            let sent = server.requests().last().unwrap().body.to_string();
            assert!(!sent.contains(&value.to_string()) && !sent.contains("first look"), "{other}: {sent}");
        }
    }
}

#[tokio::test]
async fn the_reasons_to_stop_are_told_apart_on_every_wire() {
    for (stop, expected) in [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("refusal", StopReason::Refusal),
    ] {
        let server = serve(json!([{"reply": [{"text": "x"}], "stop": stop}]));
        for model in WIRES {
            assert_eq!(ask(&models(&server), &hello(model)).await.unwrap().stop, expected, "{model} {stop}");
        }
    }
}
