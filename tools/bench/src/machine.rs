//! What the figures were measured on: processor, kernel, compiler, load and date, as `/proc` and `rustc` tell.
//!
//! A figure without its machine says little, and one from a loaded machine says less: the load average is recorded
//! before and after. What cannot be found out is the word `unknown`.

use std::{fs, process::Command, thread};

use serde::Serialize;

/// A machine and a moment.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory: String,
    kernel: String,
    rustc: String,
    date: String,
    pub(crate) load: String,
}

pub(crate) fn describe() -> Machine {
    let unknown = || "unknown".to_owned();
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.and_then(|output| String::from_utf8(output.stdout).ok());
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        cores: thread::available_parallelism().map_or(0, usize::from),
        memory: field("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
        rustc: rustc.map_or_else(unknown, |version| version.trim().to_owned()),
        date: jiff::Timestamp::now().to_string(),
        load: load(),
    }
}

/// The load average over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    let line = text("/proc/loadavg").unwrap_or_default();
    line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The value of the first `name: value` line of a file of `/proc`.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
