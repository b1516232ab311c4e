//! A workspace in a fresh directory, and the short forms that the tests read by.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use ostk_files::{FileVersion, Observation, Workspace, WorkspacePath};

/// A workspace `ws` in a temporary directory that also has room outside of it.
pub(crate) struct Fixture {
    pub(crate) outer: tempfile::TempDir,
    pub(crate) ws: Workspace,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("ws");
        fs::create_dir(&root).unwrap();
        let ws = Workspace::open(root.to_str().unwrap()).unwrap();
        Self { outer, ws }
    }

    /// The real path of `name` in the workspace.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.outer.path().join("ws").join(name)
    }

    pub(crate) fn path(&self, name: &str) -> WorkspacePath {
        self.ws.resolve("", name).unwrap()
    }

    /// Writes as an outside program would: in place, making parents.
    pub(crate) fn outside(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), bytes).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.at(name)).unwrap().permissions().mode() & 0o7777
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn version(&self, name: &str) -> FileVersion {
        match self.ws.observe(&self.path(name)).unwrap() {
            Observation::File(version) => version,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Names of temporary files in the root directory.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.at("")).unwrap().map(|e| e.unwrap().file_name().into_string());
        names.flatten().filter(|name| name.starts_with(".ostk-tmp-")).collect()
    }
}
