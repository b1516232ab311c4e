//! Settings of a git repository, and the part of them that runs nothing.
//!
//! Only what is listed here is kept: a deny-list would have to know every setting of every version of git. Lines are read
//! in the plainest form in which git writes them; in any other they are left out, so that git and this reader never take
//! the same bytes for different settings. Called by `repository.rs`.

/// Settings that name no program, no file and no other settings. `*` stands for any subsection.
const HARMLESS: &[&str] = &[
    "branch.*.description",
    "branch.*.merge",
    "branch.*.pushremote",
    "branch.*.rebase",
    "branch.*.remote",
    "branch.autosetupmerge",
    "branch.autosetuprebase",
    "color.ui",
    "commit.gpgsign",
    "core.abbrev",
    "core.autocrlf",
    "core.bare",
    "core.bigfilethreshold",
    "core.checkstat",
    "core.commitgraph",
    "core.compression",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.logallrefupdates",
    "core.longpaths",
    "core.multipackindex",
    "core.precomposeunicode",
    "core.preloadindex",
    "core.quotepath",
    "core.repositoryformatversion",
    "core.safecrlf",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.symlinks",
    "core.trustctime",
    "core.untrackedcache",
    "core.worktree",
    "diff.algorithm",
    "diff.renames",
    "extensions.objectformat",
    "extensions.partialclone",
    "extensions.preciousobjects",
    "extensions.refstorage",
    "extensions.relativeworktrees",
    "extensions.worktreeconfig",
    "feature.manyfiles",
    "fetch.prune",
    "gc.auto",
    "index.version",
    "init.defaultbranch",
    "lfs.repositoryformatversion",
    "maintenance.auto",
    "merge.conflictstyle",
    "merge.ff",
    "pull.ff",
    "pull.rebase",
    "push.autosetupremote",
    "push.default",
    "push.followtags",
    "rebase.autosquash",
    "rebase.autostash",
    "rebase.updaterefs",
    "receive.denycurrentbranch",
    "receive.denynonfastforwards",
    "remote.*.fetch",
    "remote.*.mirror",
    "remote.*.partialclonefilter",
    "remote.*.promisor",
    "remote.*.prune",
    "remote.*.push",
    "remote.*.pushurl",
    "remote.*.tagopt",
    "remote.*.url",
    "remote.pushdefault",
    "rerere.enabled",
    "status.showuntrackedfiles",
    "submodule.*.active",
    "submodule.*.branch",
    "submodule.*.ignore",
    "submodule.*.url",
    "submodule.active",
    "submodule.recurse",
    "tag.gpgsign",
    "uploadpack.allowfilter",
    "user.email",
    "user.name",
];
/// Of those, the ones whose value is an address: git runs a program for one of the form `helper::rest`.
const ADDRESSES: [&str; 5] =
    ["remote.*.url", "remote.*.pushurl", "submodule.*.url", "branch.*.remote", "branch.*.pushremote"];
/// Where the files of a repository are, when not around it: kept when that is in the workspace.
const WORK_TREE: &str = "core.worktree";

/// A section as its header names it.
struct Section<'a> {
    name: &'a str,
    inner: Option<&'a str>,
}

/// What is left of some settings when everything that could run a program is gone; `None` if that is all of them.
///
/// `is_work_tree` says whether a path may be the work tree.
pub(super) fn harmless_part(bytes: &[u8], is_work_tree: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut kept = String::new();
    let mut whole = true;
    let mut section = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(line) = plain(line) else {
            // A header in another form would give the lines after it another meaning.
            (whole, section) = (false, None);
            continue;
        };
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            section = header(line);
            whole &= section.is_some();
            if section.is_some() {
                kept.push_str(line);
                kept.push('\n');
            }
            continue;
        }
        match section.as_ref().and_then(|section| setting(section, line, is_work_tree)) {
            Some(line) => kept.push_str(&line),
            None => whole = false,
        }
    }
    (!whole).then_some(kept)
}

/// A line of printable text without an escape, trimmed.
fn plain(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?.trim_matches([' ', '\t']);
    let odd = |c: char| c == '\\' || c == '\u{feff}' || (c.is_control() && c != '\t');
    (!line.contains(odd)).then_some(line)
}

/// `[name]` or `[name "inner"]`, and nothing else.
fn header(line: &str) -> Option<Section<'_>> {
    let inside = line.strip_prefix('[')?.strip_suffix(']')?;
    let (name, inner) = match inside.split_once(' ') {
        Some((name, inner)) => (name, Some(inner.strip_prefix('"')?.strip_suffix('"')?)),
        None => (inside, None),
    };
    let is_inner = |inner: &str| !inner.contains(['"', ']', '[']);
    (is_name(name) && inner.is_none_or(is_inner)).then_some(Section { name, inner })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// A line as it is kept.
fn setting(section: &Section<'_>, line: &str, is_work_tree: &dyn Fn(&str) -> bool) -> Option<String> {
    let (key, value) = match line.split_once('=') {
        Some((key, value)) => (key.trim_end_matches([' ', '\t']), value.trim_matches([' ', '\t'])),
        None => (line, "true"),
    };
    let bare = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let ends_early = |c: char| c == '"' || (bare.len() == value.len() && matches!(c, '#' | ';'));
    if !is_name(key) || bare.contains(ends_early) {
        return None;
    }
    let middle = if section.inner.is_some() { ".*." } else { "." };
    let name = format!("{}{middle}{key}", section.name).to_ascii_lowercase();
    let name = HARMLESS.iter().find(|harmless| **harmless == name)?;
    let runs = ADDRESSES.contains(name) && (bare.contains("::") || bare.starts_with('-'));
    let elsewhere = *name == WORK_TREE && !is_work_tree(bare);
    (!runs && !elsewhere).then(|| format!("\t{key} = {value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str) -> Option<String> {
        harmless_part(text.as_bytes(), &|path| path == "../work")
    }

    #[test]
    fn what_a_clone_and_a_submodule_have_is_kept_as_it_is() {
        let clone = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n\
            [remote \"origin\"]\n\turl = \"https://example.com/a#b\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
            # a remark\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n[core]\n\tworktree = ../work\n\tsymlinks\n";
        assert_eq!(left(clone), None);
        assert_eq!(left(""), None);
    }

    #[test]
    fn what_names_a_program_or_other_settings_is_left_out() {
        for (section, line) in [
            ("[core]", "fsmonitor = x"),
            ("[Core]", "hooksPath = x"),
            ("[core]", "sshCommand = x"),
            ("[core]", "pager = x"),
            ("[core]", "editor"),
            ("[core]", "worktree = /"),
            ("[alias]", "st = !x"),
            ("[filter \"f\"]", "clean = x"),
            ("[diff \"f\"]", "textconv = x"),
            ("[diff]", "external = x"),
            ("[merge \"f\"]", "driver = x"),
            ("[credential]", "helper = !x"),
            ("[credential \"https://h\"]", "helper = !x"),
            ("[include]", "path = x"),
            ("[includeIf \"gitdir:/\"]", "path = x"),
            ("[gpg]", "program = x"),
            ("[gpg \"ssh\"]", "defaultKeyCommand = x"),
            ("[remote \"o\"]", "uploadpack = x"),
            ("[remote \"o\"]", "vcs = x"),
            ("[remote \"o\"]", "url = ext::sh -c x"),
            ("[submodule \"s\"]", "update = !x"),
            ("[protocol \"ext\"]", "allow = always"),
            ("[url \"ext::x\"]", "insteadOf = https:"),
            ("[sequence]", "editor = x"),
            ("[pager]", "status = x"),
            ("[interactive]", "diffFilter = x"),
            ("[browser \"b\"]", "cmd = x"),
            ("[mergetool \"m\"]", "cmd = x"),
            ("[guitool \"m\"]", "cmd = x"),
            ("[trailer \"t\"]", "command = x"),
            ("[hook \"h\"]", "command = x"),
            ("[http]", "proxy = x"),
            ("[uploadpack]", "packObjectsHook = x"),
        ] {
            let text = format!("[core]\n\tbare = false\n{section}\n\t{line}\n[user]\n\tname = A\n");
            let kept = left(&text).unwrap_or_else(|| panic!("{section} {line} was kept"));
            assert!(!kept.contains(line) && kept.contains("name = A"), "{kept}");
            assert_eq!(left(&kept), None, "what is left is harmless: {kept}");
        }
    }

    #[test]
    fn a_form_that_git_might_read_differently_is_left_out() {
        for text in [
            "[core] fsmonitor = x\n",
            "[core]\n\tbare = false \\\n\tfsmonitor = x\n",
            "[user]\n\tname = a\"\nfsmonitor = x\n",
            "[user]\n\tname = \"a\" \"b\"\n",
            "[user]\r\n\tname = a\n",
            "\u{feff}[core]\n\tbare = false\n",
            "[user \"a\\\"]\n\tname = a\n",
            "[user.x]\n\tname = a\n",
            "[user]\n\tname = a # b\n",
            "[branch \"a\"]\n[x\n\tremote = origin\n",
        ] {
            let kept = left(text).unwrap_or_else(|| panic!("{text:?} was kept"));
            assert!(!kept.contains("fsmonitor") && left(&kept).is_none(), "{kept:?}");
        }
        assert!(harmless_part(b"[user]\n\tname = \xff\n", &|_| true).is_some());
    }
}
