//! A command line, as any agent may send one.
//!
//! The survey may neither panic nor take long, whatever the text; its findings are bounded, and what it cannot read
//! is a finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ostk_policy::{Danger, survey};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = survey(text);
    let dangers = found.dangers();
    assert!(dangers.len() <= 32);
    let said = dangers.iter().any(|finding| finding.danger == Danger::Unreadable);
    assert_eq!(said, found.unreadable().is_some());
});
