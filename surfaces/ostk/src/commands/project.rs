//! Commands on the project's daemon: `listen`, `shutdown`. `init` is its own module.

use std::{process::ExitCode, time::Duration};

use libostk::Identity;
use serde_json::json;

use super::Done;
use crate::{args::Listen, connect, failure::Failure, output::Output};

pub(crate) fn listen(args: &Listen) -> Done {
    let project = connect::project()?;
    let idle_exit = (args.idle_exit > 0).then(|| Duration::from_secs(args.idle_exit));
    let options = ostk_daemon::Options { idle_exit, stack: project.stack_name().map(str::to_owned) };
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
