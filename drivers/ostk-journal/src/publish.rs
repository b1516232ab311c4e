//! Writes what other programs may read of the tree: `log/checkpoint` and the tiles below `log/tile`.
//!
//! None of it is synced: it can be computed again from the records, and is, at the next open.

use std::{
    io,
    path::{Path, PathBuf},
};

use ostk_disk::fs::{self, OpenOptions};
use ostk_log::{Checkpoint, CheckpointError, Signer, Tile};

use crate::{failpoint::Failpoints, tree::TileFile};

/// Why the tree could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The operating system refused.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The checkpoint cannot be signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl PublishError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}

/// The folder that a file server would publish.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// The signed checkpoint.
pub(crate) fn checkpoint_path(dir: &Path) -> PathBuf {
    log_dir(dir).join("checkpoint")
}

/// Replaces the checkpoint by rename: a reader sees the old one or the new one, whole.
pub(crate) fn write_checkpoint(
    dir: &Path,
    checkpoint: &Checkpoint,
    signer: &dyn Signer,
    failpoints: &Failpoints,
) -> Result<(), PublishError> {
    let text = checkpoint.sign(signer)?;
    let path = checkpoint_path(dir);
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(PublishError::io(&new))?;
    failpoints.at("checkpoint.written");
    fs::rename(&new, &path).map_err(PublishError::io(&path))?;
    failpoints.at("checkpoint.renamed");
    Ok(())
}

/// Empties a new checkpoint that a crash left behind. The next one is written into its file, and a power cut could leave
/// a mixture of the two.
pub(crate) fn clear_unfinished(dir: &Path) -> io::Result<()> {
    let new = checkpoint_path(dir).with_extension("new");
    match OpenOptions::new().write(true).truncate(true).open(&new) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes tiles by rename. Full tiles make their narrower versions useless; those are removed with their folder.
pub(crate) fn write_tiles(dir: &Path, tiles: &[TileFile]) -> Result<(), PublishError> {
    for (name, bytes) in tiles {
        let path = log_dir(dir).join(name);
        write_tile(&path, bytes).map_err(PublishError::io(&path))?;
    }
    Ok(())
}

fn write_tile(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    if let Err(error) = fs::write(&new, bytes) {
        let folder = path.parent().filter(|_| error.kind() == io::ErrorKind::NotFound).ok_or(error)?;
        fs::create_dir_all(folder)?;
        fs::write(&new, bytes)?;
    }
    fs::rename(&new, path)?;
    match fs::remove_dir_all(path.with_extension("p")) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The bytes of a full tile, `None` if it is missing or not as long as a full tile.
pub(crate) fn read_full_tile(dir: &Path, tile: Tile) -> Option<Vec<u8>> {
    let bytes = fs::read(log_dir(dir).join(tile.path())).ok()?;
    (bytes.len() == usize::from(tile.width()) * 32).then_some(bytes)
}
