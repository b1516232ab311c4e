//! Whether git tracks a path whose reading a pin denies: then its bytes lie in git's objects as well.
//!
//! Git itself is asked, once for each change of its index. `processes.rs` hides the objects from commands under such a
//! pin. What is only in the history, and in the repositories of submodules, is not looked for.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use crate::hands::lock;

/// Sets of denied paths that are remembered: one for each pin.
const MAX_KNOWN: usize = 1_000;

/// By what a change of the index shows.
type Stamp = (u64, u64, i64, i64);

/// What is known of the repository of a workspace.
pub(crate) struct Tracked {
    root: PathBuf,
    known: Mutex<BTreeMap<Vec<String>, (Stamp, bool)>>,
}

impl Tracked {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), known: Mutex::default() }
    }

    /// Git's objects, if they hold what stands at one of these paths of the workspace.
    pub(crate) fn objects_with(&self, denied: &[String]) -> Option<PathBuf> {
        if denied.is_empty() {
            return None;
        }
        let (index, objects) = self.repository()?;
        let there = fs::metadata(&index).ok()?;
        let stamp = (there.ino(), there.size(), there.ctime(), there.ctime_nsec());
        let mut known = lock(&self.known);
        let tracks = match known.get(denied) {
            Some((then, tracks)) if *then == stamp => *tracks,
            _ => {
                let tracks = self.tracks(denied);
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                known.insert(denied.to_vec(), (stamp, tracks));
                tracks
            }
        };
        tracks.then_some(objects)
    }

    /// Where the index and the objects are; of a linked work tree, somewhere else.
    fn repository(&self) -> Option<(PathBuf, PathBuf)> {
        let git = self.root.join(".git");
        if git.is_dir() {
            return Some((git.join("index"), git.join("objects")));
        }
        let asked = ["rev-parse", "--path-format=absolute", "--git-path", "index", "--git-path", "objects"];
        let said = String::from_utf8(self.git().args(asked).output().ok()?.stdout).ok()?;
        let mut lines = said.lines().map(PathBuf::from);
        Some((lines.next()?, lines.next()?))
    }

    /// Without an answer it is taken to track them: what is hidden too much can be granted by name.
    fn tracks(&self, denied: &[String]) -> bool {
        let asked = ["--literal-pathspecs", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--"];
        let said = self.git().args(asked).args(denied).output();
        !said.is_ok_and(|said| said.status.success() && said.stdout.is_empty())
    }

    fn git(&self) -> Command {
        let mut git = Command::new("git");
        git.current_dir(&self.root);
        for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"] {
            git.env_remove(name);
        }
        git
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_are_named_while_the_index_has_a_denied_path() {
        let place = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(place.path()).unwrap();
        let git = |args: &[&str]| {
            assert!(
                Command::new("git").args(args).current_dir(&root).status().expect("git is needed").success()
            );
        };
        let tracked = Tracked::new(&root);
        let denied = ["private".to_owned()];
        assert_eq!(tracked.objects_with(&denied), None);
        git(&["init", "-q"]);
        fs::create_dir(root.join("private")).unwrap();
        fs::write(root.join("private/token"), "secret").unwrap();
        fs::write(root.join("open"), "").unwrap();
        git(&["add", "open"]);
        assert_eq!(tracked.objects_with(&denied), None);
        git(&["add", "private"]);
        assert_eq!(tracked.objects_with(&denied), Some(root.join(".git/objects")));
        assert_eq!(tracked.objects_with(&["privat".to_owned(), "p*".to_owned()]), None);
        git(&["rm", "-q", "--cached", "private/token"]);
        assert_eq!(tracked.objects_with(&denied), None);
    }
}
