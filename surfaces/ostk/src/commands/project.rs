//! Commands on the project itself: `init`, `listen`, `shutdown`.

use std::{process::ExitCode, time::Duration};

use libostk::Identity;
use serde_json::json;

use super::{Done, audit, clients};
use crate::{
    args::{Init, Listen},
    connect,
    failure::Failure,
    output::{Output, Paint},
};

pub(crate) fn init(args: &Init, output: &Output) -> Done {
    let here = std::env::current_dir()?;
    let mut made = ostk_daemon::init(&here).map_err(|error| {
        Failure::check(error.to_string())
            .hint("run `git init` first: ostk keeps its state at the root of a git repository")
    })?;
    if !args.no_git_hook {
        made.created.extend(audit::install_witness(&made.root)?);
    }
    let clients = clients::set_up(&made.root, args)?;
    let value = json!({ "root": made.root, "created": made.created, "clients": clients });
    output.show(&value, |output| {
        let mut lines: Vec<String> =
            made.created.iter().map(|path| format!("{} {path}", output.paint(Paint::Green, "✓"))).collect();
        if lines.is_empty() {
            lines.push("nothing to do: the project exists".to_owned());
        }
        lines.push(format!("project at {}", made.root.display()));
        lines.extend(clients.iter().map(clients::describe));
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn listen(args: &Listen) -> Done {
    let project = connect::project()?;
    let options =
        ostk_daemon::Options { idle_exit: (args.idle_exit > 0).then(|| Duration::from_secs(args.idle_exit)) };
    ostk_daemon::listen(project.root(), options).map_err(|error| match error.hint() {
        None if matches!(error, ostk_daemon::AnchorError::Untrusted(_)) => untrusted(&error.to_string()),
        Some(hint) => Failure::check(&error).hint(hint),
        None => Failure::check(&error),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn untrusted(text: &str) -> Failure {
    let (what, hint) = text.split_once("\nHint: ").unwrap_or((text, "ostk sign --verify"));
    Failure::untrusted(what).hint(hint)
}

pub(crate) fn shutdown(output: &Output) -> Done {
    let project = connect::project()?;
    let Some(mut client) = connect::running(&project) else {
        output.show(&json!({ "stopped": false }), |_| "no daemon runs".to_owned());
        return Ok(ExitCode::SUCCESS);
    };
    client.attach(&Identity::Operator(connect::user()), "ostk", None)?;
    client.request("kernel/stop", &json!({}), Duration::from_secs(10))?;
    // The lock is free when the journal is closed.
    for _ in 0..1_000 {
        if !ostk_daemon::anchored(&project.state_dir()) {
            output.show(&json!({ "stopped": true }), |_| "stopped".to_owned());
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Failure::check("the daemon did not stop within 10 seconds"))
}
