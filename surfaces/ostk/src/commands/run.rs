//! `ostk run`: an agent from an Agentfile (`compose` puts it together), any command in the sandbox, or a command that an
//! Agentfile supervises (`resume` knows how clients take up their sessions).

mod compose;
mod follow;
mod resume;

pub(crate) use compose::refused;

use std::{io::Write as _, path::Path, process::ExitCode, time::Duration};

use libostk::{CallOptions, Client, Project};
use serde_json::{Value, json};

use compose::Kind;
use follow::Following;

use super::{Done, consent::Notice, inspect::cwd, members::insert};
use crate::{
    args::Run,
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// The name of a command's stream: a lineage that `run` starts runs one command.
const STREAM: &str = "run";
/// An agent may run this long while somebody waits for it.
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn run(args: &Run, output: &Output) -> Done {
    match &args.agentfile {
        Some(path) if args.command.is_empty() => agent(args, path, output),
        Some(path) => supervised(args, path, output),
        None => command(args, output),
    }
}

/// The text of an Agentfile, put together with what stands in other files.
pub(crate) fn composed(path: &Path, root: &Path) -> Result<String, Failure> {
    Ok(compose::compose(path, root, None, Kind::Native)?.to_text())
}

fn agent(args: &Run, path: &Path, output: &Output) -> Done {
    let project = connect::project()?;
    let text = compose::compose(path, project.root(), args.pin.as_deref(), Kind::Native)?.to_text();
    let name = name(args, path);
    if args.dry_run {
        return dry_run(path, &name, &text, output);
    }
    let mut call = json!({ "name": name, "agentfile": text });
    insert(&mut call, "task", args.task.as_deref());
    let (mut client, spawned) = spawn(args, call, &project)?;
    if args.detach {
        output.show(&spawned, |_| begun(&spawned, &name, &format!("follow it: ostk attach {name}")));
        return Ok(ExitCode::SUCCESS);
    }
    let ending = wait(&mut client, &name)?;
    output.show(&ending, |output| {
        let done = ending["outcome"]["kind"] == "done";
        let mark = if done { output.paint(Paint::Green, "✓") } else { output.paint(Paint::Red, "✗") };
        format!(
            "{mark} {name}: {}  ({} turns, {} tokens)",
            ending["outcome"], ending["turns"], ending["tokens"]
        )
    });
    Ok(if ending["outcome"]["kind"] == "done" { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Starts a command that the daemon keeps up by itself, and waits for its end.
fn supervised(args: &Run, path: &Path, output: &Output) -> Done {
    if args.task.is_some() {
        let refused = Failure::usage("--task says nothing to a command");
        return Err(refused.hint("put the task into the command line"));
    }
    let project = connect::project()?;
    let text = compose::compose(path, project.root(), args.pin.as_deref(), Kind::Command)?.to_text();
    let name = name(args, path);
    if args.dry_run {
        return dry_run(path, &name, &text, output);
    }
    let mut call = json!({ "name": name, "agentfile": text, "command": command_line(&args.command) });
    let known = || resume::resume(&args.command).map(|words| command_line(&words));
    insert(&mut call, "resume", args.resume.clone().or_else(known));
    let (mut client, spawned) = spawn(args, call, &project)?;
    if args.detach {
        output.show(&spawned, |_| begun(&spawned, &name, "how it does: ostk ps"));
        return Ok(ExitCode::SUCCESS);
    }
    let ending = wait(&mut client, &name)?;
    let exit = ending["fell"]["exit"].as_i64();
    output.show(&ending, |output| {
        let mark =
            if exit == Some(0) { output.paint(Paint::Green, "✓") } else { output.paint(Paint::Red, "✗") };
        let reason = ending["fell"]["reason"].as_str().unwrap_or("ended by a signal");
        format!("{mark} {name}: {reason}  (started again {} times)", ending["restarts"])
    });
    Ok(ExitCode::from(exit.and_then(|exit| u8::try_from(exit).ok()).unwrap_or(1)))
}

fn spawn(args: &Run, mut call: Value, project: &Project) -> Result<(Client, Value), Failure> {
    insert(&mut call, "revival", args.revival.map(|revival| revival.word()));
    insert(&mut call, "priority", args.priority.as_deref());
    let mut client = connect::operator(project)?;
    let spawned = client.call("agent.spawn", &call, &CallOptions::default())?;
    Ok((client, spawned))
}

/// What became of a spawn, and how to see more of it.
fn begun(spawned: &Value, name: &str, more: &str) -> String {
    match spawned["queued"].as_u64() {
        Some(place) => format!("{name} waits for a place, number {place} in line: ostk ps"),
        None => format!("{name} started; {more}"),
    }
}

/// The lineage that the arguments name, or the file does.
fn name(args: &Run, path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("agent");
    args.name.clone().unwrap_or_else(|| stem.to_owned())
}

fn dry_run(path: &Path, name: &str, text: &str, output: &Output) -> Done {
    let shown = json!({ "ok": true, "name": name, "agentfile": text });
    output.show(&shown, |_| format!("{} is good; it comes to:\n{text}", path.display()));
    Ok(ExitCode::SUCCESS)
}

fn wait(client: &mut Client, name: &str) -> Result<Value, Failure> {
    let options = CallOptions { idempotency: None, timeout: Some(DAY), tied: false };
    Ok(client.call("agent.wait", &json!({ "lineage": name }), &options)?)
}

/// Runs a command in the sandbox, under a lineage of its own.
fn command(args: &Run, output: &Output) -> Done {
    let name = args.name.clone().unwrap_or_else(|| stem(&args.command));
    let project = connect::project()?;
    let (mut client, lineage) = connect::start(&project, name, args.pin.as_deref())?;
    let line = command_line(&args.command);
    let mut call =
        json!({ "command": line, "cwd": cwd()?, "timeout_ms": DAY.as_millis() as u64, "agent": true });
    let options = CallOptions {
        // Whoever interrupts this program ends the command with it.
        idempotency: Some("run".to_owned()),
        timeout: Some(DAY),
        tied: true,
    };
    let notice = Notice::begin(&project, &lineage);
    let result = if output.is_json() {
        let result = client.call("shell.run", &call, &options)?;
        output.show(&result, |_| String::new());
        result
    } else {
        call["stream"] = json!(STREAM);
        let window = follow::window();
        if let Some((rows, columns)) = window {
            (call["rows"], call["columns"]) = (json!(rows), json!(columns));
        }
        let following = Following::start(&project, &lineage, STREAM, window)?;
        let result = client.call("shell.run", &call, &options);
        following.finish();
        result?
    };
    drop(notice);
    if !output.is_json() {
        for remark in result["remarks"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // One that nobody can read is in the log all the same.
            let _ = writeln!(std::io::stderr(), "{remark}");
        }
    }
    let exit = result["exit"].as_i64().and_then(|exit| u8::try_from(exit).ok()).unwrap_or(1);
    Ok(ExitCode::from(exit))
}

/// The name of a program, as a name for what it does.
pub(crate) fn stem(command: &[String]) -> String {
    let program = command.first().map(String::as_str).unwrap_or_default();
    let stem = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or("command");
    stem.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
}

/// The words as a line for `sh`.
pub(crate) fn command_line(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as `sh` reads it back unchanged.
fn quote(word: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '=' | ':' | ',' | '+' | '@')
    };
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
