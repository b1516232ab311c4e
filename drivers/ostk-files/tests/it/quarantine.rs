//! What a command made and others would obey is moved away, the rest stays, and a person can put it back.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use ostk_files::{Guard, Quarantine, Taken, What};

use crate::common::Fixture;

const HARMLESS: &str = "[core]\n\tbare = false\n";
const EVIL: &str = "[core]\n\tbare = false\n\tfsmonitor = evil\n[user]\n\tname = A\n";

/// A guard over the whole workspace, where nothing was before.
fn guard(quarantine: &Quarantine) -> Guard {
    guard_with(quarantine, &[])
}

fn guard_with(quarantine: &Quarantine, known: &[PathBuf]) -> Guard {
    let mut guard = Guard::default();
    guard.roots = vec![PathBuf::new()];
    guard.names = [".vscode", ".mcp.json", ".git/hooks"].map(PathBuf::from).to_vec();
    quarantine.guard(guard, known)
}

fn swept(fixture: &Fixture) -> Vec<Taken> {
    let quarantine = Quarantine::new(fixture.ws.clone());
    quarantine.sweep(&guard(&quarantine), "w")
}

fn paths(taken: &[Taken]) -> BTreeSet<&str> {
    assert!(taken.iter().all(|taken| taken.problem.is_none()), "{taken:?}");
    taken.iter().map(|taken| taken.path.as_str()).collect()
}

fn is_there(fixture: &Fixture, name: &str) -> bool {
    fs::symlink_metadata(fixture.at(name)).is_ok()
}

/// A repository that git would take for one.
fn repository(fixture: &Fixture, git: &str, settings: &str) {
    for directory in ["objects", "refs"] {
        fs::create_dir_all(fixture.at(git).join(directory)).unwrap();
    }
    fixture.outside(&format!("{git}/HEAD"), "ref: refs/heads/main\n");
    fixture.outside(&format!("{git}/config"), settings);
}

#[test]
fn settings_of_programs_are_taken_at_every_depth_whatever_they_are_made_of() {
    let fixture = Fixture::new();
    fixture.outside("a/b/.vscode/tasks.json", "{}");
    fixture.outside("a/.MCP.json", "{}");
    symlink("a", fixture.at(".vscode")).unwrap();
    fixture.outside("objects/.mcp.json", "{}");
    fixture.outside("a/kept", "x");
    let taken = swept(&fixture);
    assert_eq!(paths(&taken), [".vscode", "a/.MCP.json", "a/b/.vscode", "objects/.mcp.json"].into());
    assert!(is_there(&fixture, "a/kept") && is_there(&fixture, "a/b") && !is_there(&fixture, "a/b/.vscode"));
    assert!(swept(&fixture).is_empty());
}

#[test]
fn what_was_there_before_and_what_tools_fill_is_left_alone() {
    let fixture = Fixture::new();
    fixture.outside("a/.vscode/tasks.json", "{}");
    fixture.outside("node_modules/x/.vscode/tasks.json", "{}");
    repository(&fixture, "a/.git", EVIL);
    fixture.outside("a/.git/hooks/pre-commit", "mine");
    let quarantine = Quarantine::new(fixture.ws.clone());
    let known = ["a/.vscode", "a/.git/config", "a/.git/hooks"].map(|name| fixture.at(name));
    assert_eq!(quarantine.sweep(&guard_with(&quarantine, &known), "w"), []);
}

#[test]
fn a_new_repository_keeps_what_is_harmless_and_loses_hooks_and_programs() {
    let fixture = Fixture::new();
    repository(&fixture, "new/.git", EVIL);
    repository(&fixture, "bare", EVIL);
    repository(&fixture, "good/.git", HARMLESS);
    fixture.outside("new/.git/hooks/pre-commit", "evil");
    fixture.outside("new/.git/hooks/pre-push.sample", "from git");
    fixture.outside("new/.git/config.worktree", EVIL);
    symlink("../..", fixture.at("good/.git/hooks")).unwrap();
    let taken = swept(&fixture);
    let expected = [
        "bare/config",
        "good/.git/hooks",
        "new/.git/config",
        "new/.git/config.worktree",
        "new/.git/hooks/pre-commit",
    ];
    assert_eq!(paths(&taken), expected.into());
    assert_eq!(fixture.bytes("new/.git/config"), b"[core]\n\tbare = false\n[user]\n\tname = A\n");
    assert!(is_there(&fixture, "new/.git/hooks/pre-push.sample"));
    assert!(swept(&fixture).is_empty());
}

#[test]
fn a_repository_that_is_made_in_parts_is_still_one() {
    let fixture = Fixture::new();
    fixture.outside("x/.git/config", EVIL);
    assert_eq!(paths(&swept(&fixture)), ["x/.git/config"].into());
    // Git asks no HEAD of a directory to which `commondir` leads.
    repository(&fixture, "shared", EVIL);
    fs::remove_file(fixture.at("shared/HEAD")).unwrap();
    assert_eq!(paths(&swept(&fixture)), ["shared/config"].into());
}

#[test]
fn a_file_that_leads_git_where_nobody_looks_is_taken() {
    let fixture = Fixture::new();
    repository(&fixture, "node_modules/evil", EVIL);
    repository(&fixture, ".ostk/homes/w/evil", EVIL);
    repository(&fixture, "seen", HARMLESS);
    repository(&fixture, "y/.git", HARMLESS);
    fixture.outside("a/.git", "gitdir: ../node_modules/evil\n");
    fixture.outside("b/.git", "gitdir: ../.ostk/homes/w/evil\n");
    fixture.outside("c/.git", "gitdir: /tmp\n");
    fixture.outside("d/.git", "gitdir: ../seen\n");
    fixture.outside("y/.git/commondir", "../../node_modules/evil\n");
    symlink("../node_modules/evil", fixture.at("seen/.git")).unwrap();
    assert_eq!(
        paths(&swept(&fixture)),
        ["a/.git", "b/.git", "c/.git", "seen/.git", "y/.git/commondir"].into()
    );
}

#[test]
fn commands_of_a_rebase_are_taken_unless_they_were_there() {
    let fixture = Fixture::new();
    repository(&fixture, ".git", HARMLESS);
    let list = ".git/rebase-merge/git-rebase-todo";
    fixture.outside(list, "exec mine\npick 1\n");
    let quarantine = Quarantine::new(fixture.ws.clone());
    let before = guard_with(&quarantine, &[fixture.at(".git/config")]);
    assert_eq!(quarantine.sweep(&before, "w"), []);
    fixture.outside(list, "exec evil\npick 1\n");
    assert_eq!(paths(&quarantine.sweep(&before, "w")), [list].into());
    assert_eq!(fixture.bytes(list), b"# in quarantine: exec evil\npick 1\n\n");
}

#[test]
fn what_was_taken_is_listed_and_comes_back_where_it_was() {
    let fixture = Fixture::new();
    fixture.outside("a/.vscode/tasks.json", "{}");
    repository(&fixture, "new/.git", EVIL);
    let mut taken = swept(&fixture);
    taken.sort_by(|a, b| a.item.cmp(&b.item));
    let quarantine = Quarantine::new(fixture.ws.clone());
    assert_eq!(quarantine.list(), taken);
    assert_eq!(taken.iter().map(|taken| taken.what).collect::<Vec<_>>(), [What::Program, What::Settings]);
    for taken in &taken {
        assert_eq!(quarantine.restore(&taken.item).unwrap().path, taken.path);
    }
    assert_eq!(fixture.bytes("a/.vscode/tasks.json"), b"{}");
    assert_eq!(fixture.bytes("new/.git/config"), EVIL.as_bytes());
    assert_eq!(quarantine.list(), []);
    for wrong in ["w/1", "w", "../x/1", "w/../1", "/1", "w/1/item"] {
        assert!(quarantine.restore(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn something_new_in_its_place_is_not_overwritten_by_what_comes_back() {
    let fixture = Fixture::new();
    fixture.outside(".mcp.json", "old");
    let item = swept(&fixture).remove(0).item;
    fixture.outside(".mcp.json", "new");
    let quarantine = Quarantine::new(fixture.ws.clone());
    assert!(quarantine.restore(&item).unwrap_err().to_string().contains("move it away"));
    assert_eq!(fixture.bytes(".mcp.json"), b"new");
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let fixture = Fixture::new();
    let outside = fixture.outer.path().join("outside");
    fs::create_dir_all(outside.join(".vscode")).unwrap();
    symlink(&outside, fixture.at("link")).unwrap();
    assert_eq!(swept(&fixture), []);
    assert!(outside.join(".vscode").is_dir());
}

#[test]
fn git_itself_works_in_a_clone_after_a_look() {
    let fixture = Fixture::new();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).current_dir(fixture.at(""));
        let said = git.output().expect("git is needed for this test");
        assert!(said.status.success(), "{args:?}: {}", String::from_utf8_lossy(&said.stderr));
    };
    git(&["init", "-q", "one"]);
    git(&["-C", "one", "commit", "-q", "--allow-empty", "-m", "x"]);
    git(&["clone", "-q", "one", "two"]);
    git(&["-C", "one", "worktree", "add", "-q", "../three"]);
    assert_eq!(swept(&fixture), []);
    git(&["-C", "two", "pull", "-q"]);
    git(&["-C", "three", "status"]);
}
