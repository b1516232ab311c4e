//! Removing and renaming a file, with the same promise as a replace: what the caller has not seen is not lost.
//!
//! A file to be removed first gets a temporary name, is looked at there, and only then goes. A rename is looked at
//! afterwards and taken back if the file was not the expected one.

use ostk_log::Hash;
use rustix::{fs::RenameFlags, io::Errno};

use crate::{
    FilesError, Replaced, Workspace, WorkspacePath,
    look::Seen,
    replace::{Place, rename_error},
    temporary::{MAX_COLLISIONS, discard, fresh_name},
    turn,
};

impl Workspace {
    /// Removes the file `path` if it holds the bytes `expected`. Its directory stays, even if empty.
    ///
    /// Failpoints: `remove:set-aside`, `remove:removed`.
    pub fn remove(&self, path: &WorkspacePath, expected: Hash) -> Result<Replaced, FilesError> {
        let _turn = turn::of(self, path);
        let place = match self.expect_file(path, expected)? {
            Ok((place, _)) => place,
            Err(answer) => return Ok(answer),
        };
        let aside = match set_aside(&place) {
            Ok(aside) => aside,
            Err(Errno::NOENT) => return Ok(Replaced::Missing),
            Err(errno) => return Err(rename_error(path, errno)),
        };
        self.reached("remove:set-aside");
        let out = place.look(&aside);
        if let Ok(Seen::File(version, _)) = &out
            && version.hash == expected
        {
            discard(&place.dir, &aside);
            self.reached("remove:removed");
            return Ok(Replaced::Done);
        }
        // If something new stands at the path by now, it stays, and the displaced file waits for the next sweep.
        put_back(&place, &aside, &place)?;
        displaced(path, out?)
    }

    /// Renames the file `from`, which must hold the bytes `expected`, to `to`, which must not exist. A rename that changes
    /// only the case of letters works on case-insensitive file systems too.
    ///
    /// [`FilesError::Exists`] if `to` is taken. Missing parents of `to` are created. Failpoints: `rename:set-aside` (only
    /// when the case alone changes), `rename:renamed`.
    pub fn rename(
        &self,
        from: &WorkspacePath,
        to: &WorkspacePath,
        expected: Hash,
    ) -> Result<Replaced, FilesError> {
        let _turns = turn::of_both(self, from, to);
        let source = match self.expect_file(from, expected)? {
            Ok((place, _)) => place,
            Err(answer) => return Ok(answer),
        };
        if let Some(parent) = to.parent() {
            self.make_dir(&parent)?;
        }
        let target = self.place(to)?;
        let only_case =
            from.parent() == to.parent() && source.name.to_lowercase() == target.name.to_lowercase();
        let moved = if only_case {
            self.move_by_way_of_aside(&source, &target)
        } else {
            move_file(&source, source.name, &target)
        };
        match moved {
            Ok(()) => self.reached("rename:renamed"),
            Err(FilesError::Missing { .. }) => return Ok(Replaced::Missing),
            Err(error) => return Err(error),
        }
        match target.look(target.name)? {
            Seen::File(version, _) if version.hash == expected => Ok(Replaced::Done),
            other => {
                put_back(&target, target.name, &source)?;
                displaced(from, other)
            }
        }
    }

    /// Where names ignore case, `Readme` "exists" while `README` does; by way of a third name it does not.
    fn move_by_way_of_aside(&self, source: &Place<'_>, target: &Place<'_>) -> Result<(), FilesError> {
        let aside = set_aside(source).map_err(|errno| rename_error(source.path, errno))?;
        self.reached("rename:set-aside");
        let moved = move_file(source, &aside, target);
        if moved.is_err() {
            put_back(source, &aside, source)?;
        }
        moved
    }
}

/// Gives a file a temporary name, which is returned.
fn set_aside(place: &Place<'_>) -> rustix::io::Result<String> {
    for _ in 0..MAX_COLLISIONS {
        let aside = fresh_name();
        match place.rename(place.name, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(aside),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EXIST)
}

fn move_file(source: &Place<'_>, name: &str, target: &Place<'_>) -> Result<(), FilesError> {
    rustix::fs::renameat_with(&source.dir, name, &target.dir, target.name, RenameFlags::NOREPLACE).map_err(
        |errno| match errno {
            Errno::NOENT => FilesError::Missing { path: source.path.clone() },
            errno => rename_error(target.path, errno),
        },
    )
}

/// Moves `name` back to where it came from, unless that place has been taken.
fn put_back(from: &Place<'_>, name: &str, home: &Place<'_>) -> Result<(), FilesError> {
    match rustix::fs::renameat_with(&from.dir, name, &home.dir, home.name, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(rename_error(home.path, errno)),
    }
}

fn displaced(path: &WorkspacePath, seen: Seen) -> Result<Replaced, FilesError> {
    match seen {
        Seen::File(version, _) => Ok(Replaced::Displaced(version)),
        Seen::Absent => Ok(Replaced::Missing),
        other => Err(crate::replace::not_a_file(path, &other)),
    }
}
