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
    hooks::{Ask, Client as Agent, Event, Input, MAX_ASKS},
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
    let client = match args.client {
        ClientKind::Claude => Agent::Claude,
        ClientKind::Codex => Agent::Codex,
        ClientKind::Cursor => {
            return Err(Failure::check("ostk answers no hooks of Cursor").hint("ostk mcp serves it"));
        }
    };
    let event: Event = args.event.parse().map_err(|error| {
        Failure::check(error).hint("one of session-start, pre-tool, post-tool, turn-end, session-end")
    })?;
    let input = Input::parse(client, &read_input()?).map_err(Failure::check)?;
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
        if event == Event::PreTool && input.asks(event, &input.cwd).iter().any(|ask| ask.access.changes()) {
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
                let placed = take_place(&mut client, &place(input, false));
                // Whoever supervises the client starts it again in this session.
                let session = json!({ "session": input.session_id });
                let _ = placed.map(|_| client.call("session.resumable", &session, &options()));
            }
            None
        }
        Event::PreTool => before(input, &input.asks(event, project.root()), &project),
        Event::PostTool | Event::TurnEnd => {
            let results = report(&mut connect::running(&project)?, input, &input.asks(event, project.root()));
            input.answer(event, &results)
        }
        Event::SessionEnd => {
            let mut client = connect::running(&project)?;
            report(&mut client, input, &input.asks(event, project.root()));
            let _ = client.call("session.end", &json!({}), &options());
            None
        }
    }
}

/// Asks for everything that a tool is about to do; the first refusal counts.
fn before(input: &Input, asks: &[Ask], project: &Project) -> Option<Value> {
    if asks.is_empty() {
        return None;
    }
    let results = if asks.len() > MAX_ASKS {
        let error = CallError::new(Code::TooLarge, format!("more than {MAX_ASKS} files in one change"));
        vec![Err(error.hint("make it several changes"))]
    } else {
        match start(project).and_then(|mut client| ask_all(&mut client, input, asks)) {
            Ok(results) => results,
            // Reading is recorded, not guarded: whatever can run a command can read.
            Err(_) if !asks.iter().any(|ask| ask.access.changes()) => return None,
            Err(trouble) => vec![Err(trouble.into_call_error())],
        }
    };
    input.answer(Event::PreTool, &results)
}

fn ask_all(client: &mut Client, input: &Input, asks: &[Ask]) -> Result<Vec<Answer>, Trouble> {
    take_place(client, &place(input, true))?;
    let mut results = Vec::new();
    for (number, ask) in asks.iter().enumerate() {
        match client.call(ask.verb, &ask.args, &options()) {
            Ok(value) => results.push(Ok(value)),
            Err(error @ ClientError::Call { .. }) => {
                // The tool does not run, so nothing waits for the files that it might have changed.
                let withdrawn = asks.iter().take(number).map(Ask::withdrawn).collect::<Vec<_>>();
                report(client, input, &withdrawn);
                results.push(Err(error_of(error)));
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(results)
}

/// Says what became of tools. Their effect is there, so an error changes nothing.
fn report(client: &mut Client, input: &Input, asks: &[Ask]) -> Vec<Answer> {
    if asks.is_empty() || take_place(client, &place(input, true)).is_err() {
        return Vec::new();
    }
    asks.iter().map(|ask| client.call(ask.verb, &ask.args, &options()).map_err(error_of)).collect()
}

type Answer = Result<Value, CallError>;

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
            .hint("ostk doctor looks for what is wrong; ostk init --client CLIENT --uninstall takes the hooks out"),
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

fn place(input: &Input, once: bool) -> Place {
    Place {
        name: input.lineage(),
        exact: true,
        client: match input.client {
            Agent::Codex => "codex hooks",
            Agent::Claude | Agent::Cursor => "claude-code hooks",
        }
        .to_owned(),
        pin: std::env::var("OSTK_PIN").ok(),
        once,
        instance: None,
    }
}

const fn options() -> CallOptions {
    CallOptions { idempotency: None, timeout: Some(CALL_DEADLINE), tied: false }
}
