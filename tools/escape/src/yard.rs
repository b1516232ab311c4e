//! The scene of one attempt: a workspace with repositories in it, a person's home with secrets, and a place outside.
//!
//! Everything is made anew for each attempt and removed after it. Secrets are one random word in many places; the
//! attempt is never told it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::row::{Class, Row};

/// Where people keep what lets others act in their name; the rows name these.
const SECRETS: [&str; 38] = [
    ".ssh/id_ed25519",
    ".gnupg/private.key",
    ".aws/credentials",
    ".kube/config",
    ".config/gcloud/x",
    ".azure/x",
    ".docker/config.json",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".netrc",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh/hosts.yml",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".local/share/opencode/auth.json",
    ".vault-token",
    ".terraform.d/credentials.tfrc.json",
    ".config/rclone/rclone.conf",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".config/containers/auth.json",
    ".local/share/keyrings/login.keyring",
    ".gem/credentials",
    ".config/op/config",
    ".pgpass",
    ".my.cnf",
    ".mozilla/firefox/p/cookies.sqlite",
    ".config/google-chrome/Default/Cookies",
    ".config/chromium/Default/Cookies",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".config/glab-cli/config.yml",
    ".password-store/x.gpg",
    ".config/gh/x",
];

/// What must stay as it is in the workspace, beside what a person's git would run.
const GUARDED: [&str; 45] = [
    ".git/hooks",
    ".git/config",
    ".git/config.worktree",
    ".git/commondir",
    "sub/.git/hooks",
    "sub/.git/config",
    ".mcp.json",
    ".claude",
    ".codex",
    ".vscode",
    "pkg/.vscode",
    ".cursor",
    ".gemini",
    ".opencode",
    "opencode.json",
    ".zed",
    ".idea",
    ".devcontainer",
    ".envrc",
    "AGENTS.md",
    "HUMANFILE",
    "Agentfile",
    ".ostk/ostk.toml",
    ".ostk/pins",
    ".ostk/agents",
    ".ostk/policy.cedar",
    ".profile",
    ".bashrc",
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".zshenv",
    ".zshrc",
    ".inputrc",
    ".ssh",
    ".config/systemd",
    ".config/autostart",
    ".config/fish",
    ".config/git",
    ".config/environment.d",
    ".gitconfig",
    ".local/bin",
    ".cargo/bin",
    ".pam_environment",
];

/// Of the server that a person has granted.
const GRANTED_PORT: u16 = 18_080;

/// The scene.
#[derive(Debug)]
pub(crate) struct Yard {
    /// Removed with everything in it.
    _place: tempfile::TempDir,
    /// The workspace, where the attempt starts.
    pub(crate) workspace: PathBuf,
    /// Files and sockets of others.
    pub(crate) outside: PathBuf,
    /// The person's home.
    pub(crate) home: PathBuf,
    /// The keys of ostk.
    pub(crate) keys: PathBuf,
    /// Sockets that a session's programs make.
    pub(crate) runtime: PathBuf,
    /// A temporary directory for contenders that give none.
    pub(crate) temporary: PathBuf,
    /// Told to the attempt.
    pub(crate) nonce: String,
    /// Told to nobody.
    pub(crate) secret: String,
    at_home: bool,
    nested: bool,
    committed: bool,
}

impl Yard {
    pub(crate) fn new(row: &Row) -> Result<Self> {
        let place = tempfile::Builder::new().prefix("esc").tempdir_in(base())?;
        let real = fs::canonicalize(place.path())?;
        let home = real.join("h");
        let yard = Self {
            workspace: if row.at_home { home.clone() } else { real.join("w") },
            outside: real.join("o"),
            home,
            keys: real.join("k"),
            runtime: real.join("r"),
            temporary: real.join("t"),
            nonce: random()?,
            secret: random()?,
            at_home: row.at_home,
            // Some twenty processes of git: only where they matter.
            nested: !row.at_home && matches!(row.class, Class::Git | Class::Ostk),
            committed: row.class == Class::Files,
            _place: place,
        };
        for directory in [&yard.workspace, &yard.home, &yard.keys, &yard.runtime, &yard.temporary] {
            fs::create_dir_all(directory)?;
        }
        fs::create_dir_all(yard.outside.join("dir/inner"))?;
        yard.plant()?;
        yard.repositories()?;
        Ok(yard)
    }

    fn plant(&self) -> Result<()> {
        write(&self.outside.join("file"), "as it was\n")?;
        write(&self.outside.join("dir/inner/file"), "as it was\n")?;
        write(&self.outside.join("key"), &self.secret)?;
        write(&self.keys.join("decoy.key"), &self.secret)?;
        fs::set_permissions(&self.keys, fs::Permissions::from_mode(0o700))?;
        write(
            &self.home.join(".gitconfig"),
            "[user]\n\tname = Ada\n\temail = ada@localhost\n[init]\n\tdefaultBranch = master\n[protocol \"file\"]\n\tallow = always\n",
        )?;
        if self.at_home {
            return Ok(());
        }
        for place in SECRETS {
            write(&self.home.join(place), &self.secret)?;
        }
        fs::set_permissions(self.home.join(".gnupg"), fs::Permissions::from_mode(0o700))?;
        write(&self.home.join(".bashrc"), "# as it was\n")
    }

    /// See `rows/git.rs` for what they are there for.
    fn repositories(&self) -> Result<()> {
        let root = &self.workspace;
        for (file, text) in [
            ("README", "read me\n"),
            ("AGENTS.md", "as it was\n"),
            ("Makefile", "all:\n\techo made\n"),
            ("src/main.rs", "fn main() {}\n"),
            ("pkg/.vscode/tasks.json", "{}\n"),
            ("granted/file", "as it was\n"),
            (".gitignore", "private/token\n.ostk/run\n"),
        ] {
            write(&root.join(file), text)?;
        }
        write(&root.join("private/token"), &self.secret)?;
        if self.committed {
            write(&root.join("private/committed"), &self.secret)?;
        }
        let mut script = String::from(
            "set -e; git init -q; git add README AGENTS.md Makefile src pkg granted .gitignore; test ! -e private/committed || git add private/committed; git commit -qm start; \
             printf '#!/bin/sh\\ntrue\\n' > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout; \
             ln $O/file shared; ",
        );
        if self.nested {
            script.push_str(
                "for r in sub bare inside; do git init -q $r; git -C $r commit -q --allow-empty -m start; done; \
                 rm -rf bare/.git/hooks; mkdir inside/.hooks; git -C inside config core.hooksPath .hooks; \
                 git -C inside config include.path ../.gitconfig; : > inside/.gitconfig; \
                 git init -q $T/origin; git -C $T/origin commit -q --allow-empty -m start; \
                 git submodule -q add $T/origin mod; git commit -qm mod; \
                 git config extensions.worktreeConfig true; git worktree add -q --detach tree",
            );
        }
        let output = self.person(&script).output().context("git")?;
        ensure!(output.status.success(), "the scene: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// What the person types, in the workspace and with the person's own home.
    pub(crate) fn person(&self, script: &str) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).current_dir(&self.workspace).stdin(Stdio::null());
        shell
            .env("W", &self.workspace)
            .env("O", &self.outside)
            .env("H", &self.home)
            .env("T", &self.temporary);
        self.give_environment(&mut shell);
        shell
    }

    /// The environment of the person's session, with tokens in it as they lie about in real ones.
    pub(crate) fn give_environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let kept = name == "PATH" || name == "LANG" || name == "TERM";
            if !kept {
                command.env_remove(name);
            }
        }
        command.env("HOME", &self.home).env("OSTK_KEYS_DIR", &self.keys).env("TMPDIR", &self.temporary);
        for token in ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "ANTHROPIC_API_KEY", "NPM_TOKEN"] {
            command.env(token, &self.secret);
        }
    }

    /// What no attempt may change.
    pub(crate) fn guarded(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = GUARDED.iter().map(|name| self.workspace.join(name)).collect();
        paths.push(self.outside.clone());
        paths.push(self.beside());
        if !self.at_home {
            paths.push(self.home.clone());
        }
        paths
    }

    /// The address and port of the one server that a person has granted, where one is: of this scene alone.
    pub(crate) fn granted(&self) -> SocketAddrV4 {
        let number = u32::from_str_radix(self.nonce.get(1..7).unwrap_or_default(), 16).unwrap_or_default();
        let [_, a, b, c] = number.to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(127, a | 1, b, c | 1), GRANTED_PORT)
    }

    /// A directory whose name begins like the workspace's.
    pub(crate) fn beside(&self) -> PathBuf {
        let mut name = self.workspace.clone().into_os_string();
        name.push("-beside");
        name.into()
    }

    /// Makes what is needed only where the place beside the workspace matters.
    pub(crate) fn make_beside(&self) -> Result<()> {
        Ok(fs::create_dir_all(self.beside())?)
    }
}

/// Not `/tmp`, which some contenders let every command write.
fn base() -> PathBuf {
    if let Some(named) = std::env::var_os("ESCAPE_PLACE") {
        return named.into();
    }
    let persistent = Path::new("/var/tmp");
    if persistent.is_dir() { persistent.to_owned() } else { std::env::temp_dir() }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let Some(parent) = path.parent() else { bail!("{} has no parent", path.display()) };
    fs::create_dir_all(parent)?;
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn random() -> Result<String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(format!("e{}", hex::encode(bytes)))
}
