//! What a command was observed to ask for, as `process.learn` returns it: by what a grant for it would have to be.
//!
//! Looked at when the command has ended, for what it made and did not leave needs another grant than what it left.
//! `ostk-policy` makes a pin of it.

use std::{collections::BTreeSet, fs, path::Path};

use ostk_sandbox::Observed;
use serde_json::{Value, json};

/// Paths in the workspace are relative to it. What lies in the state directory is left out: no pin grants it.
pub(crate) fn learned(observed: &Observed, root: &Path, state_dir: &Path) -> Value {
    let inside = |path: &&std::path::PathBuf| path.starts_with(root) && !path.starts_with(state_dir);
    let named = |paths: &mut dyn Iterator<Item = &std::path::PathBuf>| -> BTreeSet<String> {
        let relative = paths.filter(inside).filter_map(|path| path.strip_prefix(root).ok()?.to_str());
        relative.map(str::to_owned).collect()
    };
    let is_left = |path: &&std::path::PathBuf| fs::symlink_metadata(path).is_ok();
    let is_directory =
        |path: &&std::path::PathBuf| fs::symlink_metadata(path).is_ok_and(|there| there.is_dir());
    let left = || observed.created.iter().filter(is_left);
    let lost = observed.created.iter().filter(|path| !is_left(path));
    let programs = observed.executed.iter().filter(|path| !path.starts_with(root));
    json!({
        "read": named(&mut observed.read.iter().chain(&observed.executed)),
        "written": named(&mut observed.written.iter()),
        "files_made": named(&mut left().filter(|path| !is_directory(path))),
        "directories_made": named(&mut left().filter(is_directory)),
        "names_gone": named(&mut observed.removed.iter().chain(lost)),
        "programs": programs.filter_map(|path| path.to_str()).collect::<Vec<_>>(),
        "connected": observed.connected,
        "truncated": observed.truncated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_told_by_whether_it_is_left_and_the_state_directory_is_left_out() {
        let place = tempfile::tempdir().unwrap();
        let (root, state) = (place.path(), place.path().join(".ostk"));
        fs::create_dir_all(root.join("made")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let set = |names: &[&str]| names.iter().map(|name| root.join(name)).collect();
        let observed = Observed {
            read: set(&["a", ".ostk/scratch/1/t", "/etc/passwd"]),
            executed: set(&["run.sh", "/bin/sh"]),
            created: set(&["made", "file", "temporary"]),
            removed: set(&["temporary", "file"]),
            ..Observed::default()
        };
        let value = learned(&observed, root, &state);
        assert_eq!(value["read"], json!(["a", "run.sh"]));
        assert_eq!(value["files_made"], json!(["file"]));
        assert_eq!(value["directories_made"], json!(["made"]));
        assert_eq!(value["names_gone"], json!(["file", "temporary"]));
        assert_eq!(value["programs"], json!(["/bin/sh"]));
    }
}
