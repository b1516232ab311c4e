//! `ostk mcp`: a server of the Model Context Protocol for one client, or over loopback HTTP for several.
//!
//! Only the wiring is here: where the project is and how a daemon is started. The server is `ostk_daemon::mcp`.

use std::{process::ExitCode, sync::Arc};

use libostk::Project;
use ostk_daemon::mcp::{self, Connect, HttpOptions};
use ostk_kernel::{CallError, Code};
use serde_json::json;

use super::Done;
use crate::{args::Mcp, connect, failure::Failure, output::Output};

pub(crate) fn mcp(args: &Mcp, output: &Output) -> Done {
    let project = connect::project()?;
    let options = mcp::Options { name: args.name.clone(), pin: args.pin.clone() };
    match &args.http {
        None => mcp::serve_stdio(connector(project), options)?,
        Some(address) => http(project, address, options, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn http(project: Project, address: &str, options: mcp::Options, output: &Output) -> Result<(), Failure> {
    let token = project.state_dir().join("run/mcp.token");
    let http = HttpOptions { address: address.to_owned(), token: token.clone() };
    let ready = |address: std::net::SocketAddr| {
        let url = format!("http://{address}/");
        output.show(&json!({ "url": url, "token_file": token }), |_| {
            format!(
                "{url}\nSend the token with each request: Authorization: Bearer $(cat {})",
                token.display()
            )
        });
    };
    mcp::serve_http(connector(project), options, &http, ready).map_err(|error| match error.hint() {
        Some(hint) => Failure::usage(&error).hint(hint),
        None => Failure::check(&error),
    })
}

/// Connections to the project's daemon, which is started if none runs.
pub(super) fn connector(project: Project) -> Connect {
    Arc::new(move || connect::ensure(&project).map_err(|failure| call_error(&failure)))
}

fn call_error(failure: &Failure) -> CallError {
    let error = CallError::new(Code::Failed, failure.message());
    match failure.remedy() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
