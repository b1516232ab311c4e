//! The local sockets of this machine that have a name in the file system.
//!
//! Only read here; `trees.rs` covers them in a command's view of the mounts.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use crate::SandboxError;

/// Sockets that are covered. A machine with more of them than this runs thousands of services.
const MAX_COVERED: usize = 1024;

/// Control sockets of container engines, which may be there without a listener in this network namespace.
const WELL_KNOWN: [&str; 4] =
    ["/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock", "/run/crio/crio.sock"];

/// The sockets outside `trees` that processes listen on now.
pub(crate) fn outside(trees: &[PathBuf]) -> Result<Vec<PathBuf>, SandboxError> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let listed = table.lines().skip(1).filter_map(path_of).map(Path::new).chain(WELL_KNOWN.map(Path::new));
    let mut found: Vec<_> = listed.filter_map(|path| fs::canonicalize(path).ok()).collect();
    found.sort();
    found.dedup();
    found.retain(|path| is_socket(path) && !trees.iter().any(|tree| path.starts_with(tree)));
    if found.len() > MAX_COVERED {
        let many = io::Error::other(format!("more than {MAX_COVERED}"));
        return Err(SandboxError::io("cover the local sockets")(many));
    }
    Ok(found)
}

/// The eighth column, when it is a path: a name that begins with `@` is in the abstract space.
fn path_of(line: &str) -> Option<&str> {
    let mut rest = line;
    for _ in 0..7 {
        rest = rest.trim_start().split_once(' ')?.1;
    }
    let path = rest.trim_start();
    path.starts_with('/').then_some(path)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_sockets_are_found_and_names_without_a_path_are_not() {
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01  1234 /run/with space";
        assert_eq!(path_of(line), Some("/run/with space"));
        assert_eq!(path_of("0000000000000000: 00000002 00000000 00010000 0001 01  1234 @abstract"), None);
        assert_eq!(path_of("0000000000000000: 00000002 00000000 00000000 0001 01  1234"), None);
    }
}
