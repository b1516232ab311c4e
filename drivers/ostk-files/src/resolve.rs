//! From what an agent wrote to a place in the workspace: `..`, absolute paths and symbolic links are worked off here.
//!
//! The walk opens one component after the other and never leaves the root: a link that points outside is read but not
//! followed. Its answer is a name; that the name still means the same at the moment of access is checked by `openat2`.

use std::os::fd::OwnedFd;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use crate::{PathError, Workspace, WorkspacePath, path::check_text};

/// As many links as Linux itself follows in one name (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

impl Workspace {
    /// The place that `path` names, seen from the directory `cwd` (relative to the root, `""` for the root itself).
    ///
    /// `path` may be relative, or absolute inside the root. Links that stay inside are followed to the real file, so
    /// that writing through a link keeps the link. What does not exist yet is fine, with or without its parents.
    pub fn resolve(&self, cwd: &str, path: &str) -> Result<WorkspacePath, PathError> {
        check_text(path)?;
        if !cwd.is_empty() {
            check_text(cwd)?;
        }
        let mut walk = Walk {
            workspace: self,
            asked: path,
            done: Vec::new(),
            pending: Vec::new(),
            last_link: None,
            links: 0,
        };
        if Utf8Path::new(path).is_absolute() {
            let inside = self.strip_root(path).ok_or_else(|| walk.outside())?;
            walk.push(inside.as_str());
        } else {
            walk.push(path);
            walk.push(cwd);
        }
        walk.run()
    }

    fn strip_root<'p>(&self, absolute: &'p str) -> Option<&'p Utf8Path> {
        let absolute = Utf8Path::new(absolute);
        absolute.strip_prefix(self.root()).or_else(|_| absolute.strip_prefix(self.alias())).ok()
    }
}

/// A walk under way. `pending` holds the components still to come, the next one last.
struct Walk<'a> {
    workspace: &'a Workspace,
    asked: &'a str,
    done: Vec<Step>,
    pending: Vec<String>,
    last_link: Option<String>,
    links: u32,
}

/// A component that was taken: open if it exists, `None` if it is missing and so has nothing below it.
struct Step {
    name: String,
    fd: Option<OwnedFd>,
}

impl Walk<'_> {
    fn push(&mut self, path: &str) {
        self.pending.extend(path.split('/').rev().map(str::to_owned));
    }

    fn run(mut self) -> Result<WorkspacePath, PathError> {
        while let Some(name) = self.pending.pop() {
            match name.as_str() {
                "" | "." => {}
                ".." => drop(self.done.pop().ok_or_else(|| self.outside())?),
                _ => self.enter(name)?,
            }
        }
        let names: Vec<String> = self.done.into_iter().map(|step| step.name).collect();
        if names.is_empty() { Ok(WorkspacePath::root()) } else { WorkspacePath::try_from(names.join("/")) }
    }

    fn enter(&mut self, name: String) -> Result<(), PathError> {
        let parent = match self.done.last() {
            None => self.workspace.root_fd(),
            Some(Step { fd: Some(fd), .. }) => fd,
            Some(Step { fd: None, .. }) => {
                self.done.push(Step { name, fd: None });
                return Ok(());
            }
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, name.as_str(), flags, Mode::empty()) {
            Ok(fd) => self.entered(name, fd),
            Err(Errno::NOENT) => {
                self.done.push(Step { name, fd: None });
                Ok(())
            }
            Err(Errno::NOTDIR) => {
                Err(PathError::NotADirectory { path: self.asked.to_owned(), at: self.done_text() })
            }
            Err(Errno::NAMETOOLONG) => Err(PathError::TooLong { length_bytes: name.len() }),
            Err(errno) => Err(self.io(errno)),
        }
    }

    fn entered(&mut self, name: String, fd: OwnedFd) -> Result<(), PathError> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.io(errno))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return self.follow(&fd);
        }
        self.done.push(Step { name, fd: Some(fd) });
        Ok(())
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), PathError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(PathError::LinkLoop { path: self.asked.to_owned() });
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new()).map_err(|errno| self.io(errno))?;
        let target = target
            .into_string()
            .map_err(|e| PathError::NotUtf8 { lossy: e.into_cstring().to_string_lossy().into_owned() })?;
        self.last_link = Some(target.clone());
        if Utf8Path::new(&target).is_absolute() {
            let inside: Utf8PathBuf =
                self.workspace.strip_root(&target).ok_or_else(|| self.outside())?.to_owned();
            self.done.clear();
            self.push(inside.as_str());
        } else {
            self.push(&target);
        }
        Ok(())
    }

    fn done_text(&self) -> String {
        self.done.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join("/")
    }

    fn outside(&self) -> PathError {
        let path = self.asked.to_owned();
        match &self.last_link {
            Some(target) => PathError::OutsideThroughLink { path, target: target.clone() },
            None => PathError::Outside { path, root: self.workspace.root().to_string() },
        }
    }

    fn io(&self, errno: Errno) -> PathError {
        PathError::Io { path: self.asked.to_owned(), source: errno.into() }
    }
}
