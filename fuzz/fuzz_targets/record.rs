//! A line of the log, as a torn disk or a forger leaves it.
//!
//! `Header::scan` reads the envelope without building a value, `Record::parse` reads all of it. Neither may panic; what
//! the strict one accepts the fast one accepts too, and both read the same envelope.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ostk_log::{ChainVerifier, Depth, Header, Record};

fuzz_target!(|line: &[u8]| {
    let scanned = Header::scan(line);
    if let Ok(record) = Record::parse(line) {
        let header = scanned.expect("a line that parses also scans");
        assert_eq!(record.seq, header.seq);
        assert_eq!(record.event, header.event);
        assert_eq!(record.actor, header.actor);
    }
    let _ = Record::verify_signature(line);
    let _ = ChainVerifier::new(Depth::Signatures).push(0, line);
});
