//! What a disk other than the system's must be able to do, and how a thread gets one.
//!
//! A mounted disk is looked up once for each open, rename or listing; an open file knows whose it is.

use std::{cell::RefCell, ffi::OsString, fmt::Debug, io, path::Path, rc::Rc, sync::Arc};

use crate::fs::OpenOptions;

/// A disk. Every operation has happened when it returns, as far as this machine's programs can see; what of it survives a
/// power cut is the disk's affair, but for [`Node::sync`].
pub trait Disk: Debug {
    /// Opens a file or a folder as `how` says. Errors are those of `open(2)`.
    fn open(&self, path: &Path, how: &OpenOptions) -> io::Result<Arc<dyn Node>>;
    /// Gives a file another name, taking the place of a file that has it: old or new, never neither.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with everything below it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder and those above it; no error if it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a symbolic link.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// The names in a folder, in any order.
    fn names(&self, path: &Path) -> io::Result<Vec<OsString>>;
}

/// An open file or folder. Everyone who has it open sees the same bytes.
pub trait Node: Debug + Send + Sync {
    /// Reads from `offset` on; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset`, or at the end; may write less than all.
    fn write_at(&self, bytes: &[u8], offset: Option<u64>) -> io::Result<usize>;
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
    /// Cuts the file, or adds zeros.
    fn set_len(&self, size: u64) -> io::Result<()>;
    /// Makes a file's bytes, or a folder's names, durable: no power cut takes them away after this returned `Ok`.
    fn sync(&self) -> io::Result<()>;
}

thread_local! {
    static MOUNTED: RefCell<Option<Rc<dyn Disk>>> = const { RefCell::new(None) };
}

/// Gives this thread another disk until the guard is dropped. Threads that it starts have the system's.
pub fn mount(disk: Rc<dyn Disk>) -> Mounted {
    Mounted { before: MOUNTED.replace(Some(disk)) }
}

/// Keeps a disk mounted; the one from before comes back when it is dropped.
#[derive(Debug)]
#[must_use = "the disk is unmounted when this is dropped"]
pub struct Mounted {
    before: Option<Rc<dyn Disk>>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        MOUNTED.set(self.before.take());
    }
}

/// This thread's disk, if it is not the system's.
pub(crate) fn mounted() -> Option<Rc<dyn Disk>> {
    MOUNTED.with_borrow(Clone::clone)
}
