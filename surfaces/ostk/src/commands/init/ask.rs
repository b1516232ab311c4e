//! The questions of `ostk init`: one line each at a terminal, and the default wherever nobody can or will answer.
//!
//! Nothing here waits for ever: without a terminal nothing is asked, the end of the input takes every default that is
//! left, and so does a person who has gone.

use std::{
    io::{IsTerminal, Write, stderr, stdin},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;

/// A person who has not answered by then has gone; the defaults are what `--yes` takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often an answer that does not fit is asked for again.
const MAX_TRIES: usize = 5;
/// Longest line that is taken as an answer, in bytes.
const MAX_ANSWER: usize = 1_024;

/// Whom to ask.
pub(super) struct Asker {
    /// Why nobody is asked, if so.
    silent: Option<&'static str>,
}

impl Asker {
    /// Asks at the terminal, unless `yes` or `json` says that a script runs this or there is no terminal.
    pub(super) fn new(yes: bool, json: bool) -> Self {
        let silent = match (yes, json) {
            (true, _) => Some("--yes"),
            (_, true) => Some("--json"),
            _ if !stdin().is_terminal() || !stderr().is_terminal() => Some("there is no terminal to ask at"),
            _ => None,
        };
        Self { silent }
    }

    /// Why the defaults were taken, when they were.
    pub(super) const fn silent(&self) -> Option<&'static str> {
        self.silent
    }

    /// The flag's value if there is one, else what the person answers, else the default. What `check` refuses is asked
    /// for again, and refused when nobody can be asked.
    pub(super) fn answer<T>(
        &mut self,
        question: &str,
        flag: Option<&str>,
        default: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        if let Some(given) = flag {
            return check(given).map_err(|why| Failure::usage(format!("{question}: {why}")));
        }
        for _ in 0..MAX_TRIES {
            let Some(typed) = self.line(question, default)? else { break };
            match check(if typed.is_empty() { default } else { &typed }) {
                Ok(answer) => return Ok(answer),
                Err(why) => writeln!(stderr(), "  {why}")?,
            }
        }
        check(default).map_err(Failure::usage)
    }

    /// A line that is typed; `None` when nobody answers.
    fn line(&mut self, question: &str, default: &str) -> Result<Option<String>, Failure> {
        if self.silent.is_some() {
            return Ok(None);
        }
        write!(stderr(), "{question} [{default}]: ")?;
        let (deadline, mut typed) = (Instant::now() + PATIENCE, Vec::new());
        while typed.last() != Some(&b'\n') && typed.len() < MAX_ANSWER {
            let mut piece = [0; 256];
            let count = if is_ready(deadline)? { rustix::io::read(stdin(), &mut piece)? } else { 0 };
            if count == 0 {
                self.silent = Some("nobody answered");
                writeln!(stderr())?;
                return Ok(None);
            }
            typed.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        Ok(Some(String::from_utf8_lossy(&typed).trim().to_owned()))
    }
}

/// Whether there is something to read before the deadline.
fn is_ready(deadline: Instant) -> Result<bool, Failure> {
    let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
    let stdin = stdin();
    Ok(poll(&mut [PollFd::new(&stdin, PollFlags::IN)], left.as_ref())? > 0)
}
