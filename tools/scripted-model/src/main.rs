//! `scripted-model SCRIPT.json`: serves a script until it is killed.
//!
//! Prints one line of JSON with the addresses to put into `ANTHROPIC_BASE_URL` and `OPENAI_BASE_URL`, then nothing.
//! The script's format is in the documentation of the library.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use scripted_model::{Options, Script, ScriptedModel};

/// Serve a scripted model on the Anthropic and OpenAI wires.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The script, as JSON.
    script: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Append each request to this file, one line of JSON each, without credentials.
    #[arg(long)]
    log: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let script = Script::load(&arguments.script)?;
    let options = Options { listen: arguments.listen, log: arguments.log };
    let server = ScriptedModel::start_with(script, &options)?;
    let addresses = serde_json::json!({
        "base_url": server.base_url(),
        "openai_base_url": server.openai_base_url(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{addresses}")?;
    out.flush()?;
    drop(out);
    server.wait();
    Ok(())
}
