//! What git says about a merge: runs `git merge-file -p` on three temporary files, without anybody's configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use ostk_merge::{Outcome, merge};

pub(crate) enum Git {
    Resolved(Vec<u8>),
    Conflict,
}

pub(crate) fn git_merge(dir: &Path, base: &[u8], current: &[u8], proposed: &[u8]) -> Git {
    for (name, bytes) in [("base", base), ("current", current), ("proposed", proposed)] {
        fs::write(dir.join(name), bytes).unwrap();
    }
    let output = Command::new("git")
        .args(["merge-file", "-p", "-q", "current", "base", "proposed"])
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CEILING_DIRECTORIES", dir)
        .output()
        .expect("git is installed");
    match output.status.code() {
        Some(0) => Git::Resolved(output.stdout),
        Some(1..=127) => Git::Conflict,
        status => panic!("git merge-file failed: {status:?} {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// How our answers compare with git's, over many merges.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) same: usize,
    pub(crate) assisted: usize,
    pub(crate) manual: usize,
    /// Merges that git resolves.
    pub(crate) resolved_by_git: usize,
    /// Of these, those that we only offer.
    pub(crate) assisted_resolved_by_git: usize,
    /// Candidates equal to what git resolves to.
    pub(crate) candidate_same: usize,
}

impl Tally {
    /// Merges both ways and holds us to the rule: the same bytes or a refusal, and never clean where git conflicts.
    pub(crate) fn check(&mut self, dir: &Path, name: &str, base: &[u8], current: &[u8], proposed: &[u8]) {
        let git = git_merge(dir, base, current, proposed);
        let ours = merge(base, current, proposed);
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let context = || {
            format!(
                "{name}\n-- base\n{}\n-- current\n{}\n-- proposed\n{}",
                show(base),
                show(current),
                show(proposed)
            )
        };
        self.resolved_by_git += usize::from(matches!(git, Git::Resolved(_)));
        match (ours, git) {
            (Outcome::Unchanged, Git::Resolved(bytes)) => {
                assert!(bytes == current, "unchanged, but git changes it: {}", context());
                self.same += 1;
            }
            (Outcome::Clean { bytes, .. }, Git::Resolved(expected)) => {
                assert!(
                    bytes == expected,
                    "other bytes than git: {}\n-- ours\n{}\n-- git\n{}",
                    context(),
                    show(&bytes),
                    show(&expected)
                );
                self.same += 1;
            }
            (Outcome::Unchanged | Outcome::Clean { .. }, Git::Conflict) => {
                panic!("resolved what git calls a conflict: {}", context())
            }
            (Outcome::Assisted { candidate, .. }, Git::Resolved(expected)) => {
                self.assisted += 1;
                self.assisted_resolved_by_git += 1;
                self.candidate_same += usize::from(candidate == expected);
            }
            (Outcome::Assisted { .. }, Git::Conflict) => self.assisted += 1,
            (Outcome::Manual { .. }, _) => self.manual += 1,
        }
    }
}
