//! Which paths git ignores, so that build output and editor droppings are not taken for work.
//!
//! The rules come from `.gitignore` files, `.git/info/exclude` and the user's global excludes, and are matched by the
//! `ignore` crate. `.git`, `.ostk` and this crate's temporary files are never shown, whatever the rules say. A file that
//! git tracks although a rule ignores it is ignored here.

use std::sync::Arc;

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

use crate::{
    FilesError, Workspace, WorkspacePath,
    look::{Seen, look},
    path::TEMPORARY_PREFIX,
};

/// The rules that apply in one directory: its own and, behind them, those of the directories above.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The directory the rules were found in; their patterns are relative to it.
    directory: WorkspacePath,
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

/// Whether `name` is hidden from scans and watches in every directory.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(name, ".git" | ".ostk") || name.starts_with(TEMPORARY_PREFIX)
}

impl Rules {
    /// The rules that hold for the whole workspace without any `.gitignore`.
    pub(crate) fn outermost(workspace: &Workspace) -> Result<Arc<Self>, FilesError> {
        let (global, _) = GitignoreBuilder::new(".").build_global();
        let root = WorkspacePath::root();
        let global = Arc::new(Self { directory: root.clone(), own: global, above: None });
        let own = read_rules(workspace, ".git/info/exclude", &root)?;
        Ok(Arc::new(Self { directory: root, own, above: Some(global) }))
    }

    /// The rules inside `directory`, whose own `.gitignore` is read now. A pattern that cannot be parsed is skipped, as git does.
    pub(crate) fn inside(
        self: &Arc<Self>,
        workspace: &Workspace,
        directory: &WorkspacePath,
    ) -> Result<Arc<Self>, FilesError> {
        let own = read_rules(workspace, directory.child(".gitignore").as_str(), directory)?;
        if own.is_empty() {
            return Ok(Arc::clone(self));
        }
        Ok(Arc::new(Self { directory: directory.clone(), own, above: Some(Arc::clone(self)) }))
    }

    /// Whether `path`, none of whose parents is ignored, is.
    pub(crate) fn ignore(&self, path: &WorkspacePath, is_directory: bool) -> bool {
        let mut rules = Some(self);
        while let Some(current) = rules {
            match current.own.matched(current.relative(path), is_directory) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = current.above.as_deref(),
            }
        }
        false
    }

    fn relative<'p>(&self, path: &'p WorkspacePath) -> &'p str {
        if self.directory.is_root() {
            return path.as_str();
        }
        let below = path.as_str().strip_prefix(self.directory.as_str());
        below.and_then(|rest| rest.strip_prefix('/')).unwrap_or(path.as_str())
    }
}

fn read_rules(workspace: &Workspace, file: &str, directory: &WorkspacePath) -> Result<Gitignore, FilesError> {
    let mut builder = GitignoreBuilder::new(".");
    // A rules file that is a link, a pipe or too large counts as empty: git does not follow it either.
    if let Ok(Seen::File(version, _)) = look(workspace.root_fd(), file, directory) {
        for line in String::from_utf8_lossy(&version.bytes).lines() {
            let _ = builder.add_line(None, line);
        }
    }
    builder.build().map_err(|error| FilesError::Io {
        action: "build the ignore rules of",
        path: directory.clone(),
        source: std::io::Error::other(error),
    })
}
