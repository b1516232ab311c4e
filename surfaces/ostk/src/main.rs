//! The ostk binary: argument parsing and printing, nothing else.
//!
//! `args` says what can be asked, `commands` asks the daemon or the log, `output` prints. What a command does is done
//! by the kernel; this crate decides nothing.

#![allow(clippy::indexing_slicing, reason = "JSON is read by name, and a member that is missing is null")]

mod args;
mod commands;
mod connect;
mod failure;
mod git;
mod output;
mod person;
mod record;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse_from(args::with_signals(std::env::args_os()));
    let output = output::Output::new(args.json, args.color);
    connect::choose(args.stack);
    match commands::run(args.command, &output) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}
