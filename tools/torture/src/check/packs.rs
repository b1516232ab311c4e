//! The packs: `blob <sha256> <size>\n<bytes>\n`, again and again. A torn end is where reading stops.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Every blob in memory: a run makes some hundred megabytes at most.
#[derive(Debug, Default)]
pub(super) struct Packs(HashMap<String, Vec<u8>>);

impl Packs {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let mut packs = Self::default();
        for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "pack") {
                let bytes = fs::read(&path)?;
                let mut rest = bytes.as_slice();
                while let Some(after) = packs.take(rest) {
                    rest = after;
                }
            }
        }
        Ok(packs)
    }

    /// Takes one blob off the front.
    fn take<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let end = bytes.iter().take(128).position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let (hash, size) = head.strip_prefix("blob ")?.split_once(' ')?;
        let size: usize = size.parse().ok()?;
        let blob = bytes.get(end + 1..)?.get(..size)?;
        if hex::encode(Sha256::digest(blob)) == hash {
            self.0.insert(hash.to_owned(), blob.to_vec());
        }
        bytes.get(end + 1 + size + 1..)
    }

    pub(super) fn text(&self, hash: &str) -> Option<String> {
        self.0.get(hash).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}
