//! The listings that are remembered, and when a listing may be.
//!
//! One memory for the process, behind a lock that is held for a lookup and never while something is read.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    os::fd::AsFd,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::fs::Stat;

use crate::Listing;

/// How long the last change of a directory must be past for its listing to be kept: the coarsest step of the clocks of
/// the file systems below is a second.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);
/// Entries that are remembered, together: some ten megabytes.
const MAX_ENTRIES: usize = 100_000;
/// Entries of one listing that is remembered.
const MAX_IN_ONE: usize = 1_000;
/// Names that are asked for: nobody asks for more than some dozen.
const MAX_NAMES: usize = 1_000;

/// File systems whose change times the kernel of this machine sets at each change (statfs(2)). Not those that others can
/// change behind its back: network file systems, and those of a program.
const KNOWN: [u64; 8] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0x794c_7630, // overlayfs
];

/// What is the same as long as no entry of a directory changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    directory: (u64, u64),
    changed: (i64, i64),
    modified: (i64, i64),
    size: i64,
    links: u64,
}

impl Stamp {
    #[expect(clippy::unnecessary_cast, reason = "the types differ from one processor to another")]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            directory: (stat.st_dev, stat.st_ino),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            size: stat.st_size,
            links: stat.st_nlink as u64,
        }
    }
}

/// Whether every change from `began` on (since the epoch) gives the directory another change time than it has.
pub(crate) fn is_settled(stat: &Stat, began: Duration) -> bool {
    let changed = u64::try_from(stat.st_ctime).unwrap_or_default();
    // The part of a second is left out, and a second added for it.
    let changed = Duration::from_secs(changed.saturating_add(1));
    changed.checked_add(SETTLED).is_some_and(|settled| settled <= began)
}

/// Whether a directory is on one of the file systems that are known.
pub(crate) fn keeps_times(directory: impl AsFd) -> bool {
    #[expect(clippy::cast_sign_loss, reason = "a magic number of 32 bits")]
    let kind = |stat: rustix::fs::StatFs| stat.f_type as u64 & u64::from(u32::MAX);
    rustix::fs::fstatfs(directory).is_ok_and(|stat| KNOWN.contains(&kind(stat)))
}

#[derive(Default)]
pub(crate) struct Memory {
    /// Names that every listing here tells of.
    names: Arc<BTreeSet<OsString>>,
    listings: HashMap<(u64, u64), (Stamp, Listing)>,
    entries: usize,
}

/// Each change is one step for a reader, so the memory stays right when a thread panicked while it held the lock.
pub(crate) fn memory() -> MutexGuard<'static, Memory> {
    static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(Mutex::default);
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// From now on these names are told of as well. What was remembered without them is forgotten.
    pub(crate) fn remember_also(&mut self, mut names: BTreeSet<OsString>) -> Arc<BTreeSet<OsString>> {
        if !names.is_subset(&self.names) {
            if names.len() + self.names.len() <= MAX_NAMES {
                names.extend(self.names.iter().cloned());
            }
            self.forget();
            self.names = Arc::new(names);
        }
        Arc::clone(&self.names)
    }

    /// The listing of a directory, if it is remembered with these names and nothing has changed.
    pub(crate) fn recall(&self, stamp: &Stamp, names: &Arc<BTreeSet<OsString>>) -> Option<Listing> {
        let (then, listing) = self.listings.get(&stamp.directory)?;
        (then == stamp && Arc::ptr_eq(names, &self.names)).then(|| Arc::clone(listing))
    }

    pub(crate) fn keep(&mut self, stamp: Stamp, listing: &Listing, names: &Arc<BTreeSet<OsString>>) {
        if listing.len() > MAX_IN_ONE || !Arc::ptr_eq(names, &self.names) {
            return;
        }
        // A directory counts as an entry of its own.
        if self.entries + listing.len() >= MAX_ENTRIES {
            self.forget();
        }
        self.entries += listing.len() + 1;
        let before = self.listings.insert(stamp.directory, (stamp, Arc::clone(listing)));
        self.entries -= before.map_or(0, |(_, listing)| listing.len() + 1);
    }

    fn forget(&mut self) {
        self.listings.clear();
        self.entries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_names_is_not_answered_from_what_was_read_for_fewer() {
        let mut memory = Memory::default();
        let stamp = Stamp::of(&rustix::fs::stat(".").unwrap());
        let few = memory.remember_also(["a".into()].into());
        memory.keep(stamp.clone(), &Listing::from([]), &few);
        assert!(memory.recall(&stamp, &few).is_some());
        assert!(Arc::ptr_eq(&few, &memory.remember_also(["a".into()].into())));
        let more = memory.remember_also(["b".into()].into());
        memory.keep(stamp.clone(), &Listing::from([]), &few);
        assert!(memory.recall(&stamp, &few).is_none() && memory.recall(&stamp, &more).is_none());
        assert_eq!(more.len(), 2, "both are told of from now on");
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut memory = Memory::default();
        let stat = rustix::fs::stat(".").unwrap();
        let names = memory.remember_also(BTreeSet::new());
        for number in 0..=MAX_ENTRIES as u64 {
            let stamp = Stamp { directory: (0, number), ..Stamp::of(&stat) };
            memory.keep(stamp, &Listing::from([]), &names);
            assert!(memory.entries <= MAX_ENTRIES && memory.listings.len() == memory.entries);
        }
    }
}
