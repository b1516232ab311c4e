//! `escape attempt ROW FACT=VALUE…`: what runs inside the sandbox. And `escape outsider`: what an attempt must not touch.
//!
//! An attempt says that it began and how it ended, so that a row whose attempt never ran is not taken for stopped.
//! Whether it succeeded is not asked here: `judge.rs` looks for itself.

use std::{
    io::{self, BufRead as _, Write as _},
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    row::{Program, Row},
    rows,
};

/// The variable by which the judge knows an attempt's processes.
pub(crate) const NONCE: &str = "ESCAPE_NONCE";
/// Debian's Python rather than the first in the path: a version manager's takes a tenth of a second to find one.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// The first and the last line that an attempt prints.
pub(crate) fn begins(row: &str) -> String {
    format!("attempt {row} begins")
}

/// The beginning of the last line.
pub(crate) fn ends(row: &str) -> String {
    format!("attempt {row} ends: ")
}

/// The program of a row, with the facts, for `program` to run.
pub(crate) fn command(row: &Row, facts: &[(String, String)]) -> Command {
    let mut command = match row.program {
        Program::Shell(text) | Program::Client(text) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &rows::git::expanded(text)]);
            shell
        }
        Program::Python(text) => {
            let mut python = Command::new(PYTHON);
            python.args(["-c", &python_text(text, facts)]);
            python
        }
    };
    for (name, value) in facts {
        command.env(name, value);
        if name == "NONCE" {
            command.env(NONCE, value);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn python_text(text: &str, facts: &[(String, String)]) -> String {
    let literal = |value: &str| match value.parse::<u64>() {
        Ok(number) => number.to_string(),
        Err(_) => format!("{value:?}"),
    };
    let facts: String = facts.iter().map(|(name, value)| format!("{name} = {}\n", literal(value))).collect();
    let body: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "{facts}{}TMPDIR = os.environ.get('TMPDIR', '/tmp')\ntry:\n{body}except Exception as problem:\n    print('refused:', problem, flush=True)\n",
        include_str!("prelude.py")
    )
}

/// Runs the attempt of a row.
#[expect(clippy::print_stdout, reason = "its output is the proof that it ran")]
pub fn run(id: &str, facts: &[String]) -> Result<ExitCode> {
    let row = rows::named(id).with_context(|| format!("no row {id:?}"))?;
    let facts: Vec<(String, String)> = facts
        .iter()
        .map(|fact| fact.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .context("a fact has the form NAME=VALUE")?;
    println!("{}", begins(id));
    io::stdout().flush()?;
    let status = command(row, &facts).status();
    let code = status.as_ref().ok().and_then(std::process::ExitStatus::code).unwrap_or(-1);
    println!("\n{}{code}", ends(id));
    Ok(ExitCode::SUCCESS)
}

/// A process that nobody should touch. It is told a secret on standard input, prints where that and eight bytes to be
/// written lie in its memory, and says when those change. It ends with its input.
#[expect(clippy::print_stdout, reason = "the judge reads it")]
pub fn outsider(file: &std::path::Path) -> Result<ExitCode> {
    let _held = std::fs::File::open(file)?;
    let mut secret = String::new();
    if io::stdin().lock().read_line(&mut secret)? == 0 {
        bail!("no secret");
    }
    let target: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
    println!("{} {}", std::ptr::from_ref(target).addr(), secret.as_ptr().addr());
    io::stdout().flush()?;
    thread::spawn(move || {
        loop {
            if target.load(Ordering::Relaxed) != 0 {
                println!("written");
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut rest = String::new();
    io::stdin().lock().read_line(&mut rest)?;
    // Kept until here.
    drop(secret);
    Ok(ExitCode::SUCCESS)
}
