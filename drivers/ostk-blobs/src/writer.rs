//! The one appender. Collects a group's blobs in memory, writes them with one write, syncs them with one sync.
//!
//! Called by the journal's pack thread. After an error the writer must be dropped and the store opened again, because
//! nobody knows how much of the group the disk took.

use std::{collections::HashSet, io::Write, sync::Arc};

use ostk_disk::fs::{File, OpenOptions};
use ostk_log::Hash;

use crate::{
    BlobError, BlobStore, PACK_MAX_BYTES,
    format::{Header, pack_name},
    mark::{Mark, MarkFile},
    store::{Pack, Place},
};

/// Appends blobs to the last pack of a store.
#[derive(Debug)]
pub struct PackWriter {
    store: Arc<BlobStore>,
    mark: MarkFile,
    pack: Option<OpenPack>,
    /// Blobs in all packs and the buffer: names the next pack.
    entries: u64,
    buffer: Vec<u8>,
    buffered: Vec<(Hash, Place)>,
    in_buffer: HashSet<Hash>,
    pack_max_bytes: u64,
}

#[derive(Debug)]
struct OpenPack {
    number: u64,
    file: File,
    path: std::path::PathBuf,
    /// Which pack of the store, counted from 0.
    position: usize,
    /// Bytes written, without the buffer.
    len: u64,
    /// Bytes known to be durable.
    synced: u64,
}

impl PackWriter {
    pub(crate) fn new(
        store: Arc<BlobStore>,
        entries: u64,
        last: Option<(u64, u64)>,
    ) -> Result<Self, BlobError> {
        let mark = MarkFile::open(&store.dir)?;
        let mut writer = Self {
            store,
            mark,
            pack: None,
            entries,
            buffer: Vec::new(),
            buffered: Vec::new(),
            in_buffer: HashSet::new(),
            pack_max_bytes: PACK_MAX_BYTES,
        };
        if let Some((number, len)) = last {
            writer.pack = Some(writer.open_pack(number, len)?);
            // What recovery found whole may still be in the page cache only.
            writer.sync()?;
            writer.mark_durably()?;
        }
        Ok(writer)
    }

    /// Closes packs at another size than [`PACK_MAX_BYTES`].
    pub fn with_pack_max_bytes(mut self, bytes: u64) -> Self {
        self.pack_max_bytes = bytes;
        self
    }

    /// The store this writer appends to.
    pub fn store(&self) -> &Arc<BlobStore> {
        &self.store
    }

    /// Appends a blob unless the store has it; `true` if it was new. Readable at once, durable after [`Self::sync`].
    pub fn append(&mut self, hash: Hash, bytes: &[u8]) -> Result<bool, BlobError> {
        self.store.stage(hash, bytes.into())?;
        self.append_staged(&hash)
    }

    /// Appends a blob that was staged, unless a pack has it; `true` if it was new.
    pub fn append_staged(&mut self, hash: &Hash) -> Result<bool, BlobError> {
        let bytes = {
            let state = self.store.read();
            if self.in_buffer.contains(hash) || state.index.contains_key(hash) {
                return Ok(false);
            }
            state.staged.get(hash).cloned().ok_or(BlobError::NotStaged(*hash))?
        };
        let header = Header { hash: *hash, size: bytes.len() as u64 };
        let (position, start) = self.room_for(header.entry_len())?;
        let text = header.encode();
        let place = Place { pack: position, start, data: start + text.len() as u64, size: header.size };
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(&bytes);
        self.buffer.push(b'\n');
        self.buffered.push((*hash, place));
        self.in_buffer.insert(*hash);
        self.entries += 1;
        Ok(true)
    }

    /// Writes what was appended, with one write. The bytes are in the page cache afterwards, not yet durable.
    pub fn flush(&mut self) -> Result<(), BlobError> {
        let Some(pack) = &mut self.pack else { return Ok(()) };
        if self.buffer.is_empty() {
            return Ok(());
        }
        pack.file.write_all(&self.buffer).map_err(BlobError::io("write", &pack.path))?;
        pack.len += self.buffer.len() as u64;
        self.buffer.clear();
        // One blob of the largest size must not pin its memory for ever.
        self.buffer.shrink_to(1 << 20);
        self.in_buffer.clear();
        let mut state = self.store.write();
        for (hash, place) in self.buffered.drain(..) {
            state.index.insert(hash, place);
            state.staged.remove(&hash);
        }
        Ok(())
    }

    /// Makes everything appended so far durable. Does nothing when nothing was appended since the last sync.
    pub fn sync(&mut self) -> Result<(), BlobError> {
        self.flush()?;
        let Some(pack) = &mut self.pack else { return Ok(()) };
        if pack.synced == pack.len {
            return Ok(());
        }
        pack.file.sync_data().map_err(BlobError::io("sync", &pack.path))?;
        pack.synced = pack.len;
        self.mark.set(Mark { pack: pack.number, bytes: pack.len })
    }

    /// Where the next entry goes: position of the pack and offset in it. Begins a new pack when this one is full.
    fn room_for(&mut self, entry: u64) -> Result<(usize, u64), BlobError> {
        let buffered = self.buffer.len() as u64;
        if let Some(pack) = &self.pack
            && (pack.len + buffered == 0 || pack.len + buffered + entry <= self.pack_max_bytes)
        {
            return Ok((pack.position, pack.len + buffered));
        }
        // A closed pack is durable before the next one exists: only the last pack can be torn.
        self.sync()?;
        let pack = self.open_pack(self.entries, 0)?;
        let position = pack.position;
        self.pack = Some(pack);
        self.mark_durably()?;
        Ok((position, 0))
    }

    /// No power cut leaves the pack without a mark: what it tears after the mark is then known to be its doing.
    fn mark_durably(&self) -> Result<(), BlobError> {
        let Some(pack) = &self.pack else { return Ok(()) };
        self.mark.set(Mark { pack: pack.number, bytes: pack.synced })?;
        self.mark.sync()
    }

    fn open_pack(&self, number: u64, len: u64) -> Result<OpenPack, BlobError> {
        let path = self.store.dir.join(pack_name(number));
        let open = || OpenOptions::new().append(true).read(true).create(true).open(&path);
        let file = open().map_err(BlobError::io("open", &path))?;
        if len == 0 {
            let dir = File::open(&self.store.dir).and_then(|dir| dir.sync_all());
            dir.map_err(BlobError::io("sync", &self.store.dir))?;
        }
        let mut state = self.store.write();
        if !state.packs.iter().any(|known| known.path == path) {
            let reader = file.try_clone().map_err(BlobError::io("open", &path))?;
            state.packs.push(Arc::new(Pack { path: path.clone(), file: reader }));
        }
        let position = state.packs.len() - 1;
        drop(state);
        Ok(OpenPack { number, file, path, position, len, synced: 0 })
    }
}
