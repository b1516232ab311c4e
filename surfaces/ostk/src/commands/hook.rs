//! `ostk hook`: asks the kernel what a coding agent's hook wants to know, and prints the hook's answer.
//!
//! A hook must never stand in its client's way for reasons of its own: what only records is skipped when no daemon
//! runs. A tool that changes something is another matter: in a project it does not run without the kernel's word.
//! Exit codes are 0 and 1 only, because the client takes 2 for a refusal.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use libostk::{CallOptions, Client, ClientError, Project};
use ostk_daemon::{
    hooks::{Ask, Event, Input},
    mcp::{Place, error_of, take_place},
};
use ostk_kernel::{CallError, Code};
use serde_json::{Value, json};

use super::{Done, mcp::connector};
use crate::{
    args::{ClientKind, Hook},
    connect,
    failure::Failure,
};

/// Largest input: it holds the tool's arguments and its result.
const MAX_INPUT: u64 = 64 * 1024 * 1024;
/// How long a daemon may take to start before a tool that changes something is refused.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// How long the kernel may take for its answer; shorter than the client waits for the hook.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn hook(args: &Hook) -> Done {
    if args.client != ClientKind::Claude {
        return Err(
            Failure::check("only Claude Code has hooks that ostk answers").hint("ostk mcp serves the others")
        );
    }
    let event: Event = args.event.parse().map_err(|error| {
        Failure::check(error).hint("one of session-start, pre-tool, post-tool, turn-end, session-end")
    })?;
    let input = Input::parse(&read_input()?).map_err(Failure::check)?;
    let project = project(&input.cwd);
    if let Some(answer) = answer(event, &input, project) {
        let _ = writeln!(std::io::stdout(), "{answer}");
    }
    Ok(ExitCode::SUCCESS)
}

fn read_input() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_INPUT {
        return Err(Failure::check(format!("the hook's input is larger than {MAX_INPUT} bytes")));
    }
    Ok(text)
}

/// The project of the session: where the client was started, else where it works now.
fn project(cwd: &Path) -> Option<Project> {
    let named =
        ["OSTK_DIR", "CLAUDE_PROJECT_DIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    named.chain([cwd.to_owned()]).find_map(|dir| Project::find(&dir).ok())
}

fn answer(event: Event, input: &Input, project: Option<Project>) -> Option<Value> {
    let Some(project) = project else {
        if event == Event::PreTool && input.ask(event, &input.cwd).is_some_and(|ask| ask.access.changes()) {
            let _ = writeln!(
                std::io::stderr(),
                "ostk: no project here, so nothing is recorded: ostk init makes one"
            );
        }
        return None;
    };
    match event {
        Event::SessionStart => {
            if let Ok(mut client) = start(&project) {
                let _ = take_place(&mut client, &place(input, false));
            }
            None
        }
        Event::PreTool => {
            let ask = input.ask(event, project.root())?;
            let result = start(&project).and_then(|mut client| call(&mut client, input, &ask));
            match result {
                // Reading is recorded, not guarded: whatever can run a command can read.
                Err(Trouble::Daemon(_)) if !ask.access.changes() => None,
                other => event.answer(&other.map_err(Trouble::into_call_error)),
            }
        }
        Event::PostTool => {
            let ask = input.ask(event, project.root())?;
            let result = call(&mut connect::running(&project)?, input, &ask);
            event.answer(&result.map_err(Trouble::into_call_error))
        }
        Event::SessionEnd => {
            let mut client = connect::running(&project)?;
            take_place(&mut client, &place(input, true)).ok()?;
            let _ = client.call("session.end", &json!({}), &options());
            None
        }
        Event::TurnEnd => None,
    }
}

/// Why the kernel gave no answer that counts.
enum Trouble {
    /// Nobody answers.
    Daemon(CallError),
    /// The answer is no.
    Call(CallError),
}

impl Trouble {
    fn into_call_error(self) -> CallError {
        match self {
            Self::Call(error) => error,
            Self::Daemon(error) => CallError::new(
                Code::Failed,
                format!("the daemon of this project does not answer, so nothing may be changed: {}", error.message),
            )
            .hint("ostk doctor looks for what is wrong; ostk init --client claude --uninstall takes the hooks out"),
        }
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Call { .. } => Self::Call(error_of(error)),
            other => Self::Daemon(error_of(other)),
        }
    }
}

/// A connection to the daemon, which is started if none runs; waits five seconds at most.
fn start(project: &Project) -> Result<Client, Trouble> {
    let connect = connector(project.clone());
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || sender.send(connect()));
    let late = || {
        CallError::new(Code::Deadline, format!("it took longer than {} s to start", START_DEADLINE.as_secs()))
    };
    receiver.recv_timeout(START_DEADLINE).unwrap_or_else(|_| Err(late())).map_err(Trouble::Daemon)
}

fn call(client: &mut Client, input: &Input, ask: &Ask) -> Result<Value, Trouble> {
    take_place(client, &place(input, true))?;
    Ok(client.call(ask.verb, &ask.args, &options())?)
}

fn place(input: &Input, once: bool) -> Place {
    Place {
        name: input.lineage(),
        exact: true,
        client: "claude-code hooks".to_owned(),
        pin: std::env::var("OSTK_PIN").ok(),
        once,
    }
}

const fn options() -> CallOptions {
    CallOptions { idempotency: None, timeout: Some(CALL_DEADLINE) }
}
