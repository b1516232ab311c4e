//! A file's versions as they stand in a snapshot: each member of all versions together.
//!
//! Most of a state is versions of files, and how long a start takes is how long they take to read. Together, numbers that
//! grow are small differences, a name stands once, and digests are one string: a third of the bytes of a list of objects.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{event::FileImage, state::Version};

const DIGEST: usize = 32;

#[derive(Serialize, Deserialize)]
struct Columns {
    /// Generation of the first; each later version has the next.
    first: u64,
    /// The first number, then what each is more than the one before.
    seq: Vec<i64>,
    /// The same, in microseconds since the epoch.
    ts: Vec<i64>,
    names: Vec<String>,
    /// Who of `names` wrote each.
    writer: Vec<usize>,
    /// Digests of those that are not deleted, in base64.
    blobs: String,
    deleted: Vec<usize>,
    executable: Vec<usize>,
    foreign: Vec<usize>,
}

pub(crate) fn serialize<S: Serializer>(versions: &[Version], to: S) -> Result<S::Ok, S::Error> {
    let first = versions.first().map_or(0, |version| version.generation);
    debug_assert!(
        versions.iter().zip(first..).all(|(version, generation)| version.generation == generation),
        "each change raises the generation by one"
    );
    let mut names: Vec<String> = Vec::new();
    let mut index = |version: &Version| {
        names.iter().position(|name| *name == version.writer).unwrap_or_else(|| {
            names.push(version.writer.clone());
            names.len() - 1
        })
    };
    let writer = versions.iter().map(&mut index).collect();
    let images = versions.iter().filter_map(|version| version.image);
    let blobs: Vec<u8> = images.flat_map(|image| *image.blob.as_bytes()).collect();
    let which = |is: fn(&Version) -> bool| {
        let found = versions.iter().enumerate().filter(|(_, version)| is(version));
        found.map(|(at, _)| at).collect()
    };
    let columns = Columns {
        first,
        seq: differences(versions.iter().map(|version| version.seq)),
        ts: differences(versions.iter().map(|version| version.ts.as_micros())),
        names,
        writer,
        blobs: STANDARD_NO_PAD.encode(blobs),
        deleted: which(|version| version.image.is_none()),
        executable: which(|version| version.image.is_some_and(|image| image.executable)),
        foreign: which(|version| version.foreign),
    };
    columns.serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Version>, D::Error> {
    let columns = Columns::deserialize(from)?;
    versions(&columns).ok_or_else(|| D::Error::custom("the columns of a file's versions do not fit together"))
}

fn versions(columns: &Columns) -> Option<Vec<Version>> {
    let count = columns.seq.len();
    let bytes = STANDARD_NO_PAD.decode(&columns.blobs).ok()?;
    let (digests, rest) = bytes.as_chunks::<DIGEST>();
    let fits = columns.ts.len() == count && columns.writer.len() == count && rest.is_empty();
    if !fits || digests.len() + columns.deleted.len() != count {
        return None;
    }
    let mut digests = digests.iter().map(|digest| Hash::from_bytes(*digest));
    let (deleted, executable) = (flags(&columns.deleted, count)?, flags(&columns.executable, count)?);
    let foreign = flags(&columns.foreign, count)?;
    let mut versions = Vec::with_capacity(count);
    for (at, (seq, micros)) in sums(&columns.seq).zip(sums(&columns.ts)).enumerate() {
        let image = match deleted.get(at)? {
            true => None,
            false => Some(FileImage { blob: digests.next()?, executable: *executable.get(at)? }),
        };
        versions.push(Version {
            generation: columns.first.checked_add(at as u64)?,
            seq,
            ts: Timestamp::from_micros(micros),
            writer: columns.names.get(*columns.writer.get(at)?)?.clone(),
            image,
            foreign: *foreign.get(at)?,
        });
    }
    Some(versions)
}

/// Wrapping, so that any numbers come back.
fn differences(numbers: impl Iterator<Item = u64>) -> Vec<i64> {
    let mut before = 0_u64;
    numbers.map(|number| number.wrapping_sub(std::mem::replace(&mut before, number)).cast_signed()).collect()
}

fn sums(differences: &[i64]) -> impl Iterator<Item = u64> {
    differences.iter().scan(0_u64, |sum, more| {
        *sum = sum.wrapping_add_signed(*more);
        Some(*sum)
    })
}

/// One flag for each of `count` rows; none if a row that is named is not there.
fn flags(which: &[usize], count: usize) -> Option<Vec<bool>> {
    let mut flags = vec![false; count];
    for at in which {
        *flags.get_mut(*at)? = true;
    }
    Some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::FileEntry;

    fn entry() -> FileEntry {
        let image = |text: &str, executable| Some(FileImage { blob: Hash::of(text.as_bytes()), executable });
        let version = |generation, seq, writer: &str, image, foreign| Version {
            generation,
            seq,
            ts: Timestamp::from_micros(1_000_000 + seq % 1_000 * 7),
            writer: writer.to_owned(),
            image,
            foreign,
        };
        let history = vec![
            version(5, 90, "initial", image("a", false), false),
            version(6, 120, "agent:a", image("b", true), false),
            // A write whose intent came before a change outside that was seen first.
            version(7, 110, "human:external", None, true),
            version(8, u64::MAX, "agent:a", image("c", false), false),
        ];
        FileEntry { generation: 8, image: image("c", false), history, labels: Default::default() }
    }

    #[test]
    fn versions_come_back_as_they_were() {
        let text = serde_json::to_string(&entry()).unwrap();
        assert_eq!(serde_json::from_str::<FileEntry>(&text).unwrap(), entry());
        let none = FileEntry { history: Vec::new(), ..entry() };
        let text = serde_json::to_string(&none).unwrap();
        assert_eq!(serde_json::from_str::<FileEntry>(&text).unwrap(), none);
    }

    #[test]
    fn columns_that_do_not_fit_together_are_refused() {
        let whole = serde_json::to_value(entry()).unwrap();
        for (column, broken) in [
            ("seq", serde_json::json!([1, 2, 3])),
            ("writer", serde_json::json!([0, 1, 9, 1])),
            ("deleted", serde_json::json!([])),
            ("foreign", serde_json::json!([4])),
            ("blobs", serde_json::json!("AAAA")),
        ] {
            let mut entry = whole.clone();
            entry["history"][column] = broken;
            let error = serde_json::from_value::<FileEntry>(entry).unwrap_err();
            assert!(error.to_string().contains("do not fit"), "{column}: {error}");
        }
    }
}
