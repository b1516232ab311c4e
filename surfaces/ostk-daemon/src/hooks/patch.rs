//! Files that a patch of Codex's `apply_patch` names.
//!
//! Only the lines that name files are read; whether the patch fits the files is the tool's own check.

use super::event::Access;

/// What a line of a patch does to the file that it names.
const HEADERS: [(&str, Access); 4] = [
    ("*** Add File: ", Access::Write),
    ("*** Delete File: ", Access::Patch),
    ("*** Update File: ", Access::Patch),
    ("*** Move to: ", Access::Write),
];
const BEGIN: &str = "*** Begin Patch";

/// Whether a command hands a patch to `apply_patch`: Codex takes such a command for a call of the tool.
pub(super) fn is_in(command: &str) -> bool {
    command.trim_start().starts_with("apply_patch") && command.contains(BEGIN)
}

/// The files of a patch in its order, as it names them.
pub(super) fn files(patch: &str) -> Vec<(Access, &str)> {
    patch.lines().filter_map(of_header).collect()
}

fn of_header(line: &str) -> Option<(Access, &str)> {
    let line = line.trim();
    HEADERS.iter().find_map(|(header, access)| Some((*access, line.strip_prefix(header)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "*** Begin Patch\n*** Update File: src/a.rs\n*** Move to: src/b.rs\n@@\n one\n-two\n+*** Add File: no\n\
        *** Add File: docs/my notes.md\r\n+hello\n*** Delete File: old.rs\n*** End Patch\n";

    #[test]
    fn each_file_is_found_with_what_happens_to_it() {
        let expected = [
            (Access::Patch, "src/a.rs"),
            (Access::Write, "src/b.rs"),
            (Access::Write, "docs/my notes.md"),
            (Access::Patch, "old.rs"),
        ];
        assert_eq!(files(PATCH), expected);
        assert_eq!(files("no patch at all"), []);
    }

    #[test]
    fn a_command_that_is_a_patch_is_told_from_one_that_speaks_of_patches() {
        assert!(is_in(&format!("apply_patch <<'EOF'\n{PATCH}EOF\n")));
        assert!(!is_in("grep -r apply_patch ."));
        assert!(!is_in("apply_patch --help"));
    }
}
