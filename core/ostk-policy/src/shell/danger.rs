//! The kinds of danger, and a finding: which command, of which kind, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Word;

/// Longest command quoted in a finding, in characters.
const MAX_SHOWN: usize = 120;

/// A kind of danger. Closed: a rule that fits none of them is not a rule of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Danger {
    /// Takes deployed infrastructure down: `terraform destroy`.
    Infrastructure,
    /// Drops or empties a database: `psql -c 'drop table t'`.
    Database,
    /// Wipes files or disks: `rm -rf /`, `mkfs`, `find -delete`.
    Filesystem,
    /// Deletes containers, volumes or what runs in a cluster: `docker system prune`, `kubectl delete`.
    Containers,
    /// Deletes something at a cloud provider: `aws s3 rb`.
    Cloud,
    /// Publishes or takes back a package: `cargo yank`.
    Package,
    /// Rewrites or discards history or uncommitted work: `git push --force`, `git reset --hard`.
    GitHistory,
    /// Kills processes that the command did not start: `pkill`.
    Processes,
    /// Makes a pager, editor or filter run another program: `man -P`, awk's `system`.
    Escape,
    /// A program that reads is told to write, outside the workspace or where secrets are: `sed -i /etc/hosts`.
    ReaderWrites,
    /// Runs what it downloads: `curl … | sh`.
    DownloadRun,
    /// Writes a file that the system or a person's account depends on: `~/.ssh`, `/etc`, `.git/hooks`.
    SensitiveWrite,
    /// Reads a file that holds secrets: `.env`, `/etc/shadow`.
    SensitiveRead,
    /// Changes the running system: `reboot`, `sysctl -w`, `insmod`.
    System,
    /// Takes another user's rights: `sudo`.
    Privilege,
    /// What runs is known only when it runs: `eval "$X"`.
    Hidden,
    /// The text could not be read.
    Unreadable,
}

impl Danger {
    /// Every kind, in order.
    pub const ALL: [Self; 17] = [
        Self::Infrastructure,
        Self::Database,
        Self::Filesystem,
        Self::Containers,
        Self::Cloud,
        Self::Package,
        Self::GitHistory,
        Self::Processes,
        Self::Escape,
        Self::ReaderWrites,
        Self::DownloadRun,
        Self::SensitiveWrite,
        Self::SensitiveRead,
        Self::System,
        Self::Privilege,
        Self::Hidden,
        Self::Unreadable,
    ];

    /// The name as in a record, for example `git-history`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Infrastructure => "infrastructure",
            Self::Database => "database",
            Self::Filesystem => "filesystem",
            Self::Containers => "containers",
            Self::Cloud => "cloud",
            Self::Package => "package",
            Self::GitHistory => "git-history",
            Self::Processes => "processes",
            Self::Escape => "escape",
            Self::ReaderWrites => "reader-writes",
            Self::DownloadRun => "download-run",
            Self::SensitiveWrite => "sensitive-write",
            Self::SensitiveRead => "sensitive-read",
            Self::System => "system",
            Self::Privilege => "privilege",
            Self::Hidden => "hidden",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One danger of one command. Prints as `git-history: git push -f replaces commits that others may have`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// The kind.
    pub danger: Danger,
    /// The command, on one line, at most 120 characters; `…` stands for what is known only when it runs.
    pub command: String,
    /// One sentence.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.danger, self.why)
    }
}

/// Words as one line for a person.
pub(super) fn show(words: &[Word]) -> String {
    let mut line = String::new();
    for word in words {
        if line.len() > 4 * MAX_SHOWN {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word.show());
    }
    if line.chars().nth(MAX_SHOWN).is_some() {
        line = line.chars().take(MAX_SHOWN).collect();
        line.push('…');
    }
    line
}
