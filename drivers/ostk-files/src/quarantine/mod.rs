//! The quarantine: what a contained command made and other programs would run or obey is moved there, not removed.
//!
//! Before a command starts, the daemon says what is there already ([`Guard`]); when it has ended, and while it runs,
//! [`Quarantine::sweep`] finds what is new under a guarded name at any depth, what git would run of a new repository, and
//! commands in a rebase under way. Each goes to a directory of its own below `.ostk/quarantine`, with a note of where it
//! was; of settings and lists of steps the harmless part stays. A person can put it back. Who may is not decided here.

mod find;
mod place;
mod repository;
mod settings;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, RenameFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{Workspace, temporary::fresh_name};
use place::Place;

/// Where it is, below the workspace.
const DIRECTORY: &str = ".ostk/quarantine";
/// The directory of ostk itself.
const STATE: &str = ".ostk";
/// The name of what was moved, in its directory.
const ITEM: &str = "item";
/// The note beside it.
const NOTE: &str = "note.json";
/// How a name ends that is given where nothing can be moved to the quarantine. Git takes hooks that end so for samples.
const ASIDE: &str = ".sample";
/// Things of one lineage; then what is found gets another name where it is.
const MAX_ITEMS: u32 = 10_000;

/// What was there before a command started, and what it could make. All paths are relative to the workspace.
#[derive(Debug, Default, Clone)]
pub struct Guard {
    /// The trees in which it may write; an empty path is the whole workspace.
    pub roots: Vec<PathBuf>,
    /// Names of settings of programs that people start: `.vscode`, guarded at every depth.
    pub names: Vec<PathBuf>,
    /// What was there and could not be changed.
    pub known: BTreeSet<PathBuf>,
    /// Paths at which nothing was and nothing may be.
    pub refused: Vec<PathBuf>,
    /// Commands in lists of steps that were there.
    steps: BTreeMap<PathBuf, BTreeSet<Vec<u8>>>,
}

impl Guard {
    fn has(&self, path: &Path) -> bool {
        self.known.contains(path)
    }
}

/// What something in quarantine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Settings of a program that people start in the workspace.
    Program,
    /// A hook of git.
    Hook,
    /// Settings of git that name programs.
    Settings,
    /// A file by which git takes another repository's settings.
    Lead,
    /// Commands in the list of a rebase under way.
    Steps,
}

/// Something that was found.
#[derive(Debug)]
struct Finding {
    path: PathBuf,
    what: What,
    /// What stays in its place.
    rest: Option<Vec<u8>>,
}

impl Finding {
    const fn moved(path: PathBuf, what: What) -> Self {
        Self { path, what, rest: None }
    }
}

/// Something that was moved to the quarantine, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Its name there: the lineage and a number.
    pub item: String,
    /// Where it was in the workspace; invalid bytes are replaced.
    pub path: String,
    /// What it is.
    pub what: What,
    /// Whether the harmless part of it is still there.
    pub kept: bool,
    /// Why it is still where it was, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The quarantine of one workspace.
#[derive(Debug, Clone)]
pub struct Quarantine {
    workspace: Workspace,
}

impl Quarantine {
    /// That of a workspace; its directory is made when something is put there.
    pub const fn new(workspace: Workspace) -> Self {
        Self { workspace }
    }

    /// Completes what is known before a command starts: `known` are real paths that it cannot change.
    pub fn guard(&self, mut guard: Guard, known: &[PathBuf]) -> Guard {
        let root = self.workspace.root().as_std_path();
        let inside = |path: &PathBuf| path.strip_prefix(root).ok().map(Path::to_owned);
        guard.known.extend(known.iter().filter_map(inside));
        guard.known.insert(STATE.into());
        // Of a repository, `repository.rs` says what is taken: a new one keeps what is harmless.
        guard.names.retain(|name| !name.iter().next().is_some_and(find::is_git));
        let is_git = |path: &&PathBuf| path.ends_with("config") || path.ends_with("commondir");
        let gits: BTreeSet<_> = guard.known.iter().filter(is_git).filter_map(|path| path.parent()).collect();
        guard.steps = gits.into_iter().flat_map(|git| repository::commands_of(self.place(), git)).collect();
        guard
    }

    /// Moves away what a command of `lineage` made and others would obey. Other programs may go on changing names: nothing
    /// outside the workspace is touched, and what they put in a place meanwhile is what is moved.
    pub fn sweep(&self, guard: &Guard, lineage: &str) -> Vec<Taken> {
        let walk = find::walk(self.place(), guard);
        let mut taken: Vec<_> = walk.found.into_iter().map(|finding| self.take(finding, lineage)).collect();
        if walk.cut {
            taken.push(Taken {
                item: String::new(),
                path: String::new(),
                what: What::Program,
                kept: false,
                problem: Some("there are too many directories: the rest was not looked at".to_owned()),
            });
        }
        taken
    }

    fn place(&self) -> Place<'_> {
        Place(&self.workspace)
    }

    fn take(&self, finding: Finding, lineage: &str) -> Taken {
        let path = finding.path.to_string_lossy().into_owned();
        let mut taken = Taken {
            item: String::new(),
            path,
            what: finding.what,
            kept: finding.rest.is_some(),
            problem: None,
        };
        match self.carry(&finding, lineage, &mut taken) {
            Ok(()) => {}
            // It went by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                taken.problem = Some("it is gone".to_owned())
            }
            Err(error) => {
                taken.problem = Some(match self.put_aside(&finding.path) {
                    Ok(name) => format!("it is beside where it was, as {name}: {error}"),
                    Err(_) => format!("it is still there: {error}"),
                });
                (taken.item, taken.kept) = (String::new(), false);
            }
        }
        taken
    }

    fn carry(&self, finding: &Finding, lineage: &str, taken: &mut Taken) -> io::Result<()> {
        let (parent, name) = self.place().parent(&finding.path)?;
        let (item, into) = self.slot(lineage)?;
        taken.item = item;
        let note = serde_json::to_vec(&Note::of(finding))?;
        fs::write(self.real(&taken.item).join(NOTE), note)?;
        rustix::fs::renameat_with(&parent, &name, &into, ITEM, RenameFlags::NOREPLACE)?;
        if let Some(rest) = &finding.rest {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o644))?;
            io::Write::write_all(&mut fs::File::from(file), rest)?;
        }
        Ok(())
    }

    /// Gives something a name in its own directory that nobody obeys, where the quarantine is full or on another file
    /// system.
    fn put_aside(&self, path: &Path) -> io::Result<String> {
        let (parent, name) = self.place().parent(path)?;
        let aside = format!("quarantined{}{ASIDE}", fresh_name());
        rustix::fs::renameat_with(&parent, &name, &parent, &aside, RenameFlags::NOREPLACE)?;
        Ok(aside)
    }

    /// A new directory for one thing of a lineage.
    fn slot(&self, lineage: &str) -> io::Result<(String, OwnedFd)> {
        fs::create_dir_all(self.real(lineage))?;
        for number in 1..=MAX_ITEMS {
            let item = format!("{lineage}/{number}");
            match fs::create_dir(self.real(&item)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let directory = self.place().directory(&Path::new(DIRECTORY).join(&item))?;
                    return Ok((item, directory));
                }
            }
        }
        Err(io::Error::other(format!(
            "{MAX_ITEMS} things of {lineage} are in quarantine: ostk quarantine list"
        )))
    }

    fn real(&self, item: &str) -> PathBuf {
        self.workspace.root().as_std_path().join(DIRECTORY).join(item)
    }

    /// Everything in quarantine, by lineage and number.
    pub fn list(&self) -> Vec<Taken> {
        let names = |path: PathBuf| {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let mut items = Vec::new();
        for lineage in names(self.real("")) {
            let numbers = names(self.real(&lineage)).into_iter().filter_map(|name| name.parse::<u32>().ok());
            items.extend(numbers.map(|number| (lineage.clone(), number)));
        }
        items.sort();
        items
            .into_iter()
            .filter_map(|(lineage, number)| self.noted(&format!("{lineage}/{number}")).ok())
            .collect()
    }

    fn noted(&self, item: &str) -> io::Result<Taken> {
        let note: Note = serde_json::from_slice(&fs::read(self.real(item).join(NOTE))?)?;
        fs::symlink_metadata(self.real(item).join(ITEM))?;
        Ok(Taken { item: item.to_owned(), path: note.path, what: note.what, kept: note.kept, problem: None })
    }

    /// Puts something back where it was, in the place of the harmless part of it that stayed.
    ///
    /// # Errors
    /// Nothing of that name is in quarantine, something else stands where it was, or the directory around it is gone.
    pub fn restore(&self, item: &str) -> io::Result<Taken> {
        let missing =
            || io::Error::new(io::ErrorKind::NotFound, format!("nothing in quarantine is called {item:?}"));
        let (lineage, number) = item.split_once('/').ok_or_else(missing)?;
        let plain = !lineage.is_empty() && !lineage.starts_with('.') && !number.contains('/');
        if !plain || number.parse::<u32>().is_err() {
            return Err(missing());
        }
        let taken = self.noted(item).map_err(|_| missing())?;
        let note: Note = serde_json::from_slice(&fs::read(self.real(item).join(NOTE))?)?;
        let (parent, name) = self.place().parent(note.path())?;
        let from = self.place().directory(&Path::new(DIRECTORY).join(item))?;
        // The harmless part is exchanged for the whole, and goes with the note.
        let flags = if note.kept { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        match rustix::fs::renameat_with(&from, ITEM, &parent, &name, flags) {
            Err(Errno::NOENT) if note.kept => {
                rustix::fs::renameat_with(&from, ITEM, &parent, &name, RenameFlags::NOREPLACE)?;
            }
            Err(Errno::EXIST) => {
                let message = format!("{} is there: move it away first", taken.path);
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            other => other?,
        }
        fs::remove_dir_all(self.real(item))?;
        Ok(taken)
    }
}

/// What stands beside a thing.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Where it was, with invalid bytes replaced.
    path: String,
    /// The path itself, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bytes: Vec<u8>,
    what: What,
    kept: bool,
}

impl Note {
    fn of(finding: &Finding) -> Self {
        let bytes = finding.path.as_os_str().as_bytes();
        let path = finding.path.to_string_lossy().into_owned();
        let bytes = if path.as_bytes() == bytes { Vec::new() } else { bytes.to_vec() };
        Self { path, bytes, what: finding.what, kept: finding.rest.is_some() }
    }

    fn path(&self) -> &Path {
        if self.bytes.is_empty() { Path::new(&self.path) } else { Path::new(OsStr::from_bytes(&self.bytes)) }
    }
}
