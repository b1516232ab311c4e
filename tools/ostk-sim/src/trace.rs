//! Everything that happened, as one number, so that two runs of a seed can be compared; and as text for who asks.

use std::fmt::{self, Write};

/// FNV-1a, 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// A running digest of the lines.
#[derive(Debug)]
pub(crate) struct Trace {
    digest: u64,
    shown: bool,
    line: String,
}

impl Trace {
    pub(crate) fn new(shown: bool) -> Self {
        Self { digest: BASIS, shown, line: String::new() }
    }

    #[expect(clippy::print_stdout, reason = "the trace was asked for")]
    pub(crate) fn line(&mut self, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = self.line.write_fmt(what);
        for byte in self.line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(PRIME);
        }
        if self.shown {
            println!("{}", self.line);
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}
