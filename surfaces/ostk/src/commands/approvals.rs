//! `ostk approvals`: the questions that agents' calls wait for, and a person's answers.
//!
//! Who may answer and what an answer reaches the kernel decides. `watch` asks at the terminal, each question once, and
//! takes no answer from anything else.

use std::{
    collections::BTreeSet,
    io::{BufRead, IsTerminal, Write},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use libostk::Entry;
use serde_json::{Value, json};

use super::{
    Done,
    inspect::ask,
    members::{self, insert, text},
};
use crate::{
    args::{Answer, Approvals, ApprovalsAction},
    connect,
    failure::Failure,
    output::{Output, Paint},
    record,
};

/// Widest cell for what is asked and for why, in characters.
const MAX_CELL: usize = 60;
/// How long one look at the log waits; nothing depends on it.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn approvals(args: &Approvals, output: &Output) -> Done {
    match &args.action {
        None => list(args.all, output),
        Some(ApprovalsAction::List { all }) => list(*all, output),
        Some(ApprovalsAction::Grant { answer, session }) => {
            let scope = if *session { "session" } else { "once" };
            give("approval.grant", answer, Some(scope), output)
        }
        Some(ApprovalsAction::Deny { answer }) => give("approval.deny", answer, None, output),
        Some(ApprovalsAction::Watch) => watch(output),
    }
}

fn list(all: bool, output: &Output) -> Done {
    let found = questions(all)?;
    output.show(&found, |output| {
        let now = now();
        let row = |row: &Value| {
            vec![
                row["id"].to_string(),
                text(row, "lineage"),
                clip(&what(row)),
                clip(&why(row)),
                answer_of(row).unwrap_or_else(|| left(row, now)),
            ]
        };
        let last = if all { "ANSWER" } else { "WAITS" };
        members::table(output, &found, &["ID", "WHO", "WHAT", "WHY", last], row, "no call waits for a person")
    });
    Ok(ExitCode::SUCCESS)
}

fn questions(all: bool) -> Result<Value, Failure> {
    Ok(ask("approval.list", &json!({ "all": all }))?["approvals"].take())
}

fn give(verb: &str, answer: &Answer, scope: Option<&str>, output: &Output) -> Done {
    let mut call = json!({ "id": answer.id });
    insert(&mut call, "scope", scope);
    insert(&mut call, "reason", answer.reason.as_deref());
    let result = ask(verb, &call)?;
    output.show(&result, |output| match (result["granted"] == true, result["scope"] == "session") {
        (true, true) => format!("{} until the session ends", output.paint(Paint::Green, "granted")),
        (true, false) => format!("{} once", output.paint(Paint::Green, "granted")),
        (false, _) => output.paint(Paint::Red, "denied"),
    });
    Ok(ExitCode::SUCCESS)
}

/// Asks the person at the terminal each question that is open or comes.
fn watch(output: &Output) -> Done {
    if output.is_json() || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::denied("questions are answered here by a person at a terminal")
            .hint("ostk approvals list, then ostk approvals grant ID"));
    }
    let state_dir = connect::project()?.state_dir();
    let mut log =
        libostk::tail(&state_dir, libostk::published(&state_dir).map_or(0, |checkpoint| checkpoint.size));
    output.line(&output.paint(Paint::Dim, "waiting for questions; Ctrl-C ends it"));
    let mut seen = BTreeSet::new();
    loop {
        for row in questions(false)?.as_array().map(Vec::as_slice).unwrap_or_default() {
            let new = row["id"].as_u64().is_some_and(|id| seen.insert(id));
            if new && !put(row, output)? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        while !log.next(LOOK)?.as_ref().is_some_and(is_question) {}
    }
}

fn is_question(entry: &Entry) -> bool {
    record::header(entry).is_ok_and(|head| head.event == "approval.requested")
}

/// Puts one question; false when the terminal is closed.
fn put(row: &Value, output: &Output) -> Result<bool, Failure> {
    let (id, who) = (row["id"].to_string(), output.paint(Paint::Bold, &text(row, "lineage")));
    output.line(&format!("\nquestion {id}: {who} asks for {}", visible(&what(row))));
    output.line(&format!("  {}", visible(&why(row))));
    let mut out = std::io::stdout();
    write!(out, "  y once, s for the session, n no, Enter later: ")?;
    out.flush()?;
    let mut typed = String::new();
    if std::io::stdin().lock().read_line(&mut typed)? == 0 {
        return Ok(false);
    }
    let (verb, scope) = match typed.trim() {
        "y" | "Y" | "yes" => ("approval.grant", Some("once")),
        "s" | "S" => ("approval.grant", Some("session")),
        "n" | "N" | "no" => ("approval.deny", None),
        _ => {
            output.line(&output.paint(Paint::Dim, &format!("  left open: ostk approvals grant {id}")));
            return Ok(true);
        }
    };
    let answer = Answer { id: row["id"].as_u64().unwrap_or_default(), reason: None };
    // Somebody else was faster, or the question lapsed: the next one is put all the same.
    if let Err(failure) = give(verb, &answer, scope, output) {
        output.failure(&failure);
    }
    Ok(true)
}

/// The call and what it is about, on one line.
fn what(row: &Value) -> String {
    format!("{} {}", text(row, "call"), row["resource"]["name"].as_str().unwrap_or_default())
        .trim()
        .to_owned()
}

/// Why consent is needed, without the names of the caller and the resource, which stand beside it.
fn why(row: &Value) -> String {
    let reason = text(row, "reason");
    let name = row["resource"]["name"].as_str().unwrap_or_default();
    let rest = match name {
        "" => reason.split_once(": ").map(|(_, why)| why),
        name => reason.split_once(name).and_then(|(_, rest)| rest.trim_start_matches('`').strip_prefix(": ")),
    };
    rest.unwrap_or(&reason).to_owned()
}

fn answer_of(row: &Value) -> Option<String> {
    let answer = row["answer"].as_object()?;
    let word = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    Some(match (answer.get("granted") == Some(&Value::Bool(true)), word("scope")) {
        (true, scope) => format!("granted ({scope}) by {}", word("by")),
        (false, _) if word("by") == "kernel" => "nobody answered".to_owned(),
        (false, _) => format!("denied by {}", word("by")),
    })
}

/// How long the question still waits: `4m 12s`.
fn left(row: &Value, now: Timestamp) -> String {
    let until = row["until"].as_str().and_then(|until| until.parse::<Timestamp>().ok());
    let seconds = until.map_or(0, |until| until.as_second().saturating_sub(now.as_second()).max(0));
    match seconds {
        0..60 => format!("{seconds}s"),
        _ => format!("{}m {:02}s", seconds / 60, seconds % 60),
    }
}

fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or_default()
}

/// One line of at most [`MAX_CELL`] characters.
fn clip(text: &str) -> String {
    let text = visible(text);
    let mut short: String = text.chars().take(MAX_CELL).collect();
    if text.chars().nth(MAX_CELL).is_some() {
        short.push('…');
    }
    short
}

/// The text on one line, with whatever could hide or reorder a part of it spelled out: an agent wrote it, and a person
/// decides by what it looks like.
fn visible(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let show = |c: char| if hides(c) { c.escape_default().collect() } else { c.to_string() };
    text.chars().map(show).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reason: &str, name: &str) -> Value {
        json!({ "call": "shell.run", "resource": { "kind": "command", "name": name }, "reason": reason,
            "until": "2026-01-02T03:04:05.000000Z" })
    }

    #[test]
    fn a_reason_stands_without_what_stands_beside_it() {
        let asked = "w needs a person's consent to run `make: all`: in governed mode a person decides";
        assert_eq!(why(&row(asked, "make: all")), "in governed mode a person decides");
        assert_eq!(
            why(&row("w needs a person's consent to run `make`", "make")),
            "w needs a person's consent to run `make`"
        );
        let other = "w needs a person's consent to call x: because";
        assert_eq!(why(&json!({ "reason": other })), "because");
    }

    #[test]
    fn a_question_waits_until_its_end_and_no_longer() {
        let at = |text: &str| left(&row("", ""), text.parse().unwrap());
        assert_eq!(at("2026-01-02T03:00:00Z"), "4m 05s");
        assert_eq!(at("2026-01-02T03:04:00Z"), "5s");
        assert_eq!(at("2026-01-02T04:00:00Z"), "0s");
    }

    #[test]
    fn a_cell_is_one_line_of_bounded_width() {
        let cell = clip(&format!("rm\n{}", "x".repeat(500)));
        assert!(cell.chars().count() == MAX_CELL + 1 && cell.starts_with(r"rm\nxx"), "{cell}");
    }

    #[test]
    fn nothing_in_a_question_hides_another_part_of_it() {
        assert_eq!(visible("ls\r\u{1b}[2Krm -rf é"), r"ls\r\u{1b}[2Krm -rf é");
        assert_eq!(visible("\u{202e}txt.sh"), r"\u{202e}txt.sh");
    }
}
