//! `std::fs`, as far as the log and the packs need it: see the module of the same name in the standard library for what
//! each function promises.

use std::{
    ffi::OsString,
    fs::{self as system, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use crate::mount::{Node, mounted};

/// How a file is opened.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of open(2)")]
pub struct OpenOptions {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Each write goes to the end.
    pub append: bool,
    /// An existing file is emptied.
    pub truncate: bool,
    /// A missing file is created.
    pub create: bool,
    /// The file must not exist yet.
    pub create_new: bool,
}

macro_rules! option {
    ($($name:ident),*) => {$(
        #[doc = concat!("As `std::fs::OpenOptions::", stringify!($name), "`.")]
        pub fn $name(&mut self, yes: bool) -> &mut Self {
            self.$name = yes;
            self
        }
    )*};
}

impl OpenOptions {
    /// No option is set.
    pub fn new() -> Self {
        Self::default()
    }

    option!(read, write, append, truncate, create, create_new);

    /// Opens a file.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        if let Some(disk) = mounted() {
            return Ok(File(Inner::Mounted { node: disk.open(path, self)?, at: 0, append: self.append }));
        }
        let mut how = system::OpenOptions::new();
        how.read(self.read).write(self.write).append(self.append).truncate(self.truncate);
        Ok(File(Inner::System(how.create(self.create).create_new(self.create_new).open(path)?)))
    }
}

/// An open file.
#[derive(Debug)]
pub struct File(Inner);

#[derive(Debug)]
enum Inner {
    System(system::File),
    Mounted { node: Arc<dyn Node>, at: u64, append: bool },
}

/// What is known of a file.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    size: u64,
}

impl Metadata {
    /// Its size in bytes.
    #[expect(clippy::len_without_is_empty, reason = "as in the standard library")]
    pub const fn len(&self) -> u64 {
        self.size
    }
}

impl File {
    /// Opens a file, or a folder to sync it.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Creates a file, or empties it.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file that must not exist.
    pub fn create_new(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// What is known of it.
    pub fn metadata(&self) -> io::Result<Metadata> {
        let size = match &self.0 {
            Inner::System(file) => file.metadata()?.len(),
            Inner::Mounted { node, .. } => node.size()?,
        };
        Ok(Metadata { size })
    }

    /// Makes bytes and metadata durable.
    pub fn sync_all(&self) -> io::Result<()> {
        match &self.0 {
            Inner::System(file) => file.sync_all(),
            Inner::Mounted { node, .. } => node.sync(),
        }
    }

    /// Makes bytes durable, and of the metadata what is needed to read them.
    pub fn sync_data(&self) -> io::Result<()> {
        match &self.0 {
            Inner::System(file) => file.sync_data(),
            Inner::Mounted { node, .. } => node.sync(),
        }
    }

    /// Cuts the file, or adds zeros.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        match &self.0 {
            Inner::System(file) => file.set_len(size),
            Inner::Mounted { node, .. } => node.set_len(size),
        }
    }

    /// Another handle of the same file.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Inner::System(file) => Inner::System(file.try_clone()?),
            Inner::Mounted { node, at, append } => {
                Inner::Mounted { node: Arc::clone(node), at: *at, append: *append }
            }
        }))
    }

    /// Takes an exclusive lock. On a mounted disk nobody else is there.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        match &self.0 {
            Inner::System(file) => file.try_lock(),
            Inner::Mounted { .. } => Ok(()),
        }
    }

    /// Takes a shared lock.
    pub fn try_lock_shared(&self) -> Result<(), TryLockError> {
        match &self.0 {
            Inner::System(file) => file.try_lock_shared(),
            Inner::Mounted { .. } => Ok(()),
        }
    }

    /// Reads from `offset` on, whatever the handle's position.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.0 {
            Inner::System(file) => file.read_at(buffer, offset),
            Inner::Mounted { node, .. } => node.read_at(buffer, offset),
        }
    }

    /// Fills the buffer from `offset` on.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = self.read_at(buffer, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            (buffer, offset) = (buffer.get_mut(read..).unwrap_or_default(), offset + read as u64);
        }
        Ok(())
    }

    /// Writes everything at `offset`.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match &self.0 {
                Inner::System(file) => file.write_at(bytes, offset)?,
                Inner::Mounted { node, .. } => node.write_at(bytes, Some(offset))?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            (bytes, offset) = (bytes.get(written..).unwrap_or_default(), offset + written as u64);
        }
        Ok(())
    }
}

impl Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::System(file) => file.read(buffer),
            Inner::Mounted { node, at, .. } => {
                let read = node.read_at(buffer, *at)?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::System(file) => file.write(bytes),
            Inner::Mounted { node, append: true, .. } => node.write_at(bytes, None),
            Inner::Mounted { node, at, append: false } => {
                let written = node.write_at(bytes, Some(*at))?;
                *at += written as u64;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.0 {
            Inner::System(file) => file.seek(to),
            Inner::Mounted { node, at, .. } => {
                let moved = match to {
                    SeekFrom::Start(offset) => Some(offset),
                    SeekFrom::End(offset) => node.size()?.checked_add_signed(offset),
                    SeekFrom::Current(offset) => at.checked_add_signed(offset),
                };
                *at = moved.ok_or(io::ErrorKind::InvalidInput)?;
                Ok(*at)
            }
        }
    }
}

/// The bytes of a file.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    if mounted().is_none() {
        return system::read(path);
    }
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file; [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Creates or empties a file and writes these bytes.
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    File::create(path)?.write_all(bytes.as_ref())
}

/// What is known of a file.
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    match mounted() {
        Some(_) => File::open(path)?.metadata(),
        None => Ok(Metadata { size: system::metadata(path)?.len() }),
    }
}

/// Whether something has this name.
pub fn exists(path: impl AsRef<Path>) -> bool {
    match mounted() {
        Some(_) => File::open(path).is_ok(),
        None => path.as_ref().exists(),
    }
}

/// Gives a file another name, taking the place of a file that has it.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    match mounted() {
        Some(disk) => disk.rename(from.as_ref(), to.as_ref()),
        None => system::rename(from, to),
    }
}

/// Removes a file.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    match mounted() {
        Some(disk) => disk.remove_file(path.as_ref()),
        None => system::remove_file(path),
    }
}

/// Removes a folder with everything below it.
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    match mounted() {
        Some(disk) => disk.remove_dir_all(path.as_ref()),
        None => system::remove_dir_all(path),
    }
}

/// Creates a folder and those above it.
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    match mounted() {
        Some(disk) => disk.create_dir_all(path.as_ref()),
        None => system::create_dir_all(path),
    }
}

/// Creates a symbolic link.
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    match mounted() {
        Some(disk) => disk.symlink(target.as_ref(), link.as_ref()),
        None => std::os::unix::fs::symlink(target, link),
    }
}

/// The names in a folder, in any order.
pub fn names(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    match mounted() {
        Some(disk) => disk.names(path.as_ref()),
        None => system::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect(),
    }
}
