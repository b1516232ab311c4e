//! Snapshots of a folded state, in `snapshots/<next-seq>.json`: they shorten a start and are never the truth.
//!
//! A snapshot is two lines: a header, signed by the instance's key, and the state, of which nothing is known here. One is
//! taken only if this very build wrote it, its signature and digest hold, and the log's record before it has the digest that
//! it names; otherwise the log is folded from its first record. When one is written is the daemon's business.

use std::{
    io,
    path::{Path, PathBuf},
};

use ostk_disk::fs;
use ostk_log::{Hash, KeyId, Signer, decode_hex, encode_hex, planted};
use serde::{Deserialize, Serialize};

use crate::Reader;

/// Snapshots kept: the newest, and one in case it was torn.
const KEPT: usize = 2;

/// What the first line says.
#[derive(Serialize, Deserialize)]
struct Header {
    /// Which build wrote it: another may fold differently.
    build: String,
    /// The first record that is not in the state.
    next_seq: u64,
    /// Digest of the record before.
    head: Hash,
    /// Digest of the second line.
    state: Hash,
    key: KeyId,
    sig: String,
}

impl Header {
    fn message(&self) -> Vec<u8> {
        let Self { build, next_seq, head, state, .. } = self;
        format!("ostk snapshot\n{build}\n{next_seq}\n{head}\n{state}\n").into_bytes()
    }
}

/// Where snapshots of a log are, and who writes and reads them.
#[derive(Clone, Copy)]
pub struct Snapshots<'a> {
    /// The project's state folder.
    pub state_dir: &'a Path,
    /// The instance's key.
    pub signer: &'a dyn Signer,
    /// Names this build: what another wrote is left out.
    pub build: &'a str,
}

impl std::fmt::Debug for Snapshots<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots")
            .field("state_dir", &self.state_dir)
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}

impl Snapshots<'_> {
    /// Writes the state after the records before `next_seq`, which must be durable, and removes old snapshots.
    ///
    /// # Errors
    /// When the disk refuses, or the log does not hold the record before. Nothing is lost then but time at the next start.
    pub fn save(&self, next_seq: u64, state: &[u8]) -> io::Result<()> {
        let dir = self.dir();
        fs::create_dir_all(&dir)?;
        let head = self.head_before(next_seq).map_err(io::Error::other)?;
        // A snapshot that a crash tears does not have the digest that it names, so nothing is synced.
        let draft = dir.join("draft");
        fs::write(&draft, self.signed(next_seq, head, state)?)?;
        fs::rename(draft, dir.join(name(next_seq)))?;
        for (_, old) in self.listed()?.into_iter().rev().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    /// The bytes of a snapshot.
    fn signed(&self, next_seq: u64, head: Hash, state: &[u8]) -> io::Result<Vec<u8>> {
        let (build, key) = (self.build.to_owned(), *self.signer.key_id());
        let mut header = Header { build, next_seq, head, state: Hash::of(state), key, sig: String::new() };
        header.sig = encode_hex(&self.signer.sign(&header.message()));
        let mut text = serde_json::to_vec(&header)?;
        text.push(b'\n');
        text.extend_from_slice(state);
        Ok(text)
    }

    /// The newest snapshot that fits the log, which has `records`, as `parse` reads its state. What is left out, and why,
    /// is told to `say`.
    pub fn newest<S>(
        &self,
        records: u64,
        parse: impl Fn(&[u8]) -> Result<S, String>,
        mut say: impl FnMut(&Path, &str),
    ) -> Option<S> {
        for (seq, path) in self.listed().unwrap_or_default().into_iter().rev() {
            let read = self.read(&path, seq);
            match read.and_then(|(text, begin)| parse(text.get(begin..).unwrap_or_default())) {
                Ok(state) if seq <= records => return Some(state),
                Ok(_) => {}
                Err(why) => say(&path, &why),
            }
        }
        None
    }

    /// A snapshot, and where in it the state begins.
    fn read(&self, path: &Path, seq: u64) -> Result<(Vec<u8>, usize), String> {
        let text = fs::read(path).map_err(|error| error.to_string())?;
        let end = text.iter().position(|byte| *byte == b'\n').ok_or("it has no header")?;
        let (first, state) = text.split_at_checked(end + 1).ok_or("it has no state")?;
        let header: Header = serde_json::from_slice(first).map_err(|error| error.to_string())?;
        if header.build != self.build {
            return Err("another build wrote it".to_owned());
        }
        if header.next_seq != seq {
            return Err(format!("it is of record {}", header.next_seq));
        }
        let (sig, key) =
            (decode_hex(header.sig.as_bytes()).ok_or("its signature is malformed")?, self.signer.key_id());
        if header.key != *key || key.verify(&header.message(), &sig).is_err() {
            return Err("it is not signed by this instance's key".to_owned());
        }
        if Hash::of(state) != header.state {
            return Err("its state was changed".to_owned());
        }
        if self.head_before(seq)? != header.head && !planted!("stale snapshot") {
            return Err("it is of another log".to_owned());
        }
        Ok((text, end + 1))
    }

    /// Digest of the record before `seq`.
    fn head_before(&self, seq: u64) -> Result<Hash, String> {
        let last = seq.checked_sub(1).ok_or("it is of no record")?;
        let mut reader = Reader::open_at(self.state_dir, last).map_err(|error| error.to_string())?;
        match reader.next() {
            Some(Ok(entry)) if entry.seq == last => Ok(entry.hash),
            Some(Err(error)) => Err(error.to_string()),
            _ => Err(format!("the log has no record {last}")),
        }
    }

    fn dir(&self) -> PathBuf {
        self.state_dir.join("snapshots")
    }

    /// The snapshots by their number, oldest first.
    fn listed(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let dir = self.dir();
        let number = |path: PathBuf| Some((path.file_stem()?.to_str()?.parse().ok()?, path));
        let mut found: Vec<(u64, PathBuf)> =
            fs::names(&dir)?.into_iter().filter_map(|name| number(dir.join(name))).collect();
        found.sort();
        Ok(found)
    }
}

fn name(seq: u64) -> String {
    format!("{seq:020}.json")
}
