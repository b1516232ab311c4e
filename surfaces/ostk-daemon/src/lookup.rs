//! Small translations between the kernel's words and the drivers': the tools a model is shown, a search.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ostk_agent::{AgentState, model::ToolSpec};
use ostk_kernel::{CallError, Code, Readable};
use ostk_search::{Match, Mode, Query, Truncation};
use serde_json::{Value, json};

use crate::broker::Broker;

/// The tools that an agent's model is shown: the project's own names, in the order of the table. The list is the same
/// for every call of an agent, so a vendor's prompt cache keeps working.
pub(crate) fn tool_specs(_agent: &AgentState) -> Vec<ToolSpec> {
    let own =
        ostk_kernel::TOOLS.iter().filter(|tool| tool.name.starts_with(|c: char| c.is_ascii_lowercase()));
    own.map(|tool| ToolSpec {
        name: tool.name.to_owned(),
        description: tool.doc.to_owned(),
        input_schema: tool.schema(),
    })
    .collect()
}

/// Carries out a `search` of what may be read; `args` are its arguments, checked against the table. What is found in a
/// file that holds a secret is withheld like the file.
pub(crate) fn search(
    root: &Path,
    args: &Value,
    may_read: &Readable,
    broker: &Broker,
    patience: Duration,
) -> Result<Value, CallError> {
    let usage = |message: String| CallError::new(Code::Usage, message).hint("ostk abi show search");
    let query = query(args).map_err(usage)?;
    let mut found =
        ostk_search::search(root, &query, &|path| may_read.allows(path), Instant::now() + patience)
            .map_err(|error| usage(error.to_string()))?;
    let withheld = withhold(root, &mut found.matches, broker);
    if found.truncated == Some(Truncation::Deadline) && found.matches.is_empty() {
        return Err(CallError::new(Code::Deadline, "the search found nothing before its deadline")
            .hint("narrow it with globs, or pass a longer timeout_ms"));
    }
    Ok(json!({ "matches": found.matches, "files_searched": found.files_searched,
        "files_withheld": found.files_withheld + withheld, "truncated": found.truncated }))
}

/// Takes out the lines of files that hold a secret; returns how many files these are.
fn withhold(root: &Path, matches: &mut Vec<Match>, broker: &Broker) -> usize {
    let masker = broker.masker();
    let paths: BTreeSet<String> =
        matches.iter().filter(|found| found.line > 0).map(|found| found.path.clone()).collect();
    // A file that is gone, or is another by now, has shown its lines already: they are masked for themselves.
    let holds =
        |path: &String| fs::read(root.join(path)).is_ok_and(|bytes| !masker.names_in(&bytes).is_empty());
    let held: BTreeSet<String> = paths.into_iter().filter(holds).collect();
    matches.retain(|found| !held.contains(&found.path));
    held.len()
}

fn query(args: &Value) -> Result<Query, String> {
    let text = |name: &str| args.get(name).and_then(Value::as_str);
    let number =
        |name: &str| args.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    let mode = match text("mode") {
        None | Some("literal") => Mode::Literal,
        Some("word" | "symbol") => Mode::Word,
        Some("regex") => Mode::Regex,
        Some("glob") => Mode::Glob,
        Some(other) => return Err(format!("no search mode {other:?}; literal, word, regex or glob")),
    };
    let globs = args.get("globs").and_then(Value::as_array).into_iter().flatten();
    let mut query = Query {
        pattern: text("pattern").unwrap_or_default().to_owned(),
        mode,
        globs: globs.filter_map(Value::as_str).map(str::to_owned).collect(),
        case_insensitive: args.get("ignore_case").and_then(Value::as_bool).unwrap_or(false),
        context_lines: number("context").unwrap_or(0).min(ostk_search::MAX_CONTEXT_LINES),
        ..Query::default()
    };
    if let Some(limit) = number("limit") {
        query.max_results = limit.clamp(1, ostk_search::MAX_RESULTS);
    }
    Ok(query)
}
