//! A workspace to break out of, and shell commands that try.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use ostk_sandbox::{Namespaces, Outcome, Probe, Protection, Sandbox, Spec, probe};

/// A temporary place with a workspace `w`, a directory `outside` beside it, and scratch in `w/.ostk/run/scratch`.
pub(crate) struct Yard {
    _place: tempfile::TempDir,
    pub(crate) workspace: PathBuf,
    pub(crate) outside: PathBuf,
}

/// What a command may not change.
const PROTECTED: [&str; 4] = [".ostk", ".git/hooks", ".git/config", "HUMANFILE"];

impl Yard {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(place.path()).unwrap();
        let (workspace, outside) = (real.join("w"), real.join("outside"));
        for directory in [workspace.join(".ostk/pins"), workspace.join("src"), outside.clone()] {
            fs::create_dir_all(directory).unwrap();
        }
        let git =
            std::process::Command::new("git").args(["init", "--quiet"]).arg(&workspace).status().unwrap();
        assert!(git.success());
        for (file, text) in [
            (".ostk/journal.jsonl", "{}\n"),
            (".git/hooks/pre-commit", "#!/bin/sh\ntrue\n"),
            ("HUMANFILE", "USER ada\n"),
            ("src/main.rs", "fn main() {}\n"),
            ("../outside/file", "outside\n"),
        ] {
            fs::write(workspace.join(file), text).unwrap();
        }
        Self { _place: place, workspace, outside }
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.workspace.join(".ostk/run/scratch")
    }

    /// A shell command in the workspace, which it may write, but for what is protected.
    pub(crate) fn shell(&self, script: &str) -> Spec {
        let mut spec = Spec::new(["/bin/sh", "-c", script], &self.workspace, self.scratch());
        spec.env.insert("PATH".into(), std::env::var_os("PATH").unwrap());
        spec.writable = vec![self.workspace.clone()];
        spec.protected = PROTECTED.iter().map(|path| self.workspace.join(path)).collect();
        spec
    }

    /// The contents of everything below some paths of the workspace.
    pub(crate) fn contents(&self, paths: &[&str]) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        paths.iter().for_each(|path| collect(&self.workspace.join(path), &mut found));
        found
    }

    /// The contents of everything that a command may not change.
    pub(crate) fn guarded(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut found = BTreeMap::new();
        for path in PROTECTED.iter().map(|path| self.workspace.join(path)).chain([self.outside.clone()]) {
            collect(&path, &mut found);
        }
        let scratch = self.workspace.join(".ostk/run");
        found.retain(|path, _| !path.starts_with(&scratch));
        found
    }
}

fn collect(path: &Path, found: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    // A pipe would make the reader wait.
    found.insert(path.to_owned(), path.is_file().then(|| fs::read(path).unwrap()));
    for entry in fs::read_dir(path).into_iter().flatten() {
        collect(&entry.unwrap().path(), found);
    }
}

/// A sandbox for each way of containment that this machine offers: with every namespace, without the newer ones, and
/// with none.
pub(crate) fn every_way() -> Vec<(Protection, Sandbox)> {
    let machine = probe();
    let with = |namespaces| Probe { namespaces, ..machine.clone() };
    let mut ways = vec![with(Namespaces::Unavailable), machine.clone()];
    // A machine that offers the privileged way offers the other to root as well, if user namespaces are on.
    if machine.namespaces == Namespaces::Privileged && user_namespaces_work() {
        ways.push(with(Namespaces::User));
    }
    ways.push(Probe { processes: false, networks: false, ..machine.clone() });
    ways.into_iter().map(|probe| (probe.protection(), Sandbox::new(probe))).collect()
}

fn user_namespaces_work() -> bool {
    let unshare =
        std::process::Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    unshare.is_ok_and(|status| status.success())
}

pub(crate) fn text(output: &ostk_sandbox::Output) -> String {
    String::from_utf8(output.to_bytes()).unwrap()
}

/// Both streams, for the message of a failed assertion.
pub(crate) fn said(outcome: &Outcome) -> String {
    format!("{:?} {}{}", outcome.exit, text(&outcome.stdout), text(&outcome.stderr))
}
