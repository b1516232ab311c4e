//! Lines of the socket: one frame each, read against a deadline. A frame that is half there when the deadline passes
//! stays and is finished by the next read.

use std::{
    io::{self, BufRead, BufReader},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// Longest line a daemon may send; a file of the largest size, escaped, fits.
pub(crate) const MAX_LINE: usize = 140 * 1024 * 1024;
/// A socket's shortest timeout: zero would mean none.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// The reading end of a connection.
#[derive(Debug)]
pub(crate) struct Frames {
    reader: BufReader<UnixStream>,
    partial: Vec<u8>,
    max_line: usize,
}

impl Frames {
    pub(crate) fn new(stream: UnixStream, max_line: usize) -> Self {
        Self { reader: BufReader::new(stream), partial: Vec::new(), max_line }
    }

    /// The next line with its newline. `WouldBlock` or `TimedOut` when the deadline passes, `UnexpectedEof` when the
    /// connection ended, `InvalidData` when the line is too long: after that the connection is of no use.
    pub(crate) fn next(&mut self, deadline: Instant) -> io::Result<Vec<u8>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(MIN_WAIT);
            self.reader.get_ref().set_read_timeout(Some(left))?;
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(chunk.len(), |end| end + 1);
            self.partial.extend(chunk.iter().take(taken));
            self.reader.consume(taken);
            if self.partial.len() > self.max_line {
                let what = format!("a line is longer than {} bytes", self.max_line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            if end.is_some() {
                return Ok(std::mem::take(&mut self.partial));
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

/// Whether nothing came in time, as opposed to a broken connection.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
