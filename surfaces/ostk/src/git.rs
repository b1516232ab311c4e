//! Asks git. Used by the commands that read or copy a repository.

use std::{path::Path, process::Command};

use crate::failure::Failure;

/// What `git ARGS` prints in `root`. An error is what git said.
pub(crate) fn git(root: &Path, args: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").args(args).current_dir(root).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failure::check(format!("git {}: {said}", args.first().unwrap_or(&""))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
