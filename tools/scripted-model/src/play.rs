//! Which turn answers a request, and whether the request is what the script expects.
//!
//! Pure: a request in wire-neutral form and the script go in, a [`Reply`] or a complaint comes out. What was served
//! how often is counted by `ledger.rs`; the wires translate at both ends.

use regex::Regex;
use serde_json::Value;

use crate::script::{Conversation, Expect, Match, ReplyBlock, Script, Stop, Tokens, Turn, substitution};

/// Characters per token in the estimated usage: the usual rule of thumb for English prose.
const CHARACTERS_PER_TOKEN: usize = 4;

/// What a request says, whatever wire it came on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) system: String,
    /// Runs of assistant messages; one run is one turn, even if a client splits it.
    pub(crate) assistant_turns: usize,
    /// Whether the message noted last was the assistant's.
    pub(crate) assistant_speaking: bool,
    pub(crate) first_user: String,
    /// What the user said after the last assistant turn.
    pub(crate) last_user: String,
    /// The tool results after the last assistant turn, with their error mark.
    pub(crate) last_results: Vec<(String, bool)>,
    pub(crate) tools: Vec<String>,
    pub(crate) stream: bool,
    /// Size of the request, for the estimated usage.
    pub(crate) size_bytes: usize,
}

impl Asked {
    /// Notes that the assistant speaks: a new turn, unless it was speaking already.
    pub(crate) fn assistant_speaks(&mut self) {
        if !self.assistant_speaking {
            self.assistant_turns += 1;
        }
        self.assistant_speaking = true;
    }

    /// Notes what the user, or the kernel for its tools, says.
    pub(crate) fn user_says(&mut self, text: &str, results: Vec<(String, bool)>) {
        if self.assistant_speaking {
            self.last_user.clear();
            self.last_results.clear();
            self.assistant_speaking = false;
        }
        if self.assistant_turns == 0 {
            push_line(&mut self.first_user, text);
        }
        push_line(&mut self.last_user, text);
        self.last_results.extend(results);
    }
}

/// Adds `line` to `text`, on a line of its own.
pub(crate) fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() && !line.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}

/// A reply ready to be rendered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    /// Unique per conversation and turn, and the same when the turn is served again.
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) blocks: Vec<Said>,
    pub(crate) stop: Stop,
    pub(crate) usage: Tokens,
}

/// One piece of a [`Reply`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Text(String),
    Thinking(String),
    Tool { id: String, name: String, input: Value },
}

/// A turn of the script that answers a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) conversation: &'a Conversation,
    pub(crate) index: usize,
}

/// The conversation that claims the request and the index of the turn it asks for.
pub(crate) fn choose<'a>(script: &'a Script, asked: &Asked) -> Option<Choice<'a>> {
    let conversation = script.conversations.iter().find(|c| claims(&c.matches, asked))?;
    Some(Choice { conversation, index: asked.assistant_turns })
}

fn claims(m: &Match, asked: &Asked) -> bool {
    let of_model = m.model.as_ref().is_none_or(|p| p.is_in(&asked.model));
    let of_system = m.system.as_ref().is_none_or(|p| p.is_in(&asked.system));
    let of_user = m.first_user.as_ref().is_none_or(|p| p.is_in(&asked.first_user));
    let of_tool = m.tool.as_ref().is_none_or(|name| asked.tools.contains(name));
    of_model && of_system && of_user && of_tool
}

/// The chosen turn, or why there is none or the request does not fit it.
pub(crate) fn turn_for<'a>(choice: Choice<'a>, asked: &Asked) -> Result<&'a Turn, String> {
    let Some(turn) = choice.conversation.turns.get(choice.index) else {
        return Err(format!(
            "the script has {} turns, none of index {}",
            choice.conversation.turns.len(),
            choice.index
        ));
    };
    check(&turn.expect, asked)?;
    Ok(turn)
}

fn check(expect: &Expect, asked: &Asked) -> Result<(), String> {
    if let Some(p) = expect.last_user_contains.as_ref().filter(|p| !p.is_in(&asked.last_user)) {
        return Err(format!("expected {p:?} in the last user text, which is {:?}", asked.last_user));
    }
    if let Some(p) = expect.system_contains.as_ref().filter(|p| !p.is_in(&asked.system)) {
        return Err(format!("expected {p:?} in the system prompt, which is {:?}", asked.system));
    }
    check_results(expect, asked)?;
    check_tools(expect, asked)
}

fn check_results(expect: &Expect, asked: &Asked) -> Result<(), String> {
    let results = &asked.last_results;
    if let Some(p) = &expect.tool_result_contains
        && !results.iter().any(|(text, _)| p.is_in(text))
    {
        return Err(format!("expected {p:?} in a tool result, got {results:?}"));
    }
    if let Some(wanted) = expect.tool_result_is_error
        && results.iter().any(|(_, is_error)| *is_error) != wanted
    {
        return Err(format!("expected tool_result_is_error {wanted}, got {results:?}"));
    }
    match expect.tool_results {
        Some(n) if n != results.len() => Err(format!("expected {n} tool results, got {results:?}")),
        _ => Ok(()),
    }
}

fn check_tools(expect: &Expect, asked: &Asked) -> Result<(), String> {
    if let Some(name) = expect.tools_include.iter().find(|name| !asked.tools.contains(name)) {
        return Err(format!("expected the tool {name}, announced are {:?}", asked.tools));
    }
    match expect.tools_exclude.iter().find(|name| asked.tools.contains(name)) {
        Some(name) => Err(format!("the tool {name} must not be announced")),
        None => Ok(()),
    }
}

/// The reply of `turn`, its substitutions made.
pub(crate) fn reply_of(choice: Choice<'_>, turn: &Turn, asked: &Asked) -> Result<Reply, String> {
    let id = format!("{}_{}", identifier(&choice.conversation.name), choice.index);
    let mut reply = bare_reply(&id, &turn.reply, asked)?;
    reply.stop = turn.stop.unwrap_or(reply.stop);
    reply.usage = turn.usage.unwrap_or(reply.usage);
    Ok(reply)
}

/// The reply to a request that no conversation claims.
pub(crate) fn default_reply(script: &Script, asked: &Asked) -> Result<Reply, String> {
    let ok = [ReplyBlock::Text("ok".into())];
    let blocks = script.default.as_deref().unwrap_or(&ok);
    bare_reply(&format!("default_{}", asked.assistant_turns), blocks, asked)
}

fn bare_reply(id: &str, blocks: &[ReplyBlock], asked: &Asked) -> Result<Reply, String> {
    let blocks = said(id, blocks, asked)?;
    let calls = blocks.iter().any(|b| matches!(b, Said::Tool { .. }));
    let size: usize = blocks.iter().map(size_of).sum();
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(CHARACTERS_PER_TOKEN)).unwrap_or(u64::MAX);
    Ok(Reply {
        id: id.to_owned(),
        model: asked.model.clone(),
        blocks,
        stop: if calls { Stop::ToolUse } else { Stop::EndTurn },
        usage: Tokens { input: tokens(asked.size_bytes), output: tokens(size), ..Tokens::default() },
    })
}

fn said(id: &str, blocks: &[ReplyBlock], asked: &Asked) -> Result<Vec<Said>, String> {
    let one = |(n, block): (usize, &ReplyBlock)| match block {
        ReplyBlock::Text(text) => Ok(Said::Text(text.clone())),
        ReplyBlock::Thinking(text) => Ok(Said::Thinking(text.clone())),
        ReplyBlock::Tool(call) => Ok(Said::Tool {
            id: format!("call_{id}_{n}"),
            name: call.name.clone(),
            input: match &call.input {
                Value::Null => Value::Object(serde_json::Map::new()),
                input => substituted(input, &asked.last_results)?,
            },
        }),
    };
    blocks.iter().enumerate().map(one).collect()
}

fn size_of(block: &Said) -> usize {
    match block {
        Said::Text(text) | Said::Thinking(text) => text.len(),
        Said::Tool { name, input, .. } => name.len() + input.to_string().len(),
    }
}

/// `value` with every `$from_last_result` replaced by what its group captured.
fn substituted(value: &Value, results: &[(String, bool)]) -> Result<Value, String> {
    if let Some(pattern) = substitution(value) {
        return captured(pattern, results).map(Value::String);
    }
    match value {
        Value::Array(items) => items.iter().map(|v| substituted(v, results)).collect(),
        Value::Object(members) => {
            members.iter().map(|(k, v)| Ok((k.clone(), substituted(v, results)?))).collect()
        }
        other => Ok(other.clone()),
    }
}

fn captured(pattern: &str, results: &[(String, bool)]) -> Result<String, String> {
    let regex = Regex::new(pattern).map_err(|e| e.to_string())?;
    let group = results.iter().find_map(|(text, _)| regex.captures(text)?.get(1));
    match group {
        Some(found) => Ok(found.as_str().to_owned()),
        None => Err(format!("$from_last_result `{pattern}` matches no tool result of {results:?}")),
    }
}

/// `name` with everything that vendors do not allow in identifiers replaced.
fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn script() -> Script {
        Script::from_value(json!({"conversations": [{
        "name": "fix bug",
        "match": {"first_user": "fix", "tool": "edit"},
        "turns": [
            {"reply": [{"text": "reading"}, {"tool": {"name": "read", "input": {"path": "a"}}}]},
            {"expect": {"tool_result_contains": {"regex": "gen=\\d+"}},
             "reply": [{"tool": {"name": "edit", "input": {"deep": [{"$from_last_result": "gen=(\\d+)"}]}}}]}
        ]}]}))
        .unwrap()
    }

    fn asked(turns: usize, results: &[&str]) -> Asked {
        Asked {
            first_user: "please fix it".into(),
            tools: vec!["read".into(), "edit".into()],
            assistant_turns: turns,
            last_results: results.iter().map(|r| ((*r).to_owned(), false)).collect(),
            ..Asked::default()
        }
    }

    fn play(script: &Script, asked: &Asked) -> Result<Reply, String> {
        let choice = choose(script, asked).ok_or("nothing claims it")?;
        reply_of(choice, turn_for(choice, asked)?, asked)
    }

    #[test]
    fn the_turn_follows_from_the_conversation_so_a_repeated_call_gets_the_same_reply() {
        let (script, asked) = (script(), asked(0, &[]));
        let first = play(&script, &asked).unwrap();
        assert_eq!(first, play(&script, &asked).unwrap());
        assert_eq!(first.id, "fix-bug_0");
        assert_eq!(first.stop, Stop::ToolUse);
    }

    #[test]
    fn a_tool_input_takes_a_token_out_of_the_last_result() {
        let reply = play(&script(), &asked(1, &["nothing", "file gen=42 (current)"])).unwrap();
        let Said::Tool { input, .. } = &reply.blocks[0] else { panic!("{reply:?}") };
        assert_eq!(input, &json!({"deep": ["42"]}));
    }

    #[test]
    fn an_unexpected_request_and_a_turn_too_many_are_complaints() {
        let complaint = play(&script(), &asked(1, &["no token"])).unwrap_err();
        assert!(complaint.contains("gen=") && complaint.contains("no token"), "{complaint}");
        let complaint = play(&script(), &asked(2, &[])).unwrap_err();
        assert!(complaint.contains("none of index 2"), "{complaint}");
    }

    #[test]
    fn a_request_without_the_tool_is_left_to_the_default() {
        let auxiliary = Asked { tools: vec![], ..asked(0, &[]) };
        assert!(choose(&script(), &auxiliary).is_none());
        assert_eq!(default_reply(&script(), &auxiliary).unwrap().blocks, [Said::Text("ok".into())]);
    }

    #[test]
    fn a_script_with_a_misspelt_key_or_a_bad_pattern_is_refused() {
        assert!(Script::parse(r#"{"conversations":[{"name":"a","turnz":[]}]}"#).is_err());
        assert!(
            Script::parse(r#"{"conversations":[{"name":"a","turns":[{"reply":[{"txt":"x"}]}]}]}"#).is_err()
        );
        let two_groups = json!({"conversations": [{"name": "a", "turns": [
            {"reply": [{"tool": {"name": "t", "input": {"$from_last_result": "(a)(b)"}}}]}]}]});
        assert!(Script::from_value(two_groups).unwrap_err().to_string().contains("exactly one group"));
        let twice = json!({"conversations": [{"name": "a", "turns": []}, {"name": "a", "turns": []}]});
        assert!(Script::from_value(twice).unwrap_err().to_string().contains("named a"));
    }
}
