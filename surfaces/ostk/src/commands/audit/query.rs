//! `ostk audit query`, `tail`, `export`: records on standard output. With `--json` each line is a record as it stands
//! in the log, byte for byte, so that its hash and its signature still hold.

use std::{
    collections::VecDeque,
    io::{BufWriter, Write},
    process::ExitCode,
    time::Duration,
};

use libostk::Entry;

use super::{super::Done, filter::Filter};
use crate::{args::Query, connect, failure::Failure, output::Output, record};

/// Records that `tail` shows of what was there before.
const BEFORE: u64 = 20;
/// How long one look at the log waits; nothing depends on it.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn query(query: &Query, output: &Output) -> Done {
    let mut filter = Filter::new(query)?;
    let mut printer = Printer::new(output);
    let mut last = VecDeque::new();
    for entry in libostk::records(&connect::project()?.state_dir())? {
        let entry = entry?;
        if !filter.matches(&entry)? {
            continue;
        }
        let Some(limit) = query.last else {
            if !printer.print(&entry)? {
                return Ok(ExitCode::SUCCESS);
            }
            continue;
        };
        last.push_back(entry);
        if last.len() > limit {
            last.pop_front();
        }
    }
    for entry in last {
        if !printer.print(&entry)? {
            break;
        }
    }
    printer.finish(query.last != Some(0))
}

pub(crate) fn tail(follow: bool, from: Option<u64>, output: &Output) -> Done {
    let state_dir = connect::project()?.state_dir();
    let published = libostk::published(&state_dir).map_or(0, |checkpoint| checkpoint.size);
    let from = from.unwrap_or_else(|| published.saturating_sub(BEFORE));
    let mut printer = Printer::new(output);
    if !follow {
        for entry in libostk::records_from(&state_dir, from)? {
            if !printer.print(&entry?)? {
                break;
            }
        }
        return printer.finish(false);
    }
    let mut tail = libostk::tail(&state_dir, from);
    loop {
        let wait = if tail.next_seq() < published { Duration::ZERO } else { LOOK };
        let next = tail.next(wait)?;
        let goes_on = match next {
            Some(entry) => printer.print(&entry)?,
            None => true,
        };
        if !goes_on || !printer.flush() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

pub(crate) fn export(output: &Output) -> Done {
    let mut printer = Printer { json: true, ..Printer::new(output) };
    for entry in libostk::records(&connect::project()?.state_dir())? {
        if !printer.print(&entry?)? {
            break;
        }
    }
    printer.finish(false)
}

/// Prints records until the reader goes away.
struct Printer<'a> {
    out: BufWriter<std::io::StdoutLock<'static>>,
    output: &'a Output,
    json: bool,
    printed: u64,
}

impl<'a> Printer<'a> {
    fn new(output: &'a Output) -> Self {
        let out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
        Self { out, output, json: output.is_json(), printed: 0 }
    }

    /// Prints a record; false when nobody reads any more (`| head`), which is no error.
    fn print(&mut self, entry: &Entry) -> Result<bool, Failure> {
        self.printed += 1;
        let written = if self.json {
            self.out.write_all(&entry.line).and_then(|()| self.out.write_all(b"\n"))
        } else {
            let line = record::line(self.output, &record::parse(entry)?);
            writeln!(self.out, "{line}")
        };
        Ok(written.is_ok())
    }

    fn flush(&mut self) -> bool {
        self.out.flush().is_ok()
    }

    fn finish(mut self, say_none: bool) -> Done {
        if self.printed == 0 && say_none && !self.json {
            let _ = writeln!(self.out, "no record matches");
        }
        self.flush();
        Ok(ExitCode::SUCCESS)
    }
}
