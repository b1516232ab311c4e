//! `ostk init`: the files of a new project.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What `.ostk/.gitignore` keeps out of git: everything but the documents that people write.
const GITIGNORE: &str = "# Everything here is state but the documents below.\n*\n!.gitignore\n!ostk.toml\n!HUMANFILE\n\
                         !pins/\n!pins/**\n!agents/\n!agents/**\n!profiles/\n!profiles/**\n!policy.cedar\n\
                         !.primefile\n!.language\n!ENTITYFILE\n!rules/\n!rules/**\n!*.sig\n!*.asc\n";

const SETTINGS: &str = "# Settings of this project. The book explains each.\n\n[sandbox]\n\
                        # A command that needs a guarantee which this machine lacks is refused, unless it is named here.\n\
                        # `ostk doctor` has the names.\naccept_missing = []\n";

/// An agent, below the line that names its model.
const WORKER: &str = "PROMPT You work in a repository together with other agents. Read before you write; keep changes small.\n\
                      TASK Say what this project is, in three sentences.\nTOOL file:read\nTOOL file:edit\nTOOL file:write\n\
                      TOOL shell\nLIMIT turns 40\nLIMIT wall_clock 3600\n";

/// Pins that a project begins with: what each may do.
const PINS: [(&str, &str); 2] = [("reader", "read"), ("worker", "read write execute")];

/// The model of the first agent where nobody chose one.
const MODEL: &str = "claude-sonnet-4-6";

/// What `init` did.
#[derive(Debug)]
pub struct Made {
    /// The repository's root.
    pub root: PathBuf,
    /// Files that were created, relative to the root.
    pub created: Vec<String>,
}

/// Why there is no project now.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Not inside a git repository.
    #[error("{} is not inside a git repository", .0.display())]
    NoRepository(PathBuf),
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The root of the git repository that holds `start`.
///
/// # Errors
/// [`InitError::NoRepository`].
pub fn repository(start: &Path) -> Result<PathBuf, InitError> {
    let found = start.ancestors().find(|dir| dir.join(".git").exists());
    found.map(Path::to_owned).ok_or_else(|| InitError::NoRepository(start.to_owned()))
}

/// Creates the project of the repository that holds `start`; its first agent uses `model`. What exists stays as it is.
///
/// # Errors
/// Outside a git repository, or when the disk refuses.
pub fn init(start: &Path, model: Option<&str>) -> Result<Made, InitError> {
    let root = repository(start)?;
    let mut created = Vec::new();
    for (name, text) in files(model.unwrap_or(MODEL)) {
        let path = root.join(&name);
        let io = |source| InitError::Io { path: path.clone(), source };
        if path.exists() {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        fs::write(&path, text).map_err(io)?;
        created.push(name);
    }
    let state = root.join(".ostk");
    private(&state).map_err(|source| InitError::Io { path: state, source })?;
    Ok(Made { root, created })
}

/// Every file of a new project, from its root.
fn files(model: &str) -> Vec<(String, String)> {
    let agent =
        format!("# An agent: `ostk run .ostk/agents/worker.af --task \"...\"`\nFROM {model}\n{WORKER}");
    let fixed = [
        (".gitignore", GITIGNORE.to_owned()),
        ("ostk.toml", SETTINGS.to_owned()),
        ("agents/worker.af", agent),
    ];
    let fixed = fixed.map(|(name, text)| (format!(".ostk/{name}"), text));
    let pins =
        PINS.map(|(name, caps)| (format!(".ostk/pins/{name}/pin.caps"), ostk_policy::scaffold(name, caps)));
    fixed.into_iter().chain(pins).collect()
}

/// Only the user may look inside.
fn private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}
