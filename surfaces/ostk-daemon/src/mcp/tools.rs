//! What the server announces: the kernel's tools as MCP describes tools, and `help`.
//!
//! Names, arguments and descriptions come from `ostk_kernel::TOOLS`, results and effects from the system call table;
//! nothing about a tool is written down twice.

use std::sync::Arc;

use ostk_kernel::{Effect, TOOLS, lookup};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// Calls whose text says more with fewer tokens than their data. Where a result carries data, Claude Code and others
/// show the model the data instead of the text.
const TEXTUAL: &[&str] = &["search", "shell.run"];
/// Writing calls that take nothing away: they add a remark, or can be given back.
const ADDITIVE: &[&str] = &["note", "lock", "process.start"];

/// Every tool.
pub(super) fn all() -> Vec<Tool> {
    let mut tools: Vec<Tool> = TOOLS.iter().map(announce).collect();
    let schema = json!({ "type": "object", "properties": {
        "tool": { "type": "string", "description": "only this tool" } } });
    let annotations = ToolAnnotations::new().read_only(true).idempotent(true).open_world(false);
    tools.push(
        Tool::new(
            "help",
            "How to work here: the tools, their arguments, and what to do about a conflict.",
            object(schema),
        )
        .with_annotations(annotations),
    );
    tools
}

fn announce(tool: &ostk_kernel::Tool) -> Tool {
    let announced = Tool::new(tool.name, tool.doc, object(tool.schema())).with_annotations(annotations(tool));
    match output_schema(tool.call) {
        Some(schema) => announced.with_raw_output_schema(object(schema)),
        None => announced,
    }
}

fn annotations(tool: &ostk_kernel::Tool) -> ToolAnnotations {
    let reads = lookup(tool.call).is_some_and(|call| call.effect == Effect::Read);
    let annotations = ToolAnnotations::new().read_only(reads).idempotent(reads).open_world(false);
    if reads { annotations } else { annotations.destructive(!ADDITIVE.contains(&tool.call)) }
}

/// Whether a result of this call is also sent as data.
pub(super) fn is_structured(call: &str) -> bool {
    !TEXTUAL.contains(&call) && !["file.", "work."].iter().any(|family| call.starts_with(family))
}

fn output_schema(call: &str) -> Option<Value> {
    if !is_structured(call) {
        return None;
    }
    let members = lookup(call)?.result.iter();
    let mut properties: Map<String, Value> =
        members.map(|(name, doc)| ((*name).to_owned(), json!({ "description": doc }))).collect();
    let digest = json!({ "type": "string", "description": "what others changed since the last call" });
    properties.insert("digest".to_owned(), digest);
    Some(json!({ "type": "object", "properties": properties }))
}

/// The text of `help`, of one tool or of all.
pub(super) fn help(only: Option<&str>) -> Option<String> {
    if let Some(name) = only {
        return ostk_kernel::Tool::lookup(name).map(describe);
    }
    let mut lines = vec![
        "Every call passes one gate and lands in one log; other agents work on the same files.".to_owned(),
        "Read a file before you change it. A change that clashes with another writer's is refused with both versions; \
         take the merge with fs_ops {\"accept\": TOKEN}, or read again and repeat your change."
            .to_owned(),
        "A line that starts with [files] tells which files changed under you.".to_owned(),
        String::new(),
    ];
    lines.extend(TOOLS.iter().map(describe));
    Some(lines.join("\n"))
}

fn describe(tool: &ostk_kernel::Tool) -> String {
    let args = tool.args.iter().map(
        |(name, _, needed)| {
            if *needed { (*name).to_owned() } else { format!("{name}?") }
        },
    );
    format!("{}({}): {}", tool.name, args.collect::<Vec<_>>().join(", "), tool.doc)
}

fn object(schema: Value) -> Arc<Map<String, Value>> {
    match schema {
        Value::Object(schema) => Arc::new(schema),
        _ => Arc::new(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_tools_say_so_and_no_tool_reaches_the_open_world() {
        for tool in all() {
            let annotations = tool.annotations.unwrap();
            let reads =
                matches!(&*tool.name, "read" | "Read" | "search" | "Grep" | "Glob" | "session" | "help");
            assert_eq!(annotations.read_only_hint, Some(reads), "{}", tool.name);
            assert_eq!(annotations.open_world_hint, Some(false), "{}", tool.name);
        }
    }

    #[test]
    fn help_knows_every_tool_and_no_other() {
        let text = help(None).unwrap();
        assert!(TOOLS.iter().all(|tool| text.contains(&format!("{}(", tool.name))), "{text}");
        assert!(help(Some("read")).unwrap().starts_with("read(path, offset?"));
        assert_eq!(help(Some("nonsense")), None);
    }
}
