//! Looks at an attempt's processes from outside while they run: what they hold, how many they are, what is left.
//!
//! They are known by a random word in their environment, which children inherit. `escape attempt` itself, inside the
//! sandbox, has the word in its arguments: it is what the others are compared with, because a contender may well give it
//! namespaces of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::attempt::NONCE;

/// An attempt holds what it got for longer than that.
const LOOK: Duration = Duration::from_millis(25);
/// How long the processes of an attempt may take to go after its end.
const GRACE: Duration = Duration::from_millis(300);
/// The kinds of namespaces that are compared.
const NAMESPACES: [&str; 5] = ["user", "mnt", "net", "ipc", "uts"];

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What its processes held; `row.rs` says how a row names it.
    pub(crate) held: BTreeSet<String>,
    pub(crate) most_processes: usize,
    pub(crate) most_memory_kib: u64,
    /// Something was done to the process outside.
    pub(crate) outsider: BTreeSet<String>,
}

/// A look at the attempt's processes again and again.
#[derive(Debug)]
pub(crate) struct Watch {
    marker: String,
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn new(nonce: &str, outsider: u32, key: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let marker = format!("{NONCE}={nonce}");
        let thread = {
            let (over, seen, nonce, marker) =
                (Arc::clone(&over), Arc::clone(&seen), nonce.to_owned(), marker.clone());
            thread::spawn(move || {
                let mut first = BTreeMap::new();
                while !over.load(Ordering::Relaxed) {
                    let mut now = look(&nonce, &marker, key, &mut first);
                    now.outsider.extend(done_to(outsider));
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.held.append(&mut now.held);
                    seen.outsider.append(&mut now.outsider);
                    seen.most_processes = seen.most_processes.max(now.most_processes);
                    seen.most_memory_kib = seen.most_memory_kib.max(now.most_memory_kib);
                    drop(seen);
                    thread::sleep(LOOK);
                }
            })
        };
        Self { marker, over, seen, thread: Some(thread) }
    }

    /// Stops looking; the processes that are still there are ended, and their names returned.
    pub(crate) fn end(mut self) -> (Seen, Vec<String>) {
        let over = Instant::now() + GRACE;
        while !processes(&self.marker).is_empty() && Instant::now() < over {
            thread::sleep(LOOK);
        }
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let left = processes(&self.marker);
        let names = left.iter().map(|pid| format!("{pid} {}", text(*pid, "comm").trim())).collect();
        for pid in left {
            if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        (self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone(), names)
    }
}

fn text(pid: u32, name: &str) -> String {
    fs::read(format!("/proc/{pid}/{name}"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn processes(marker: &str) -> Vec<u32> {
    all()
        .into_iter()
        .filter(|pid| text(*pid, "environ").contains(marker) && !text(*pid, "stat").contains(") Z "))
        .collect()
}

fn look(nonce: &str, marker: &str, key: u32, first: &mut BTreeMap<String, String>) -> Seen {
    let mut seen = Seen::default();
    let processes = processes(marker);
    if first.is_empty() {
        *first = baseline(nonce);
    }
    seen.most_processes = processes.len();
    for pid in &processes {
        seen.most_memory_kib += field(*pid, "RssAnon:").parse::<u64>().unwrap_or(0);
        if field(*pid, "NoNewPrivs:") == "0" {
            seen.held.insert("new-privileges".to_owned());
        }
        descriptors(*pid, &mut seen.held);
        let other = traits(*pid).into_iter().filter(|(name, value)| {
            first.get(name).is_some_and(|of_first| of_first != value && !value.is_empty())
        });
        let other: Vec<String> = other.map(|(name, _)| name).collect();
        // One that ended meanwhile has left its memory and then its control groups.
        if text(*pid, "environ").contains(marker) {
            seen.held.extend(other);
        }
    }
    if text_of("/proc/keys").contains(nonce) {
        seen.held.insert("keys".to_owned());
    }
    let has_key = |line: &str| line.split_whitespace().next() == Some(&key.to_string());
    if text_of("/proc/sysvipc/shm").lines().any(has_key) {
        seen.held.insert("system-v".to_owned());
    }
    seen
}

/// Of `escape attempt`, once it is there.
fn baseline(nonce: &str) -> BTreeMap<String, String> {
    let is_first = |pid: &u32| {
        let line = text(*pid, "cmdline");
        let mut words = line.split('\0');
        let program = words.next().unwrap_or_default();
        program.ends_with("escape") && words.next() == Some("attempt") && line.contains(nonce)
    };
    all().into_iter().find(is_first).map(traits).unwrap_or_default()
}

/// What a process shares with the others of its sandbox.
fn traits(pid: u32) -> BTreeMap<String, String> {
    let link = |name: &str| {
        fs::read_link(format!("/proc/{pid}/{name}")).map(|to| to.display().to_string()).unwrap_or_default()
    };
    let mut traits: BTreeMap<_, _> =
        NAMESPACES.iter().map(|kind| (format!("ns:{kind}"), link(&format!("ns/{kind}")))).collect();
    traits.insert("root".to_owned(), link("root"));
    traits.insert("cgroup".to_owned(), text(pid, "cgroup"));
    traits
}

fn field(pid: u32, name: &str) -> String {
    let status = text(pid, "status");
    let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    value.trim().trim_end_matches(" kB").to_owned()
}

fn text_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Open files that only the kernel gives: anonymous ones, devices, its own settings when they are open for writing, and
/// sockets of a kind that is listed.
fn descriptors(pid: u32, held: &mut BTreeSet<String>) {
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(to) = fs::read_link(entry.path()) else { continue };
        let to = to.display().to_string();
        let written = || {
            let info = text_of(&format!("/proc/{pid}/fdinfo/{}", entry.file_name().display()));
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim);
            flags.is_some_and(|flags| !flags.ends_with('0'))
        };
        let settings = to.starts_with("/proc/sys") || to.starts_with("/sys/");
        if let Some(inode) = to.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            held.extend(socket_kind(inode));
        } else if (!settings || written()) && !covered(&entry.path(), &to) {
            if is_disk(&entry.path()) {
                held.insert("device".to_owned());
            }
            held.insert(format!("fd:{to}"));
        }
    }
}

/// Whether something else was mounted over the file that is open, such as an empty device.
fn covered(path: &Path, to: &str) -> bool {
    to.starts_with("/etc/") && !fs::metadata(path).is_ok_and(|there| there.is_file())
}

fn is_disk(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    fs::metadata(path).is_ok_and(|there| there.file_type().is_block_device())
}

/// The table in which the kernel lists a socket, of those that are dangerous. Netlink: the group of device events.
fn socket_kind(inode: &str) -> Option<String> {
    const DEVICE_EVENTS: &str = "15";
    let listed = |table: &str| {
        text_of(&format!("/proc/net/{table}"))
            .lines()
            .any(|line| line.split_whitespace().any(|word| word == inode))
    };
    let events = || {
        text_of("/proc/net/netlink").lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.get(1) == Some(&DEVICE_EVENTS) && words.contains(&inode)
        })
    };
    let table = ["raw", "packet"].into_iter().find(|table| listed(table));
    table.or_else(|| events().then_some("netlink")).map(|table| format!("socket:{table}"))
}

/// What is being done to a process at this moment.
fn done_to(pid: u32) -> Option<String> {
    let state = field(pid, "State:");
    if field(pid, "TracerPid:").parse::<u32>().is_ok_and(|tracer| tracer != 0) {
        return Some("it is traced".to_owned());
    }
    (state.starts_with('T') || state.starts_with('t')).then(|| "it is stopped".to_owned())
}
