//! The simulated disk: files in memory, of which a power cut keeps what was synced and any part of the rest.
//!
//! A file is its visible bytes, its durable bytes and the writes between the two. A name is durable once its folder was
//! synced. A kill of the process changes nothing here; [`SimDisk::cut_power`] decides for each unsynced write whether it
//! is kept, lost or torn at the edge of a sector, and how many of the unsynced names are there. Folders are durable at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ostk_disk::{Disk, Node, fs::OpenOptions};
use ostk_log::planted;

use crate::{doom::Doom, rng::Rng};

/// Disks write a sector whole or not at all.
const SECTOR: usize = 512;

/// What the disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// One write fails, after some of its bytes.
    WriteFails,
    /// One sync fails, and makes nothing durable.
    SyncFails,
    /// Every write fails until somebody frees space.
    Full,
    /// Every sync says that it worked, and did nothing.
    Lies,
}

/// A disk, shared by those who have files open on it.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    visible: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    /// Changes of names that no sync of their folder has followed.
    unsynced: Vec<Naming>,
    doom: Arc<Doom>,
    rng: Rng,
    trouble: Option<(Trouble, u64)>,
    lies: bool,
    full: bool,
    happened: Vec<Trouble>,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    folder: Option<PathBuf>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Size(usize),
}

#[derive(Debug)]
enum Naming {
    Added(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Naming {
    fn is_in(&self, folder: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Added(path, _) | Self::Removed(path) => inside(path),
            Self::Renamed(from, to) => inside(from) || inside(to),
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Added(path, inode) => {
                names.insert(path, inode);
            }
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
            Self::Removed(path) => {
                names.remove(&path);
            }
        }
    }
}

impl SimDisk {
    pub(crate) fn new(doom: Arc<Doom>, rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            visible: BTreeMap::new(),
            durable: BTreeMap::new(),
            folders: BTreeSet::new(),
            unsynced: Vec::new(),
            doom,
            rng,
            trouble: None,
            lies: false,
            full: false,
            happened: Vec::new(),
        })))
    }

    /// Trouble comes with the `after`-th operation of its kind.
    pub(crate) fn trouble(&self, trouble: Trouble, after: u64) {
        let mut state = self.lock();
        if trouble == Trouble::Lies {
            state.lies = true;
        }
        state.trouble = Some((trouble, after));
    }

    /// Somebody frees space; trouble that has not come does not come.
    pub(crate) fn mend(&self) {
        let mut state = self.lock();
        state.full = false;
        state.trouble = None;
    }

    /// The troubles that came since this was asked last.
    pub(crate) fn happened(&self) -> Vec<Trouble> {
        std::mem::take(&mut self.lock().happened)
    }

    /// The power fails: of what was not synced, any part is there afterwards.
    pub(crate) fn cut_power(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        keep_names(state);
        for inode in &mut state.inodes {
            inode.lose(&mut state.rng);
        }
        state.visible = state.durable.clone();
    }

    /// Turns one durable bit of a file whose path begins like this; false if there is none.
    pub(crate) fn rot(&self, path: &str) -> bool {
        let mut state = self.lock();
        let state = &mut *state;
        let below: Vec<usize> = state
            .visible
            .iter()
            .filter(|(file, _)| file.to_string_lossy().starts_with(path))
            .map(|(_, inode)| *inode)
            .collect();
        let Some(inode) = state.rng.pick(&below).and_then(|inode| state.inodes.get_mut(*inode)) else {
            return false;
        };
        let at = state.rng.below(inode.durable.len());
        let bit = 1 << state.rng.below(8);
        for bytes in [&mut inode.durable, &mut inode.bytes] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
        !inode.durable.is_empty()
    }

    /// Bytes of all files.
    pub(crate) fn size(&self) -> usize {
        let state = self.lock();
        state
            .visible
            .values()
            .filter_map(|inode| state.inodes.get(*inode))
            .map(|inode| inode.bytes.len())
            .sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most file systems keep changes of names in order; some do not.
fn keep_names(state: &mut State) {
    let unsynced = std::mem::take(&mut state.unsynced);
    let in_order = state.rng.chance(70);
    let kept = state.rng.below(unsynced.len() + 1);
    for (at, naming) in unsynced.into_iter().enumerate() {
        if (in_order && at < kept) || (!in_order && state.rng.chance(50)) {
            naming.apply(&mut state.durable);
        }
    }
}

impl Inode {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable, |_| true);
        }
    }

    fn lose(&mut self, rng: &mut Rng) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let (manner, kept) = (rng.below(4), rng.below(unsynced.len() + 1));
        let size = self.bytes.len();
        for (at, change) in unsynced.into_iter().enumerate() {
            // What follows a cut lies in other blocks: without the cut it is not in the file.
            if matches!(change, Change::Size(_)) && manner == 3 && rng.chance(50) {
                break;
            }
            match manner {
                0 => {}
                1 => change.apply(&mut self.durable, |_| true),
                2 if at < kept => change.apply(&mut self.durable, |_| true),
                2 if at == kept => {
                    let whole = rng.below(8);
                    change.apply(&mut self.durable, |sector| sector < whole);
                }
                2 => {}
                _ if matches!(change, Change::Size(_)) => change.apply(&mut self.durable, |_| true),
                _ => change.apply(&mut self.durable, |_| rng.chance(50)),
            }
        }
        // The size may have become durable before the bytes: what is missing then is zeros.
        if manner == 3 && rng.chance(30) {
            self.durable.resize(size, 0);
        }
        self.bytes.clone_from(&self.durable);
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let found = self.bytes.get(from..).unwrap_or_default();
        let count = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), found.get(..count)) {
            to.copy_from_slice(from);
        }
        count
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.bytes, |_| true);
        self.unsynced.push(change);
    }
}

impl Change {
    /// Applies the sectors that `keeps` names, counted from the first that the change touches.
    fn apply(&self, to: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        match self {
            Self::Size(size) => {
                if keeps(0) {
                    to.resize(*size, 0);
                }
            }
            Self::Write { at, bytes } => {
                let (mut from, mut sector) = (0, 0);
                while from < bytes.len() {
                    let until = (SECTOR - (at + from) % SECTOR + from).min(bytes.len());
                    if keeps(sector) {
                        let (start, end) = (at + from, at + until);
                        to.resize(to.len().max(end), 0);
                        if let (Some(to), Some(from)) = (to.get_mut(start..end), bytes.get(from..until)) {
                            to.copy_from_slice(from);
                        }
                    }
                    (from, sector) = (until, sector + 1);
                }
            }
        }
    }
}

impl State {
    /// Whether the machine lives on; an error for everything after its end.
    fn moment(&self, what: &'static str) -> io::Result<()> {
        if self.doom.survives(what) { Ok(()) } else { Err(io::Error::other("the machine is dead")) }
    }

    /// Whether this trouble comes now.
    fn comes(&mut self, kind: Trouble) -> bool {
        match &mut self.trouble {
            Some((trouble, after)) if *trouble == kind => {
                *after = after.saturating_sub(1);
                let now = *after == 0;
                if now {
                    self.trouble = None;
                    self.happened.push(kind);
                }
                now
            }
            _ => false,
        }
    }

    fn find(&mut self, path: &Path, how: &OpenOptions) -> io::Result<usize> {
        if let Some(inode) = self.visible.get(path).copied() {
            if how.create_new {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if how.truncate {
                self.moment("disk.truncate")?;
                self.inodes.get_mut(inode).ok_or(io::ErrorKind::NotFound)?.change(Change::Size(0));
            }
            return Ok(inode);
        }
        if self.folders.contains(path) {
            self.inodes.push(Inode { folder: Some(path.to_owned()), ..Inode::default() });
            return Ok(self.inodes.len() - 1);
        }
        let has_folder = path.parent().is_some_and(|folder| self.folders.contains(folder));
        if !(how.create || how.create_new) || !has_folder {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.moment("disk.create")?;
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.visible.insert(path.to_owned(), inode);
        self.unsynced.push(Naming::Added(path.to_owned(), inode));
        Ok(inode)
    }

    fn write(&mut self, inode: usize, bytes: &[u8], offset: Option<u64>) -> io::Result<usize> {
        let alive = self.moment("disk.write");
        if self.comes(Trouble::Full) {
            self.full = true;
        }
        let failed = self.comes(Trouble::WriteFails);
        let refused = self.full || failed || alive.is_err();
        let cut = self.rng.below(bytes.len() + 1);
        let inode = self.inodes.get_mut(inode).ok_or(io::ErrorKind::NotFound)?;
        let at = offset.map_or(inode.bytes.len(), |offset| usize::try_from(offset).unwrap_or(usize::MAX));
        // What stands there already is replaced by whole sectors, as the page cache has it; what is added may end anywhere.
        let whole = ((at + cut) / SECTOR * SECTOR).saturating_sub(at);
        let taken = match (refused, offset) {
            (false, _) => bytes.len(),
            (true, None) => cut,
            (true, Some(_)) => whole.min(cut),
        };
        let bytes = bytes.get(..taken).unwrap_or_default().to_vec();
        inode.change(Change::Write { at, bytes });
        alive?;
        match (failed, self.full) {
            (true, _) => Err(io::Error::from_raw_os_error(5)),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(taken),
        }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        self.moment("disk.sync")?;
        if self.comes(Trouble::SyncFails) {
            // A disk that fails to sync may well be about to go.
            if self.rng.chance(50) {
                let moments = self.rng.within(1, 25);
                self.doom.arm(moments);
            }
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.lies {
            return Ok(());
        }
        let inode = self.inodes.get_mut(inode).ok_or(io::ErrorKind::NotFound)?;
        let Some(folder) = inode.folder.clone() else {
            inode.sync();
            return self.moment("disk.synced");
        };
        for naming in std::mem::take(&mut self.unsynced) {
            if naming.is_in(&folder) {
                naming.apply(&mut self.durable);
            } else {
                self.unsynced.push(naming);
            }
        }
        self.moment("disk.synced")
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: &OpenOptions) -> io::Result<Arc<dyn Node>> {
        let inode = self.lock().find(path, how)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.moment("disk.rename")?;
        let inode = state.visible.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.visible.insert(to.to_owned(), inode);
        state.unsynced.push(Naming::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.moment("disk.remove")?;
        state.visible.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced.push(Naming::Removed(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if !state.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.moment("disk.remove")?;
        let gone: Vec<PathBuf> =
            state.visible.keys().filter(|file| file.starts_with(path)).cloned().collect();
        for file in gone {
            state.visible.remove(&file);
            state.unsynced.push(Naming::Removed(file));
        }
        state.folders.retain(|folder| !folder.starts_with(path));
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        for folder in path.ancestors() {
            state.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn symlink(&self, _: &Path, link: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.folders.insert(link.to_owned()) { Ok(()) } else { Err(io::ErrorKind::AlreadyExists.into()) }
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.lock();
        if !state.folders.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = state.visible.keys().filter(|file| file.parent() == Some(path));
        Ok(names.filter_map(|file| Some(file.file_name()?.to_owned())).collect())
    }
}

impl Node for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        Ok(state.inodes.get(self.inode).ok_or(io::ErrorKind::NotFound)?.read(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: Option<u64>) -> io::Result<usize> {
        if planted!("short write") && bytes.len() > SECTOR {
            let some = bytes.get(..SECTOR).unwrap_or_default();
            return self.disk.lock().write(self.inode, some, offset).map(|_| bytes.len());
        }
        self.disk.lock().write(self.inode, bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        Ok(state.inodes.get(self.inode).ok_or(io::ErrorKind::NotFound)?.bytes.len() as u64)
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.moment("disk.cut")?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        state.inodes.get_mut(self.inode).ok_or(io::ErrorKind::NotFound)?.change(Change::Size(size));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let skipped = match self.path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("jsonl") => planted!("skipped sync"),
            Some("pack") => planted!("skipped sync of a pack"),
            _ => false,
        };
        if skipped {
            return Ok(());
        }
        let synced = self.disk.lock().sync(self.inode);
        if planted!("failed sync ignored") { Ok(()) } else { synced }
    }
}
