//! The blob store as its users see it: what is appended can be read, what a crash leaves is cut, what is damaged is found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ostk_blobs::{BLOB_MAX_BYTES, BlobError, BlobStore, verify};
use ostk_log::Hash;
use proptest::prelude::*;

fn blob(n: usize) -> Vec<u8> {
    format!("blob number {n}\n{}", "x".repeat(n * 7 % 90)).into_bytes()
}

/// A synced store of `count` blobs in packs of about 400 bytes.
fn filled(dir: &Path, count: usize) -> Vec<Hash> {
    let (writer, _) = BlobStore::open(dir).unwrap();
    let mut writer = writer.with_pack_max_bytes(400);
    let hashes = (0..count).map(|n| {
        let bytes = blob(n);
        writer.append(Hash::of(&bytes), &bytes).unwrap();
        Hash::of(&bytes)
    });
    let hashes = hashes.collect();
    writer.sync().unwrap();
    hashes
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let mut packs: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    packs.retain(|p| p.extension().is_some_and(|e| e == "pack"));
    packs.sort();
    packs
}

#[test]
fn blobs_are_there_after_reopening_across_packs() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = filled(dir.path(), 40);
    assert!(packs(dir.path()).len() > 3);
    let (writer, cut) = BlobStore::open(dir.path()).unwrap();
    assert_eq!(cut, None);
    for (n, hash) in hashes.iter().enumerate() {
        assert_eq!(writer.store().get(hash).unwrap(), Some(blob(n)));
        assert_eq!(writer.store().size(hash), Some(blob(n).len() as u64));
    }
    assert_eq!(writer.store().get(&Hash::of(b"unknown")).unwrap(), None);
    let report = verify(dir.path(), true).unwrap();
    assert_eq!((report.blobs, report.problems.len(), report.unfinished), (40, 0, None));
}

#[test]
fn a_pack_is_text_around_raw_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = BlobStore::open(dir.path()).unwrap();
    writer.append(Hash::of(b"abc"), b"abc").unwrap();
    writer.sync().unwrap();
    let text = fs::read_to_string(dir.path().join("00000000000000000000.pack")).unwrap();
    assert_eq!(text, "blob ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3\nabc\n");
}

#[test]
fn a_blob_can_be_read_before_it_is_written_and_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = BlobStore::open(dir.path()).unwrap();
    let (hash, bytes) = (Hash::of(b"hello"), b"hello".as_slice());
    writer.store().stage(hash, bytes.into()).unwrap();
    assert_eq!(writer.store().get(&hash).unwrap().as_deref(), Some(bytes));
    assert!(writer.append_staged(&hash).unwrap());
    assert!(!writer.append(hash, bytes).unwrap(), "appended twice before the write");
    writer.flush().unwrap();
    assert!(!writer.append(hash, bytes).unwrap(), "appended twice after the write");
    assert_eq!(writer.store().get(&hash).unwrap().as_deref(), Some(bytes));
    writer.sync().unwrap();
    assert_eq!(verify(dir.path(), true).unwrap().blobs, 1);
}

#[test]
fn wrong_hashes_and_oversized_blobs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = BlobStore::open(dir.path()).unwrap();
    assert!(matches!(writer.append(Hash::of(b"a"), b"b"), Err(BlobError::WrongHash { .. })));
    assert!(matches!(writer.append_staged(&Hash::of(b"a")), Err(BlobError::NotStaged(_))));
    let large = vec![0; usize::try_from(BLOB_MAX_BYTES).unwrap() + 1];
    assert!(matches!(writer.store().stage(Hash::of(b""), Arc::from(large)), Err(BlobError::TooLarge { .. })));
}

#[test]
fn an_unsynced_entry_torn_at_any_byte_is_cut_and_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = BlobStore::open(dir.path()).unwrap();
    writer.append(Hash::of(b"kept"), b"kept").unwrap();
    writer.sync().unwrap();
    let mark = fs::read(dir.path().join("synced")).unwrap();
    writer.append(Hash::of(b"torn"), b"torn").unwrap();
    writer.sync().unwrap();
    drop(writer);
    let pack = packs(dir.path()).remove(0);
    let whole = fs::read(&pack).unwrap();
    let half = whole.len() / 2;
    for with_mark in [true, false] {
        for len in half + 1..whole.len() {
            fs::write(&pack, &whole[..len]).unwrap();
            fs::write(dir.path().join("synced"), if with_mark { mark.as_slice() } else { b"" }).unwrap();
            let (writer, cut) = BlobStore::open(dir.path()).unwrap();
            let cut = cut.expect("nothing was cut");
            assert_eq!((cut.offset, cut.bytes), (half as u64, (len - half) as u64));
            assert_eq!(fs::read(&cut.moved_to).unwrap(), &whole[half..len]);
            assert_eq!(writer.store().len(), 1);
            assert_eq!(fs::read(&pack).unwrap(), &whole[..half]);
        }
    }
}

#[test]
fn an_unsynced_entry_whose_bytes_were_lost_is_cut_although_its_header_stands() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 2);
    let mark = fs::read(dir.path().join("synced")).unwrap();
    let (mut writer, _) = BlobStore::open(dir.path()).unwrap();
    for text in [b"first".as_slice(), b"second"] {
        writer.append(Hash::of(text), text).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    fs::write(dir.path().join("synced"), mark).unwrap();
    let pack = packs(dir.path()).pop().unwrap();
    let bytes = fs::read(&pack).unwrap();
    let lost = bytes.windows(5).position(|w| w == b"first").unwrap();
    OpenOptions::new().write(true).open(&pack).unwrap().write_all_at(&[0; 5], lost as u64).unwrap();
    let (mut writer, cut) = BlobStore::open(dir.path()).unwrap();
    assert!(cut.is_some());
    assert!(!writer.store().contains(&Hash::of(b"second")));
    assert!(writer.append(Hash::of(b"first"), b"first").unwrap(), "the lost blob counted as present");
}

#[test]
fn damage_before_the_mark_stops_the_start_and_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 12);
    let pack = packs(dir.path()).pop().unwrap();
    OpenOptions::new().write(true).open(&pack).unwrap().write_all_at(b"X", 0).unwrap();
    match BlobStore::open(dir.path()) {
        Err(BlobError::Corrupt { file, offset, .. }) => assert_eq!((file, offset), (pack, 0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rotten_blob_is_an_error_at_read_and_never_wrong_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = filled(dir.path(), 1);
    let pack = packs(dir.path()).remove(0);
    OpenOptions::new().write(true).open(&pack).unwrap().write_all_at(b"X", 80).unwrap();
    let store = BlobStore::open_read_only(dir.path()).unwrap();
    assert!(matches!(store.get(&hashes[0]), Err(BlobError::Corrupt { offset: 0, .. })));
}

#[derive(Debug, Clone)]
enum Harm {
    Flip(u8),
    Truncate,
    Remove,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_harm_to_a_synced_pack_is_found_and_located(
        which in 0..100usize,
        at in 0..100_000usize,
        harm in prop_oneof![(1..=255u8).prop_map(Harm::Flip), Just(Harm::Truncate), Just(Harm::Remove)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 20);
        let packs = packs(dir.path());
        let pack = &packs[which % packs.len()];
        let mut bytes = fs::read(pack).unwrap();
        let at = at % bytes.len();
        match harm {
            Harm::Flip(mask) => { bytes[at] ^= mask; fs::write(pack, &bytes).unwrap(); }
            Harm::Truncate => fs::write(pack, &bytes[..at]).unwrap(),
            Harm::Remove => fs::remove_file(pack).unwrap(),
        }
        let report = verify(dir.path(), true).unwrap();
        prop_assert!(!report.problems.is_empty(), "not found");
        let first = &report.problems[0];
        // A missing or shortened pack shows at the latest at the name of the next one.
        let near = packs.iter().position(|p| p == &first.file).unwrap();
        prop_assert!((near == which % packs.len()) || (near == which % packs.len() + 1), "{first:?}");
        prop_assert!(first.file != *pack || first.offset <= at as u64);
        if !matches!(harm, Harm::Flip(_)) {
            prop_assert!(BlobStore::open_read_only(dir.path()).is_err());
        }
    }
}
