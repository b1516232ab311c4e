//! The lines of one file with their offsets, in constant memory whatever the file holds.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use ostk_disk::fs::File;
use ostk_log::MAX_LINE;

const BUFFER_BYTES: usize = 256 << 10;

/// One line as found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Where it begins in its file.
    pub(crate) offset: u64,
    /// Without its newline; cut to [`MAX_LINE`] bytes, which no record has.
    pub(crate) bytes: &'a [u8],
    /// With its newline.
    pub(crate) raw: &'a [u8],
    /// Whether it ended with a newline, not with the file.
    pub(crate) whole: bool,
}

/// Reads a file line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    reader: BufReader<File>,
    offset: u64,
    start: u64,
    line: Vec<u8>,
    whole: bool,
}

impl Lines {
    /// Begins at the file's position, which is `offset`.
    pub(crate) fn new(file: File, offset: u64) -> Self {
        Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, file),
            offset,
            start: offset,
            line: Vec::new(),
            whole: false,
        }
    }

    /// Begins at `offset` of the file.
    pub(crate) fn at(mut file: File, offset: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self::new(file, offset))
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line, `None` at the end of the file.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        Ok(if self.advance()? { Some(self.line()) } else { None })
    }

    /// Reads the next line; `false` at the end of the file.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.start = self.offset;
        self.line.clear();
        let read = (&mut self.reader).take(MAX_LINE as u64).read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        self.whole = self.line.ends_with(b"\n");
        if !self.whole && read == MAX_LINE {
            self.whole = self.skip_line()?;
        }
        Ok(read > 0)
    }

    /// The line read last.
    pub(crate) fn line(&self) -> Line<'_> {
        let (raw, offset) = (self.line.as_slice(), self.start);
        Line { offset, bytes: raw.strip_suffix(b"\n").unwrap_or(raw), raw, whole: self.whole }
    }

    /// Moves behind the next newline; `false` if the file ends first.
    fn skip_line(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let found = memchr::memchr(b'\n', buffer);
            let used = found.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(used);
            self.offset += used as u64;
            if found.is_some() || used == 0 {
                return Ok(found.is_some());
            }
        }
    }
}
