//! The key directory on disk: created private, refused when it is not, and one signing key in it.
//!
//! A key file appears whole or not at all: it is written and synced under a temporary name, then linked to its own
//! name, and the link fails when another process was first. So two daemons that start at once get the same key.
//! A crash in between can leave a `signing.key.new-*` file behind: a key that never signed anything.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ostk_log::{KeyId, Signer as _};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::{
    file,
    key::{SEED_BYTES, Seed, SigningKey},
};

/// The file that holds this machine's signing key.
pub const SIGNING_KEY_FILE: &str = "signing.key";

/// The file that holds the key by which the operator signs documents.
pub const OPERATOR_KEY_FILE: &str = "operator.key";

/// How the names of keys begin whose place another took.
const RETIRED: &str = "retired-";
/// Files in the key directory that are looked at.
const MAX_FILES: usize = 10_000;

/// The operator's next key, until its rotation is recorded.
const NEXT_OPERATOR_KEY_FILE: &str = "operator.next.key";

/// The variable that names another key directory.
pub const KEYS_DIR_VARIABLE: &str = "OSTK_KEYS_DIR";

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Any permission of the group or of others.
const NOT_PRIVATE: u32 = 0o077;

/// A key that cannot be created or used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Neither the variable nor a home directory says where keys live.
    #[error("no place for keys: neither {KEYS_DIR_VARIABLE} nor HOME is set to an absolute path")]
    NoDirectory,
    /// Others may read or change the file or directory.
    #[error("{} has mode {mode:04o}: others may use it\nHint: chmod {wanted:o} {}", path.display(), path.display())]
    NotPrivate {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits it needs.
        wanted: u32,
    },
    /// The file or directory belongs to another user.
    #[error("{} belongs to user {owner}, and this process runs as user {user}", path.display())]
    OtherOwner {
        /// The file or directory.
        path: PathBuf,
        /// The user id it belongs to.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// The file is not a key file, or was changed.
    #[error(
        "{} is damaged: {reason}\nHint: restore it from a backup, or move it away and a new key is made",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gave no random bytes.
    #[error("no random bytes for a new key: {0}")]
    NoEntropy(getrandom::Error),
    /// The operating system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A private directory that holds the keys of this machine. It belongs outside every project.
#[derive(Debug, Clone)]
pub struct KeyStore {
    dir: PathBuf,
}

impl KeyStore {
    /// Where keys live: `$OSTK_KEYS_DIR`, otherwise `$HOME/.ostk/keys`. `variable` looks up the environment.
    pub fn default_dir(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, KeyError> {
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(KEYS_DIR_VARIABLE)
            .or_else(|| absolute("HOME").map(|home| home.join(".ostk/keys")))
            .ok_or(KeyError::NoDirectory)
    }

    /// Opens the directory, and creates it with mode 0700 (and missing parents with it) when it is not there.
    ///
    /// Errors: [`KeyError::NotPrivate`] and [`KeyError::OtherOwner`] when somebody else could change the keys.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, KeyError> {
        let dir = dir.into();
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&dir);
        made.map_err(io_error("create directory", &dir))?;
        let metadata = fs::metadata(&dir).map_err(io_error("look at", &dir))?;
        require_private(&dir, &metadata, DIRECTORY_MODE)?;
        Ok(Self { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The signing key of this machine, created at the first call. Any number of processes may call this at once:
    /// all get the same key.
    ///
    /// A created key is on disk (file and directory synced) before it is returned.
    pub fn instance_key(&self) -> Result<SigningKey, KeyError> {
        self.key(SIGNING_KEY_FILE)
    }

    /// The key by which the operator signs documents and statements, created at the first call as
    /// [`KeyStore::instance_key`] is.
    pub fn operator_key(&self) -> Result<SigningKey, KeyError> {
        self.key(OPERATOR_KEY_FILE)
    }

    /// The operator's key, if there is one. Creates nothing.
    pub fn existing_operator_key(&self) -> Result<Option<SigningKey>, KeyError> {
        load(&self.dir.join(OPERATOR_KEY_FILE))
    }

    /// The operator's keys, the present one and those it took the place of. Creates nothing.
    pub fn own_operator_keys(&self) -> Result<Vec<KeyId>, KeyError> {
        let present = self.existing_operator_key()?;
        let mut keys: Vec<KeyId> = present.iter().map(|key| *key.key_id()).collect();
        let entries = fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))?;
        for entry in entries.flatten().take(MAX_FILES) {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(RETIRED) && name.ends_with(".key")) {
                keys.extend(load(&entry.path())?.map(|key| *key.key_id()));
            }
        }
        Ok(keys)
    }

    /// A new key that is kept beside the operator's and takes its place with [`KeyStore::rotate_operator_key`].
    pub fn next_operator_key(&self) -> Result<SigningKey, KeyError> {
        self.key(NEXT_OPERATOR_KEY_FILE)
    }

    /// Puts the next operator key in the place of the present one, which is kept under its public name: what it signed
    /// can still be told apart, and a lost rotation be undone by hand.
    pub fn rotate_operator_key(&self) -> Result<(), KeyError> {
        let (present, next) = (self.dir.join(OPERATOR_KEY_FILE), self.dir.join(NEXT_OPERATOR_KEY_FILE));
        if let Some(old) = load(&present)? {
            let name = old.key_id().to_string().replace("ed25519:", RETIRED);
            let kept = self.dir.join(format!("{name}.key"));
            fs::hard_link(&present, &kept).or_else(exists).map_err(io_error("keep", &kept))?;
        }
        fs::rename(&next, &present).map_err(io_error("replace", &present))?;
        self.sync()
    }

    fn key(&self, name: &str) -> Result<SigningKey, KeyError> {
        let path = self.dir.join(name);
        if let Some(key) = load(&path)? {
            return Ok(key);
        }
        self.create(&path, name)?;
        let missing = || io_error("read", &path)(io::ErrorKind::NotFound.into());
        load(&path)?.ok_or_else(missing)
    }

    /// Puts a new key at `path`, unless another process was first.
    fn create(&self, path: &Path, name: &str) -> Result<(), KeyError> {
        let text = file::encode(&random_seed()?);
        let temporary = self.dir.join(format!("{name}.new-{:016x}", random_u64()?));
        let linked =
            write_new(&temporary, text.as_bytes()).and_then(|()| link_unless_present(&temporary, path));
        let removed = fs::remove_file(&temporary);
        linked.map_err(io_error("create", path))?;
        removed.map_err(io_error("remove", &temporary))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), KeyError> {
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(io_error("sync", &self.dir))
    }
}

/// The key at `path`; `None` when there is no such file.
fn load(path: &Path) -> Result<Option<SigningKey>, KeyError> {
    // A link could point at a key that others wrote, and opening a FIFO could wait for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = match OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error("open", path))?,
    };
    let metadata = opened.metadata().map_err(io_error("look at", path))?;
    if !metadata.is_file() {
        return Err(KeyError::Damaged { path: path.to_owned(), reason: "it is not a regular file".into() });
    }
    require_private(path, &metadata, FILE_MODE)?;
    // Allocated once, so that no earlier copy of the seed is left behind by a growing string.
    let mut text = Zeroizing::new(String::with_capacity(2 * file::MAX_FILE_BYTES as usize));
    let read = opened.take(file::MAX_FILE_BYTES).read_to_string(&mut text);
    read.map_err(io_error("read", path))?;
    file::decode(&text)
        .map(Some)
        .map_err(|reason| KeyError::Damaged { path: path.to_owned(), reason: reason.to_string() })
}

fn require_private(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), KeyError> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(KeyError::OtherOwner { path: path.to_owned(), owner: metadata.uid(), user });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & NOT_PRIVATE != 0 {
        return Err(KeyError::NotPrivate { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

/// Writes a file that must not exist yet, and syncs it.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn link_unless_present(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(exists)
}

/// No error when what was to be made is there.
fn exists(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn random_seed() -> Result<Seed, KeyError> {
    let mut seed = Zeroizing::new([0; SEED_BYTES]);
    getrandom::fill(seed.as_mut_slice()).map_err(KeyError::NoEntropy)?;
    Ok(seed)
}

fn random_u64() -> Result<u64, KeyError> {
    getrandom::u64().map_err(KeyError::NoEntropy)
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    fn store() -> (tempfile::TempDir, KeyStore) {
        let home = tempfile::tempdir().unwrap();
        let store = KeyStore::open(home.path().join(".ostk/keys")).unwrap();
        (home, store)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_first_call_creates_a_private_key_and_the_next_loads_the_same() {
        let (_home, store) = store();
        let created = store.instance_key().unwrap();
        let loaded = KeyStore::open(store.dir()).unwrap().instance_key().unwrap();
        assert_eq!(created.key_id(), loaded.key_id());
        assert_eq!(mode(store.dir()), 0o700);
        assert_eq!(mode(store.dir().parent().unwrap()), 0o700);
        assert_eq!(mode(&store.dir().join(SIGNING_KEY_FILE)), 0o600);
    }

    #[test]
    fn a_rotated_operator_key_is_another_and_the_old_one_is_kept() {
        let (_home, store) = store();
        assert!(store.existing_operator_key().unwrap().is_none());
        let old = *store.operator_key().unwrap().key_id();
        let next = *store.next_operator_key().unwrap().key_id();
        assert_eq!(*store.next_operator_key().unwrap().key_id(), next);
        store.rotate_operator_key().unwrap();
        assert_eq!(*store.existing_operator_key().unwrap().unwrap().key_id(), next);
        assert_ne!(old, next);
        let kept =
            store.dir().join(format!("retired-{}.key", old.to_string().trim_start_matches("ed25519:")));
        assert_eq!((mode(&kept), *load(&kept).unwrap().unwrap().key_id()), (0o600, old));
        assert!(store.rotate_operator_key().is_err(), "there is no next key");
    }

    #[test]
    fn two_stores_have_different_keys() {
        let ids = [store(), store()].map(|(_home, store)| *store.instance_key().unwrap().key_id());
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn a_key_readable_by_others_is_refused_with_the_command_that_mends_it() {
        let (_home, store) = store();
        store.instance_key().unwrap();
        let path = store.dir().join(SIGNING_KEY_FILE);
        for open_mode in [0o640, 0o604, 0o620] {
            set_mode(&path, open_mode);
            let error = store.instance_key().unwrap_err().to_string();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
        set_mode(&path, 0o600);
        assert!(store.instance_key().is_ok());
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let (_home, store) = store();
        set_mode(store.dir(), 0o755);
        let error = KeyStore::open(store.dir()).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_damaged_key_is_an_error_and_is_never_replaced() {
        let (_home, store) = store();
        store.instance_key().unwrap();
        let path = store.dir().join(SIGNING_KEY_FILE);
        let whole = fs::read_to_string(&path).unwrap();
        let shortened = whole.strip_suffix("=\n").unwrap();
        let first_line = whole.lines().next().unwrap();
        for damaged in ["", first_line, shortened, &whole.replace("v1", "v9")] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(store.instance_key(), Err(KeyError::Damaged { .. })), "{damaged}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_key_file_that_is_a_symlink_is_refused() {
        let (home, store) = store();
        store.instance_key().unwrap();
        let path = store.dir().join(SIGNING_KEY_FILE);
        let elsewhere = home.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(store.instance_key().is_err());
    }

    #[test]
    fn many_callers_at_once_get_one_key_and_leave_one_file() {
        let (_home, store) = store();
        let barrier = std::sync::Barrier::new(16);
        let ids: BTreeSet<_> = thread::scope(|scope| {
            let one = || {
                barrier.wait();
                *store.instance_key().unwrap().key_id()
            };
            let callers: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
        assert_eq!(fs::read_dir(store.dir()).unwrap().count(), 1);
    }

    #[test]
    fn keys_live_where_the_variable_says_and_otherwise_in_the_home_directory() {
        let lookup = |set: &'static [(&str, &str)]| {
            move |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let dir = |set| KeyStore::default_dir(lookup(set)).ok();
        assert_eq!(dir(&[("OSTK_KEYS_DIR", "/k"), ("HOME", "/h")]), Some("/k".into()));
        assert_eq!(dir(&[("HOME", "/h")]), Some("/h/.ostk/keys".into()));
        assert_eq!(dir(&[("OSTK_KEYS_DIR", "relative")]), None);
    }
}
