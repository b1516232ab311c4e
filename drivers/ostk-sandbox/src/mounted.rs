//! What is mounted on this machine, and which of it is writable.
//!
//! Only read here. A command's view makes everything read-only and its writable trees writable again (`trees.rs`); what
//! was read-only before must stay so.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _},
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::SandboxError;

/// One mount: where, and whether it may be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    at: PathBuf,
    writable: bool,
}

/// Every mount that this process sees, in the order in which they were made.
///
/// The table is read again only after a change: to read it takes longer than most of what is done for a command's start.
pub(crate) fn all() -> Result<Arc<[Mounted]>, SandboxError> {
    static TABLE: Mutex<Option<Table>> = Mutex::new(None);
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let mounted = match table.as_mut() {
        Some(table) => table.mounted(),
        None => Table::open("/proc/self/mountinfo").map(|opened| Arc::clone(&table.insert(opened).mounted)),
    };
    mounted.map_err(SandboxError::io("read the table of mounts"))
}

/// The table of mounts, and what it said last.
struct Table {
    file: File,
    mounted: Arc<[Mounted]>,
}

impl Table {
    fn open(path: &str) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mounted = read(&mut file)?;
        Ok(Self { file, mounted })
    }

    fn mounted(&mut self) -> io::Result<Arc<[Mounted]>> {
        if self.has_changed()? {
            self.mounted = read(&mut self.file)?;
        }
        Ok(Arc::clone(&self.mounted))
    }

    /// Whether a mount was made, changed or removed since this was asked last, or the table opened
    /// (proc_pid_mountinfo(5)). A change while the table is read is told the next time.
    fn has_changed(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(&self.file, PollFlags::PRI)];
        Ok(poll(&mut polled, Some(&Timespec::default()))? > 0)
    }
}

fn read(file: &mut File) -> io::Result<Arc<[Mounted]>> {
    let mut table = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut table)?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(mounted).collect())
}

/// A line of proc_pid_mountinfo(5): the fifth field is the place, the sixth has `ro` or `rw` first.
fn mounted(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let at = PathBuf::from(OsString::from_vec(unescaped(fields.nth(4)?)));
    let options = fields.next()?;
    let read_only = options.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(Mounted { at, writable: !read_only })
}

/// Spaces, tabs, line ends and backslashes are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match after.split_at_checked(3).filter(|_| *first == b'\\') {
            Some((digits, after)) if octal(digits).is_some() => {
                plain.extend(octal(digits));
                rest = after;
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

/// Whether the mount that holds `path` is writable.
pub(crate) fn is_writable(mounted: &[Mounted], path: &Path) -> bool {
    let around = mounted.iter().filter(|mount| path.starts_with(&mount.at));
    // The later of two at one place covers the earlier; `max_by_key` returns the last.
    around.max_by_key(|mount| mount.at.components().count()).is_none_or(|mount| mount.writable)
}

/// The places below `path`, without itself, where something writable is mounted.
pub(crate) fn writable_below(mounted: &[Mounted], path: &Path) -> impl Iterator<Item = PathBuf> {
    let below = mounted.iter().filter(move |mount| mount.at != path && mount.at.starts_with(path));
    below.filter(|mount| mount.writable).map(|mount| mount.at.clone())
}

#[cfg(test)]
#[expect(unsafe_code, reason = "a namespace for a thread")]
mod tests {
    use super::*;

    #[test]
    fn places_and_whether_they_may_be_written_are_read_from_the_table() {
        let line = b"36 35 98:0 /mnt1 /mnt/a\\040b ro,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mounted(line), Some(Mounted { at: "/mnt/a b".into(), writable: false }));
        assert_eq!(mounted(b""), None);
    }

    #[test]
    fn a_mount_that_is_made_changed_or_removed_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let at = std::fs::canonicalize(place.path()).unwrap();
        // In a namespace of this thread alone.
        let seen = std::thread::spawn(move || {
            use rustix::{mount::*, thread::*};
            // SAFETY: the table of descriptors stays shared.
            if unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.is_err() {
                eprintln!("not tried: this user may not mount");
                return;
            }
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let mut table = Table::open("/proc/thread-self/mountinfo").unwrap();
            let mut look = || {
                let mounted = table.mounted().unwrap();
                mounted.iter().find(|mount| mount.at == at).map(|mount| mount.writable)
            };
            assert_eq!([look(), look()], [None, None]);
            mount("none", &at, "tmpfs", MountFlags::empty(), None).unwrap();
            assert_eq!([look(), look()], [Some(true), Some(true)]);
            mount_remount(&at, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
            assert_eq!([look(), look()], [Some(false), Some(false)]);
            unmount(&at, UnmountFlags::empty()).unwrap();
            assert_eq!([look(), look()], [None, None]);
        });
        seen.join().unwrap();
    }

    #[test]
    fn the_innermost_and_latest_mount_says_whether_a_path_is_writable() {
        let mount = |at: &str, writable| Mounted { at: at.into(), writable };
        let table = [
            mount("/", true),
            mount("/a", false),
            mount("/a/b", true),
            mount("/c", true),
            mount("/c", false),
        ];
        let writable = |path: &str| is_writable(&table, Path::new(path));
        assert_eq!(["/x", "/a/x", "/a/b/x", "/c"].map(writable), [true, false, true, false]);
        assert_eq!(writable_below(&table, Path::new("/a")).collect::<Vec<_>>(), [PathBuf::from("/a/b")]);
    }
}
