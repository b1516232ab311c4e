//! Container engines, clusters, git and terminal multiplexers: the commands that they start for their caller.
//!
//! Each takes a command in a form of its own. The other half of `wrappers`, which calls them.

use super::{
    Simple,
    word::{Word, join},
    wrappers::{Inner, derive, operands, text_of, value_of},
};

/// `docker run … image command…`, `docker exec … container command…`.
pub(super) fn container(simple: &Simple) -> Vec<Inner> {
    const SHORT: &str = "aecfhlmpuvwH";
    const LONG: [&str; 34] = [
        "add-host",
        "attach",
        "cap-add",
        "cap-drop",
        "cidfile",
        "cpus",
        "device",
        "dns",
        "entrypoint",
        "env",
        "env-file",
        "expose",
        "file",
        "gpus",
        "group-add",
        "hostname",
        "ip",
        "label",
        "link",
        "log-driver",
        "memory",
        "mount",
        "name",
        "net",
        "network",
        "pid",
        "platform",
        "publish",
        "pull",
        "restart",
        "security-opt",
        "user",
        "volume",
        "workdir",
    ];
    let global =
        operands(simple.args(), "cHlf", &["context", "host", "config", "log-level", "file", "project-name"]);
    let mut rest = global;
    if rest.first().is_some_and(|word| matches!(word.as_str(), "compose" | "container")) {
        rest = operands(
            rest.get(1..).unwrap_or_default(),
            "fp",
            &["file", "project-name", "profile", "env-file"],
        );
    }
    let Some((verb, rest)) = rest.split_first() else { return Vec::new() };
    if !matches!(verb.as_str(), "run" | "exec" | "create") {
        return Vec::new();
    }
    let entry = value_of(rest, &["--entrypoint"]);
    let command = operands(rest, SHORT, &LONG).get(1..).unwrap_or_default();
    let words: Vec<Word> = entry.into_iter().chain(command.iter().cloned()).collect();
    if words.is_empty() { Vec::new() } else { vec![Inner::Command(derive(simple, words, Vec::new()))] }
}

/// `kubectl exec pod -- command…`.
pub(super) fn after_dashes(simple: &Simple) -> Vec<Inner> {
    let mut parts = simple.args().splitn(2, |word| word.as_str() == "--");
    let words = parts.nth(1).unwrap_or_default().to_vec();
    if words.is_empty() { Vec::new() } else { vec![Inner::Command(derive(simple, words, Vec::new()))] }
}

/// The commands that git runs for `bisect run`, `submodule foreach`, `rebase --exec` and aliases that begin with `!`.
pub(super) fn git(simple: &Simple) -> Vec<Inner> {
    let args = simple.args();
    let mut found: Vec<Inner> = Vec::new();
    let exec = value_of(args, &["--exec", "-x"]).filter(|_| simple.texts().any(|text| text == "rebase"));
    found.extend(exec.map(|text| Inner::Text { by: simple.show(), text, here: false }));
    let filter = value_of(args, &["--tree-filter", "--index-filter", "--msg-filter", "--env-filter"]);
    found.extend(filter.map(|text| Inner::Text { by: simple.show(), text, here: false }));
    for (at, pair) in args.windows(2).enumerate() {
        let [first, second] = pair else { continue };
        let rest = || args.get(at + 2..).unwrap_or_default().to_vec();
        match (first.as_str(), second.as_str()) {
            ("bisect", "run") => found.push(Inner::Command(derive(simple, rest(), Vec::new()))),
            ("submodule", "foreach") => {
                let words = rest();
                let text = join(operands(&words, "", &[]));
                found.push(Inner::Text { by: simple.show(), text, here: false });
            }
            ("-c", setting) => {
                let value = setting.split_once('=').map(|(_, value)| value.trim_start_matches('!'));
                let shell = setting.contains("=!");
                found.extend(value.filter(|_| shell).map(|value| text_of(simple, &Word::new(value))));
            }
            _ => {}
        }
    }
    found
}

/// What a terminal multiplexer is told to start.
pub(super) fn terminal(simple: &Simple) -> Vec<Inner> {
    let args = simple.args();
    let starts = [
        "new-session",
        "new",
        "new-window",
        "neww",
        "split-window",
        "splitw",
        "run-shell",
        "run",
        "respawn-pane",
    ];
    let Some(at) = args.iter().position(|word| starts.contains(&word.as_str())) else {
        let screen = simple.program() == "screen";
        let words = if screen { operands(args, "SpXchtT", &[]) } else { &[] };
        return if words.is_empty() {
            Vec::new()
        } else {
            vec![Inner::Command(derive(simple, words.to_vec(), Vec::new()))]
        };
    };
    let words = operands(args.get(at + 1..).unwrap_or_default(), "sntcFxye", &[]);
    if words.is_empty() { Vec::new() } else { vec![text_of(simple, &join(words))] }
}
