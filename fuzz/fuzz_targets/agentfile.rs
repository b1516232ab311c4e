//! An Agentfile from a repository that nobody vouches for.
//!
//! Parsing may not panic, whether its variables are set or not, and refuses with at least one stated mistake.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ostk_agent::Agentfile;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let unset = |_: &str| None;
    let set = |name: &str| Some(format!("${{{name}}}"));
    for lookup in [&unset as &dyn Fn(&str) -> Option<String>, &set] {
        if let Err(mistakes) = Agentfile::parse(text, lookup) {
            assert!(!mistakes.is_empty(), "refused without a reason");
        }
    }
});
