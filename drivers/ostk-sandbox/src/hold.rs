//! Holding a command: every process that it has started is stopped, and later goes on.
//!
//! In a process namespace that is every process of the namespace but the first, whatever group or session it has moved
//! to. Without one it is the command's process group.

use std::{collections::BTreeSet, fs, path::PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal};

/// Rounds of looking for processes that were started while the others were being stopped. Each round stops all that
/// could start one, so that two are the rule.
const MAX_ROUNDS: usize = 32;
/// Processes of one command that are looked at; the limits of its sandbox are below.
const MAX_PROCESSES: usize = 65_536;

/// Stops everything under `command` and, in a namespace, under its first process.
pub(crate) fn stop(command: Pid, init: Option<Pid>) {
    let _ = rustix::process::kill_process_group(command, Signal::STOP);
    let mut stopped = BTreeSet::new();
    for _ in 0..MAX_ROUNDS {
        let found = all(command, init);
        let fresh: Vec<i32> = found.difference(&stopped).copied().collect();
        if fresh.is_empty() {
            return;
        }
        for pid in fresh {
            signal(pid, init, Signal::STOP);
            stopped.insert(pid);
        }
    }
}

/// Lets everything go on.
pub(crate) fn resume(command: Pid, init: Option<Pid>) {
    for pid in all(command, init) {
        signal(pid, init, Signal::CONT);
    }
    let _ = rustix::process::kill_process_group(command, Signal::CONT);
}

/// The command's processes, except the first of the namespace. Empty without a namespace: nothing but the group can be
/// told apart from processes that took their numbers.
fn all(command: Pid, init: Option<Pid>) -> BTreeSet<i32> {
    let Some(init) = init else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    let mut next = vec![command.as_raw_nonzero().get(), init.as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        if found.len() < MAX_PROCESSES && found.insert(pid) {
            next.extend(children(pid));
        }
    }
    found.remove(&init.as_raw_nonzero().get());
    found
}

/// Children of all threads of a process.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Signals a process of the namespace. Its number may have gone to another process since it was listed: the descriptor is
/// opened first, so that it names whoever is then looked at, or somebody who has ended.
fn signal(pid: i32, init: Option<Pid>, signal: Signal) {
    let Some(named) = Pid::from_raw(pid) else { return };
    let Ok(process) = rustix::process::pidfd_open(named, PidfdFlags::empty()) else { return };
    if init.is_some_and(|init| {
        namespace(pid).is_some() && namespace(pid) == namespace(init.as_raw_nonzero().get())
    }) {
        let _ = rustix::process::pidfd_send_signal(&process, signal);
    }
}

fn namespace(pid: i32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}
