//! Finding what changed on disk without being told: a walk that reads only files whose metadata changed.
//!
//! Used around shell commands, after a watcher's overflow and at start. The scanner remembers the hash and metadata of
//! each file, and the content of each directory; the kernel primes it with its own writes so that they are not reported
//! as foreign. Who made a change is not known here.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ostk_log::Hash;
use rustix::{
    fs::{AtFlags, FileType, OFlags, Stat},
    io::Errno,
};

use crate::{
    FileVersion, FilesError, Workspace, WorkspacePath,
    ignored::Rules,
    list::modified_ns,
    look::{Seen, look},
    walk::{Visible, read_visible},
};

/// How many files a scan follows. 200,000 take about a second to look at and 100 MB to remember; a repository with more
/// has build output or data in it that git should ignore.
pub const MAX_SCANNED_FILES: usize = 200_000;

/// How many bytes of changed files one scan returns before it says that there are more: twice the largest file.
const MAX_SCAN_BYTES: usize = 128 * 1024 * 1024;

/// Metadata younger than this when it was read may hide a second change in the same clock tick (git calls it racy). The
/// kernel's clock for files ticks every 1 to 10 ms.
const RACY_NS: i128 = 50_000_000;

/// The same where the file system stores whole seconds only (FAT: two).
const RACY_WHOLE_SECONDS_NS: i128 = 2_000_000_000;

/// A file that is not what the scanner knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which file.
    pub path: WorkspacePath,
    /// What it held before; `None` if it was not there.
    pub before: Option<Hash>,
    /// What it holds; `None` if it is gone (or is now a directory or a link).
    pub after: Option<FileVersion>,
}

/// Something that is there but cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path, with invalid bytes replaced.
    pub path: String,
    /// Why not: not UTF-8, too large, not readable.
    pub reason: String,
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Changed files, sorted by path.
    pub changes: Vec<Change>,
    /// What could not be followed. Reported again by each scan for as long as it is so.
    pub problems: Vec<Problem>,
    /// Whether changes were left for the next scan because this one already holds 128 MiB.
    pub more: bool,
}

/// Remembers what the workspace held. Symbolic links, directories and special files are not followed.
#[derive(Debug)]
pub struct Scanner {
    workspace: Workspace,
    files: HashMap<WorkspacePath, Known>,
    directories: HashMap<WorkspacePath, KnownDirectory>,
    rules_files: Vec<(WorkspacePath, Stamp)>,
    linked: Vec<WorkspacePath>,
    round: u64,
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    hash: Hash,
    /// Unknown after priming: the kernel knows what it wrote, not what the file system made of it.
    executable: Option<bool>,
    stamp: Option<Stamp>,
    /// The last scan that saw it.
    round: u64,
}

#[derive(Debug)]
struct KnownDirectory {
    stamp: Stamp,
    visible: Arc<Visible>,
}

/// The metadata by which a change is noticed without reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: i64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
    mode: u32,
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            size: stat.st_size,
            modified_ns: modified_ns(stat),
            changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec),
            inode: stat.st_ino,
            mode: stat.st_mode,
        }
    }

    /// This stamp if it can be trusted to change with the next edit; `now` is when reading began.
    fn settled(self, now: i128) -> Option<Self> {
        let newest = self.modified_ns.max(self.changed_ns);
        let whole_seconds = newest % 1_000_000_000 == 0;
        let margin = if whole_seconds { RACY_WHOLE_SECONDS_NS } else { RACY_NS };
        (newest + margin < now).then_some(self)
    }
}

/// A walk's harvest.
#[derive(Default)]
struct Walked {
    files: Vec<(WorkspacePath, Stamp)>,
    rules_files: Vec<(WorkspacePath, Stamp)>,
    /// Files with several names: device, inode and how many.
    linked: Vec<(WorkspacePath, (u64, u64), u64)>,
    problems: Vec<Problem>,
}

/// A scan in the making.
struct Harvest {
    scan: Scan,
    bytes: usize,
    /// Whether files that were never heard of are taken as given.
    baseline: bool,
}

impl Scanner {
    /// A scanner that knows nothing: prime it, take a baseline, then scan.
    pub fn new(workspace: Workspace) -> Self {
        Self {
            workspace,
            files: HashMap::new(),
            directories: HashMap::new(),
            rules_files: Vec::new(),
            linked: Vec::new(),
            round: 0,
        }
    }

    /// Says that `path` holds the bytes `hash`: the kernel wrote them, or the log knows them.
    pub fn prime(&mut self, path: WorkspacePath, hash: Hash) {
        self.files.insert(path, Known { hash, executable: None, stamp: None, round: self.round });
    }

    /// Says that `path` is gone: the kernel removed or renamed it.
    pub fn forget(&mut self, path: &WorkspacePath) {
        self.files.remove(path);
    }

    /// The hash of `path` as of the last scan.
    pub fn known(&self, path: &WorkspacePath) -> Option<Hash> {
        self.files.get(path).map(|known| known.hash)
    }

    /// Files that have another name which the last scan did not see: a hard link from outside, or in what git ignores.
    pub fn linked(&self) -> &[WorkspacePath] {
        &self.linked
    }

    /// How many files are followed.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no file is followed.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads the whole workspace once. Files that were not primed are taken as they are; primed ones are compared.
    pub fn baseline(&mut self) -> Result<Scan, FilesError> {
        self.run(true)
    }

    /// What changed since the last scan, baseline or priming. Fails with [`FilesError::TooManyFiles`] over 200,000.
    pub fn scan(&mut self) -> Result<Scan, FilesError> {
        self.run(false)
    }

    fn run(&mut self, baseline: bool) -> Result<Scan, FilesError> {
        self.round += 1;
        let mut walked = self.walk()?;
        if walked.rules_files != self.rules_files {
            // Other rules, other visible files: nothing remembered about directories holds.
            self.directories.clear();
            walked = self.walk()?;
        }
        self.rules_files = walked.rules_files;
        self.linked = linked_elsewhere(walked.linked);
        let mut harvest =
            Harvest { scan: Scan { problems: walked.problems, ..Scan::default() }, bytes: 0, baseline };
        for (path, stamp) in walked.files {
            self.compare(path, Some(stamp), &mut harvest)?;
        }
        self.look_for_the_unseen(&mut harvest)?;
        harvest.scan.changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(harvest.scan)
    }

    /// Files that the walk did not meet are gone, or ignored and primed: those are looked at one by one.
    fn look_for_the_unseen(&mut self, harvest: &mut Harvest) -> Result<(), FilesError> {
        let round = self.round;
        let unseen: Vec<WorkspacePath> = self
            .files
            .iter()
            .filter(|(_, known)| known.round != round)
            .map(|(path, _)| path.clone())
            .collect();
        for path in unseen {
            let stamp = match self.workspace.open_beneath(&path, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => rustix::fs::fstat(&fd).ok().map(|stat| Stamp::of(&stat)),
                Err(_) => None,
            };
            self.compare(path, stamp, harvest)?;
        }
        Ok(())
    }

    /// Compares one file with what is known; `stamp` is its metadata if it is there.
    fn compare(
        &mut self,
        path: WorkspacePath,
        stamp: Option<Stamp>,
        harvest: &mut Harvest,
    ) -> Result<(), FilesError> {
        let round = self.round;
        if let Some(known) = self.files.get_mut(&path) {
            known.round = round;
            if stamp.is_some() && known.stamp == stamp {
                return Ok(());
            }
        }
        if harvest.bytes >= MAX_SCAN_BYTES {
            harvest.scan.more = true;
            return Ok(());
        }
        let began = now_ns();
        match look(self.workspace.root_fd(), path.as_str(), &path) {
            Ok(Seen::File(version, stat)) => {
                self.learn(path, version, Stamp::of(&stat).settled(began), harvest);
            }
            Ok(_) | Err(FilesError::LinkAppeared { .. }) => {
                if let Some(known) = self.files.remove(&path) {
                    harvest.scan.changes.push(Change { path, before: Some(known.hash), after: None });
                }
            }
            Err(error) => {
                harvest.scan.problems.push(Problem { path: path.into(), reason: error.to_string() })
            }
        }
        Ok(())
    }

    fn learn(
        &mut self,
        path: WorkspacePath,
        version: FileVersion,
        stamp: Option<Stamp>,
        harvest: &mut Harvest,
    ) {
        let known =
            Known { hash: version.hash, executable: Some(version.executable), stamp, round: self.round };
        let before = self.files.insert(path.clone(), known);
        let same = match &before {
            None => harvest.baseline,
            Some(before) => {
                before.hash == version.hash && before.executable.is_none_or(|x| x == version.executable)
            }
        };
        if !same {
            harvest.bytes += version.bytes.len();
            let before = before.map(|known| known.hash);
            harvest.scan.changes.push(Change { path, before, after: Some(version) });
        }
    }

    fn walk(&mut self) -> Result<Walked, FilesError> {
        let mut walked = Walked::default();
        let exclude = look_stamp(&self.workspace, ".git/info/exclude");
        walked.rules_files.extend(exclude.map(|stamp| (WorkspacePath::root(), stamp)));
        let mut pending = vec![(WorkspacePath::root(), Rules::outermost(&self.workspace)?)];
        while let Some((path, rules)) = pending.pop() {
            let Some((dir, visible)) = self.enter(&path, &rules, &mut walked)? else { continue };
            stat_files(&dir, &path, &visible, &mut walked);
            if walked.files.len() > MAX_SCANNED_FILES {
                return Err(FilesError::TooManyFiles { limit: MAX_SCANNED_FILES });
            }
            let below = visible.directories.iter().map(|name| (path.child(name), Arc::clone(&visible.rules)));
            pending.extend(below);
        }
        Ok(walked)
    }

    /// Opens a directory and reads it, unless its metadata says that it holds what it held.
    fn enter(
        &mut self,
        path: &WorkspacePath,
        rules: &Arc<Rules>,
        walked: &mut Walked,
    ) -> Result<Option<(OwnedFd, Arc<Visible>)>, FilesError> {
        let began = now_ns();
        let dir = match self.workspace.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => {
                let reason = FilesError::from_errno("list", path, errno).to_string();
                walked.problems.push(Problem { path: path.to_string(), reason });
                return Ok(None);
            }
        };
        let stat = rustix::fs::fstat(&dir).map_err(|e| FilesError::from_errno("stat", path, e))?;
        let stamp = Stamp::of(&stat);
        if let Some(known) = self.directories.get(path)
            && known.stamp == stamp
        {
            return Ok(Some((dir, Arc::clone(&known.visible))));
        }
        let visible = Arc::new(read_visible(&self.workspace, &dir, path, rules)?);
        match stamp.settled(began) {
            Some(stamp) => {
                self.directories
                    .insert(path.clone(), KnownDirectory { stamp, visible: Arc::clone(&visible) });
            }
            None => drop(self.directories.remove(path)),
        }
        Ok(Some((dir, visible)))
    }
}

fn stat_files(dir: &OwnedFd, path: &WorkspacePath, visible: &Visible, walked: &mut Walked) {
    for name in &visible.files {
        // A file that vanished since the directory was read is found missing afterwards.
        let Ok(stat) = rustix::fs::statat(dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            walked.files.push((path.child(name), Stamp::of(&stat)));
            if stat.st_nlink > 1 {
                walked.linked.push((path.child(name), (stat.st_dev, stat.st_ino), stat.st_nlink));
            }
        }
    }
    if visible.has_rules
        && let Ok(stat) = rustix::fs::statat(dir, ".gitignore", AtFlags::SYMLINK_NOFOLLOW)
    {
        walked.rules_files.push((path.child(".gitignore"), Stamp::of(&stat)));
    }
    walked.problems.extend(visible.not_utf8.iter().map(|name| Problem {
        path: path.child(name).into(),
        reason: "the name is not UTF-8; rename the file to use it here".to_owned(),
    }));
}

/// Of files with several names, those of which not all were seen.
fn linked_elsewhere(linked: Vec<(WorkspacePath, (u64, u64), u64)>) -> Vec<WorkspacePath> {
    let mut seen: HashMap<(u64, u64), u64> = HashMap::new();
    for (_, file, _) in &linked {
        *seen.entry(*file).or_default() += 1;
    }
    let elsewhere =
        linked.into_iter().filter(|(_, file, names)| seen.get(file).is_none_or(|seen| seen < names));
    elsewhere.map(|(path, ..)| path).collect()
}

fn look_stamp(workspace: &Workspace, file: &str) -> Option<Stamp> {
    let stat = rustix::fs::statat(workspace.root_fd(), file, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(Stamp::of(&stat))
}

fn now_ns() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i128::try_from(d.as_nanos()).unwrap_or(0))
}
