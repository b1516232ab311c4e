//! Asking a person at the terminal for a secret: nothing is echoed, and after 30 seconds the question is withdrawn.

use std::{
    io::{IsTerminal, Write, stderr, stdin},
    time::{Duration, Instant},
};

use ostk_keys::secrets::MAX_SECRET_BYTES;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};

use crate::failure::Failure;

const DEADLINE: Duration = Duration::from_secs(30);
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const BACKSPACE: [u8; 2] = [8, 127];

/// The terminal as it was before the question; put back when dropped.
struct Echoless(Termios);

impl Echoless {
    fn new() -> Result<Self, Failure> {
        let before = tcgetattr(stdin()).map_err(std::io::Error::from)?;
        let mut silent = before.clone();
        // Keys one by one, those that would end the process too: it must put the terminal back.
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(stdin(), OptionalActions::Flush, &silent).map_err(std::io::Error::from)?;
        Ok(Self(before))
    }
}

impl Drop for Echoless {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
        let _ = writeln!(stderr());
    }
}

/// What the person types until Enter.
///
/// # Errors
/// Without a terminal, after the deadline, and when the person interrupts.
pub(super) fn ask(question: &str) -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return Err(
            Failure::usage("there is no terminal to ask at").hint("ostk secret set NAME --value VALUE")
        );
    }
    let _silent = Echoless::new()?;
    write!(stderr(), "{question}")?;
    let (deadline, mut typed) = (Instant::now() + DEADLINE, Vec::new());
    loop {
        match key(deadline)? {
            b'\r' | b'\n' => break,
            INTERRUPT | END => return Err(Failure::check("interrupted; nothing was kept")),
            erase if BACKSPACE.contains(&erase) => erase_character(&mut typed),
            key => typed.push(key),
        }
        if typed.len() > MAX_SECRET_BYTES {
            return Err(Failure::usage(format!("a secret has at most {MAX_SECRET_BYTES} bytes")));
        }
    }
    String::from_utf8(typed).map_err(|_| Failure::usage("what was typed is not UTF-8"))
}

/// Takes the last character away, with all its bytes.
fn erase_character(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

fn key(deadline: Instant) -> Result<u8, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).ok();
    let stdin = stdin();
    let ready =
        poll(&mut [PollFd::new(&stdin, PollFlags::IN)], left.as_ref()).map_err(std::io::Error::from)?;
    if ready == 0 {
        let what = format!("no answer within {} s; nothing was kept", DEADLINE.as_secs());
        return Err(Failure::deadline(what));
    }
    let mut byte = [0];
    match rustix::io::read(&stdin, &mut byte).map_err(std::io::Error::from)? {
        0 => Ok(END),
        _ => Ok(byte[0]),
    }
}
