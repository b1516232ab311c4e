//! `ostk attach`: an agent's life as it happens, one line for each thing it does. What is typed is sent to it.
//!
//! The records come over the socket; when the daemon goes away, attach waits for the next one and goes on from the last
//! record it saw. `story` words the records.

mod story;

use std::{
    io::BufRead,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, ClientError, Event, Identity, Project};
use serde_json::{Value, json};

use self::story::Story;
pub(crate) use self::story::said;
use super::{Done, inspect};
use crate::{
    args::Attach,
    connect,
    failure::Failure,
    output::{Output, Paint},
    record,
};

/// How long attach waits for the next daemon.
const RETURN_DEADLINE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(100);
/// One look at the stream; nothing depends on it.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn attach(args: &Attach, output: &Output) -> Done {
    let project = connect::project()?;
    if let Some(text) = &args.say {
        say(&project, &args.lineage, text)?;
        output.show(&json!({ "sent": true }), |_| format!("sent to {}", args.lineage));
        return Ok(ExitCode::SUCCESS);
    }
    let processes = inspect::ask("ps", &json!({}))?["processes"].take();
    let rows = processes.as_array().map(Vec::as_slice).unwrap_or_default();
    if !rows.iter().any(|row| row["lineage"] == args.lineage.as_str()) {
        return Err(Failure::check(format!("no process is called {:?}", args.lineage)).hint("ostk ps"));
    }
    let from = start(&project.state_dir(), &args.lineage)?;
    listen_to_keyboard(project.clone(), args.lineage.clone());
    follow(&project, &args.lineage, from, output)
}

fn say(project: &Project, lineage: &str, text: &str) -> Result<(), Failure> {
    let call = json!({ "lineage": lineage, "text": text });
    connect::operator(project)?.call("nudge", &call, &CallOptions::default())?;
    Ok(())
}

/// The record with which the lineage's last session started.
fn start(state_dir: &Path, lineage: &str) -> Result<u64, Failure> {
    let mut from = 0;
    for entry in libostk::records(state_dir)? {
        let entry = entry?;
        let event = record::header(&entry)?.event;
        if matches!(event, "session.started" | "agent.step") {
            let body = record::parse(&entry)?.body;
            let begins =
                event == "session.started" || body.get("step").is_some_and(|step| step["step"] == "spawned");
            if begins && body.get("lineage").is_some_and(|name| name == lineage) {
                from = entry.seq;
            }
        }
    }
    Ok(from)
}

/// Sends each line typed to the agent. The thread ends with the program, or with the end of the input.
fn listen_to_keyboard(project: Project, lineage: String) {
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if line.trim().is_empty() {
                continue;
            }
            if let Err(failure) = say(&project, &lineage, &line) {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "not sent: {}", failure.message());
            }
        }
    });
}

fn follow(project: &Project, lineage: &str, from: u64, output: &Output) -> Done {
    let mut story = Story::new(&project.state_dir(), lineage);
    let (mut next, mut epoch) = (from, 0);
    loop {
        let mut client = reconnect(project, epoch)?;
        epoch = client.epoch();
        let broken = client.subscribe(next).and_then(|()| stream(&mut client, &mut story, &mut next, output));
        match broken {
            Ok(code) => return Ok(code),
            // Only a broken connection mends itself.
            Err(error) if !matches!(error, ClientError::Io(_)) => return Err(error.into()),
            Err(error) if !output.is_json() => {
                output.line(&output.paint(Paint::Dim, &format!("({error}; waiting for the daemon)")))
            }
            Err(_) => {}
        }
    }
}

/// Prints what comes until the agent ends.
fn stream(
    client: &mut Client,
    story: &mut Story,
    next: &mut u64,
    output: &Output,
) -> Result<ExitCode, ClientError> {
    loop {
        let Some(event) = client.next_event(LOOK)? else { continue };
        *next = event.seq + 1;
        let Some(told) = story.tell(&event.record, output) else { continue };
        let read = match output.is_json() {
            true => output.try_line(&line_of(&event).to_string()),
            false => told.text.is_empty() || output.try_line(&told.text),
        };
        if let Some(good) = told.ended {
            return Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        if !read {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn line_of(event: &Event) -> &Value {
    &event.record
}

/// A connection to a daemon that is at least as young as the last one. Starts none: whoever stopped it meant it.
fn reconnect(project: &Project, epoch: u64) -> Result<Client, Failure> {
    let deadline = Instant::now() + RETURN_DEADLINE;
    let socket = connect::socket(project);
    loop {
        let made = Client::connect(&socket).and_then(|mut client| {
            client.attach(&Identity::Operator(connect::user()), "ostk attach", None).map(|_| client)
        });
        match made {
            Ok(client) if client.epoch() >= epoch => return Ok(client),
            Err(error @ ClientError::Call { .. }) => return Err(error.into()),
            _ if Instant::now() > deadline => {
                let what = format!("no daemon came back within {} s", RETURN_DEADLINE.as_secs());
                return Err(
                    Failure::check(what).hint("ostk listen starts one, and its agents go on where they were")
                );
            }
            _ => thread::sleep(RETRY),
        }
    }
}
