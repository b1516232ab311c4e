//! The extended attributes that a replacement keeps: the user's own ones, and the access control list.
//!
//! Those under `security.` and `trusted.` are the system's to give; a write in place would clear file capabilities too.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr},
    io::{Errno, Result},
};

use crate::workspace::openat2_beneath;

const ACCESS_CONTROL_LIST: &[u8] = b"system.posix_acl_access";

/// The longest list of names, and the longest value, that Linux has (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const MAX_BYTES: usize = 65_536;

/// Gives `copy` the attributes of the file `name` in `dir`.
pub(crate) fn keep(dir: &OwnedFd, name: &str, copy: impl AsFd) -> Result<()> {
    let original =
        openat2_beneath(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK, Mode::empty())?;
    let kept = names(&original)?;
    for name in &kept {
        let value = sized(|buffer| fgetxattr(&original, name.as_slice(), buffer))?;
        fsetxattr(&copy, name.as_slice(), &value, XattrFlags::empty())?;
    }
    // A new file takes the list that its directory has for new files, which may let in whom the original kept out.
    for name in names(&copy)?.iter().filter(|name| !kept.contains(name)) {
        fremovexattr(&copy, name.as_slice())?;
    }
    Ok(())
}

/// The names of the attributes to keep; none where the file system has no attributes.
fn names(file: impl AsFd) -> Result<Vec<Vec<u8>>> {
    let list = match sized(|buffer| flistxattr(&file, buffer)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        list => list?,
    };
    let is_kept = |name: &&[u8]| name.starts_with(b"user.") || *name == ACCESS_CONTROL_LIST;
    Ok(list.split(|byte| *byte == 0).filter(is_kept).map(<[u8]>::to_vec).collect())
}

/// What `read` writes into a buffer: most often little or nothing, so a small one is tried first.
fn sized(read: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    let length = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(MAX_BYTES, 0);
            read(&mut buffer)?
        }
        length => length?,
    };
    buffer.truncate(length);
    Ok(buffer)
}
