//! Git commands that rewrite history that others have, or discard work that is nowhere else.

use super::{
    super::{Danger, Word, paths, wrappers::operands},
    Judge,
};

pub(super) fn judge(judge: &mut Judge<'_>) {
    match judge.program() {
        "git" => {}
        "git-filter-repo" | "bfg" => return judge.add(Danger::GitHistory, "it rewrites the whole history"),
        "hg" if judge.sub(&["strip"]) => return judge.add(Danger::GitHistory, "it removes commits"),
        "jj" if judge.sub(&["abandon"]) => return judge.add(Danger::GitHistory, "it removes commits"),
        _ => return,
    }
    let rest = operands(judge.simple.args(), "Cc", &["git-dir", "work-tree", "namespace", "exec-path"]);
    let Some((verb, args)) = rest.split_first() else { return };
    let args: Vec<&str> = args.iter().map(Word::as_str).collect();
    if let Some(why) = rewrites(verb.as_str(), &args) {
        judge.add(Danger::GitHistory, why);
    }
}

/// What the subcommand destroys.
fn rewrites(verb: &str, args: &[&str]) -> Option<&'static str> {
    let has = |words: &[&str]| args.iter().any(|arg| words.contains(arg));
    let letter = |letter: char| {
        args.iter().any(|arg| {
            arg.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-') && rest.contains(letter))
        })
    };
    let names = || args.iter().filter(|arg| !arg.starts_with('-')).copied();
    let second = names().next().unwrap_or_default();
    match verb {
        "push" if !has(&["--dry-run", "-n"]) => push(args, letter('f'), letter('d')),
        "reset" if has(&["--hard"]) => Some("it discards uncommitted work and may drop commits"),
        "filter-branch" | "filter-repo" => Some("it rewrites the whole history"),
        "clean" if (letter('f') || has(&["--force"])) && !(letter('n') || has(&["--dry-run"])) => {
            Some("it deletes files that git does not keep")
        }
        "branch" if letter('D') || has(&["--delete"]) && has(&["--force"]) => {
            Some("it deletes a branch whether or not it was merged")
        }
        "tag" if letter('d') || has(&["--delete"]) => Some("it deletes a tag"),
        "reflog" if matches!(second, "expire" | "delete") => {
            Some("it forgets commits that could still be found")
        }
        "gc" if args.iter().any(|arg| arg.starts_with("--prune")) => {
            Some("it deletes commits that nothing names")
        }
        "prune" => Some("it deletes commits that nothing names"),
        "update-ref" if letter('d') || has(&["--stdin"]) => {
            Some("it deletes or moves a branch without a check")
        }
        "stash" if matches!(second, "drop" | "clear") => Some("it discards stashed work"),
        "checkout" if letter('f') || has(&["--force"]) => Some("it discards uncommitted work"),
        "checkout" | "restore" if names().any(everything) && !has(&["--staged", "-S"]) => {
            Some("it discards all uncommitted work")
        }
        "switch" if letter('f') || has(&["--force", "--discard-changes"]) => {
            Some("it discards uncommitted work")
        }
        "worktree" if second == "remove" && (letter('f') || has(&["--force"])) => {
            Some("it deletes a work tree with its changes")
        }
        "rm" if letter('r') && names().any(everything) && !has(&["--cached"]) => {
            Some("it deletes the whole work tree")
        }
        _ => None,
    }
}

fn push(args: &[&str], forced: bool, deleting: bool) -> Option<&'static str> {
    let starts = |start: &str| args.iter().any(|arg| arg.starts_with(start));
    let refs = || args.iter().filter(|arg| !arg.starts_with('-')).skip(1);
    if forced || starts("--force") || starts("--mirror") || refs().any(|name| name.starts_with('+')) {
        return Some("it replaces commits that others may have");
    }
    let deletes = deleting
        || starts("--delete")
        || starts("--prune")
        || refs().any(|name| name.starts_with(':') && name.len() > 1);
    deletes.then_some("it deletes branches that others may use")
}

fn everything(path: &str) -> bool {
    matches!(path, ":/" | ":" | "*") || path != ".." && paths::resolve("", path).is_empty()
}
