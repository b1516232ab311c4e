//! Running a program for what it prints: the operator's secret command, and gpg.
//!
//! It runs in a process group of its own without standard input, its output is bounded and wiped, what it says on
//! standard error goes nowhere (it could hold a secret), and at the deadline the whole group is ended.

use std::{
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use zeroize::Zeroizing;

/// A program that closed its output may take this long to end.
const LEAVE: Duration = Duration::from_secs(1);
const BLINK: Duration = Duration::from_millis(10);

/// Why a program has no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("had not answered after {} s", .0.as_secs())]
    Deadline(Duration),
    #[error("closed its output and had not ended a second later")]
    Lingers,
    #[error("its output cannot be read: {0}")]
    Read(io::Error),
    #[error("printed more than {0} bytes")]
    TooMuch(usize),
}

/// Runs the program and returns how it ended and what it printed, at most `most` bytes.
pub(crate) fn output(
    command: &mut Command,
    deadline: Duration,
    most: usize,
) -> Result<(ExitStatus, Zeroizing<Vec<u8>>), Fault> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(Fault::Start)?;
    let read = child.stdout.take().map(|output| received(output, deadline, most));
    if !matches!(read, Some(Some(_))) {
        end_group(&child);
    }
    let status = ended(&mut child);
    let bytes = read.flatten().ok_or(Fault::Deadline(deadline))?.map_err(Fault::Read)?;
    if bytes.len() > most {
        return Err(Fault::TooMuch(most));
    }
    Ok((status.ok_or(Fault::Lingers)?, bytes))
}

/// What comes before the deadline; `None` when it is not at its end by then.
fn received(
    output: std::process::ChildStdout,
    deadline: Duration,
    most: usize,
) -> Option<io::Result<Zeroizing<Vec<u8>>>> {
    let (sender, done) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::new());
        let read = output.take(most as u64 + 1).read_to_end(&mut bytes);
        let _ = sender.send(read.map(|_| bytes));
    });
    done.recv_timeout(deadline).ok()
}

/// How it ended; one that goes on is ended.
fn ended(child: &mut Child) -> Option<ExitStatus> {
    for _ in 0..LEAVE.as_millis() / BLINK.as_millis() {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(BLINK);
    }
    end_group(child);
    let _ = child.wait();
    None
}

fn end_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}
