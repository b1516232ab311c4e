//! Which version brought which line, by following each line from version to version. Knows nothing about authors: the
//! caller has one record per version.

use crate::diff::hunks;
use crate::lines::Interner;

/// For each line of the last version, the index of the version that introduced it. `versions` goes from the oldest to
/// the newest; empty if there is none. A line that was taken out and came back belongs to the version that brought it
/// back. Lines are cut at `\n` whatever the bytes are; two versions are held in memory as lines at a time.
#[must_use]
pub fn blame(versions: &[&[u8]]) -> Vec<usize> {
    let mut origins = Vec::new();
    let mut previous: &[u8] = &[];
    for (version, bytes) in versions.iter().enumerate() {
        origins = carried(&origins, previous, bytes, version);
        previous = bytes;
    }
    origins
}

fn carried(origins: &[usize], old: &[u8], new: &[u8], version: usize) -> Vec<usize> {
    let mut interner = Interner::default();
    let old = interner.read(old);
    let new = interner.read_version(&old, new);
    let mut carried = Vec::with_capacity(new.lines.count());
    let mut line = 0;
    for hunk in hunks(&old.tokens, &new.tokens, interner.distinct()) {
        carried.extend_from_slice(origins.get(line..hunk.before.start).unwrap_or_default());
        carried.extend(hunk.after.map(|_| version));
        line = hunk.before.end;
    }
    carried.extend_from_slice(origins.get(line..).unwrap_or_default());
    carried
}
