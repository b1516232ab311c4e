//! The store that everyone reads from: the index, the open packs, and blobs handed over but not yet in a pack.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ostk_disk::fs::{self, File};
use ostk_log::Hash;

use crate::{
    BLOB_MAX_BYTES, BlobError, Cut, PackWriter,
    recover::{Found, find},
};

/// Where a blob lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Which pack, counted from 0.
    pub(crate) pack: usize,
    /// Where its entry begins.
    pub(crate) start: u64,
    /// Where its bytes begin.
    pub(crate) data: u64,
    /// How many there are.
    pub(crate) size: u64,
}

/// An open pack.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
}

/// All blobs of a project. Cheap to share; any number of threads may read while one [`PackWriter`] appends.
#[derive(Debug)]
pub struct BlobStore {
    pub(crate) dir: PathBuf,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) index: HashMap<Hash, Place>,
    pub(crate) packs: Vec<Arc<Pack>>,
    /// Handed over, not yet in a pack: readable at once.
    pub(crate) staged: HashMap<Hash, Arc<[u8]>>,
}

impl BlobStore {
    /// Opens the packs of `dir` for one writer and many readers, creating the folder if needed.
    ///
    /// The caller holds the journal's lock: two writers would cut each other's unfinished entries. An unfinished last
    /// entry is moved aside and reported; any other damage is [`BlobError::Corrupt`].
    pub fn open(dir: &Path) -> Result<(PackWriter, Option<Cut>), BlobError> {
        fs::create_dir_all(dir).map_err(BlobError::io("create", dir))?;
        let mut found = find(dir)?;
        let cut = found.cut(dir)?;
        let (entries, last) =
            (found.entries, found.packs.last().map(|(number, _)| (*number, found.last_len)));
        let store = Arc::new(Self::from_found(dir, found)?);
        Ok((PackWriter::new(store, entries, last)?, cut))
    }

    /// Opens the packs of `dir` for reading beside a running writer. Blobs appended later are not seen, and an
    /// unfinished last entry is left where it is.
    pub fn open_read_only(dir: &Path) -> Result<Self, BlobError> {
        Self::from_found(dir, find(dir)?)
    }

    fn from_found(dir: &Path, found: Found) -> Result<Self, BlobError> {
        let open = |(_, path): (u64, PathBuf)| {
            let file = File::open(&path).map_err(BlobError::io("open", &path))?;
            Ok(Arc::new(Pack { path, file }))
        };
        let packs = found.packs.into_iter().map(open).collect::<Result<_, BlobError>>()?;
        let state = State { index: found.index, packs, staged: HashMap::new() };
        Ok(Self { dir: dir.into(), state: RwLock::new(state) })
    }

    /// The bytes of a blob, `None` if the store does not have it. The hash is checked at each read:
    /// [`BlobError::Corrupt`] if the pack holds other bytes.
    pub fn get(&self, hash: &Hash) -> Result<Option<Vec<u8>>, BlobError> {
        let (place, pack) = {
            let state = self.read();
            if let Some(bytes) = state.staged.get(hash) {
                return Ok(Some(bytes.to_vec()));
            }
            let Some(place) = state.index.get(hash).copied() else { return Ok(None) };
            let Some(pack) = state.packs.get(place.pack).cloned() else { return Ok(None) };
            (place, pack)
        };
        let size = usize::try_from(place.size).map_err(|_| BlobError::TooLarge { size: place.size })?;
        let mut bytes = vec![0; size];
        pack.file.read_exact_at(&mut bytes, place.data).map_err(BlobError::io("read", &pack.path))?;
        if Hash::of(&bytes) != *hash {
            let what = format!("the bytes do not have the hash {hash}");
            return Err(BlobError::corrupt(&pack.path, place.start, what));
        }
        Ok(Some(bytes))
    }

    /// Whether the store has the blob; does not look at its bytes.
    pub fn contains(&self, hash: &Hash) -> bool {
        let state = self.read();
        state.index.contains_key(hash) || state.staged.contains_key(hash)
    }

    /// Size of the blob in bytes, if the store has it.
    pub fn size(&self, hash: &Hash) -> Option<u64> {
        let state = self.read();
        let staged = state.staged.get(hash).map(|bytes| bytes.len() as u64);
        staged.or_else(|| state.index.get(hash).map(|place| place.size))
    }

    /// How many different blobs the packs hold.
    pub fn len(&self) -> usize {
        self.read().index.len()
    }

    /// Whether the packs hold nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands a blob over: it can be read from now on, and [`PackWriter::append_staged`] puts it into a pack. Nothing is
    /// durable yet. The hash is checked here, on the caller's thread. A blob that a pack holds already is not kept twice.
    pub fn stage(&self, hash: Hash, bytes: Arc<[u8]>) -> Result<(), BlobError> {
        let size = bytes.len() as u64;
        if size > BLOB_MAX_BYTES {
            return Err(BlobError::TooLarge { size });
        }
        let actual = Hash::of(&bytes);
        if actual != hash {
            return Err(BlobError::WrongHash { claimed: hash, actual });
        }
        let mut state = self.write();
        if !state.index.contains_key(&hash) {
            state.staged.insert(hash, bytes);
        }
        Ok(())
    }

    // A thread that panicked while holding the lock left a map that is still whole: inserts are single steps.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
