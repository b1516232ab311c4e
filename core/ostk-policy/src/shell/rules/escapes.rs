//! Programs that read or show, made to run something else: pagers, editors, filters, and the variables that name them.

use super::{
    super::{Danger, word::FETCHED, wrappers::value_of},
    Judge,
};

/// Variables that name a program.
const PROGRAMS: [&str; 17] = [
    "PAGER",
    "GIT_PAGER",
    "MANPAGER",
    "LESSOPEN",
    "LESSCLOSE",
    "EDITOR",
    "VISUAL",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXTERNAL_DIFF",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "BROWSER",
    "PROMPT_COMMAND",
    "RUSTC_WRAPPER",
];

/// Variables that make any program load code.
const LOADERS: [&str; 7] = [
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "BASH_ENV",
    "ENV",
    "DYLD_INSERT_LIBRARIES",
    "GIT_TEMPLATE_DIR",
];

/// Programs that do nothing else than a pager or an editor should.
const HARMLESS: [&str; 23] = [
    "cat",
    "less",
    "more",
    "most",
    "bat",
    "delta",
    "diff-so-fancy",
    "head",
    "true",
    "false",
    ":",
    "echo",
    "vim",
    "vi",
    "nvim",
    "nano",
    "emacs",
    "code",
    "ed",
    "ssh",
    "sccache",
    "difft",
    "",
];

/// Settings of git that name a program.
const GIT_SETTINGS: [&str; 10] = [
    "core.pager",
    "core.editor",
    "core.sshcommand",
    "core.fsmonitor",
    "core.hookspath",
    "core.askpass",
    "sequence.editor",
    "diff.external",
    "credential.helper",
    "core.gitproxy",
];

pub(super) fn judge(judge: &mut Judge<'_>) {
    variables(judge);
    let runs = match judge.program() {
        "man" => value_of(judge.simple.args(), &["-P", "--pager", "-H", "--html"])
            .is_some_and(|word| !harmless(word.as_str())),
        "awk" | "gawk" | "mawk" | "nawk" => judge.texts().any(|text| {
            text.contains("system(")
                || text.contains("| getline")
                || text.contains("|getline")
                || text.contains("| \"")
                || text.contains("|\"")
                || text.contains("system (")
        }),
        "sed" | "gsed" => judge.names().take(1).any(sed_executes),
        "less" | "more" | "most" => judge.any_start(&["+!", "+|"]),
        "vim" | "vi" | "nvim" | "ex" | "view" | "rvim" => judge.texts().any(editor_runs),
        "tar" | "gtar" => {
            judge.any_start(&[
                "--checkpoint-action=exec",
                "--to-command",
                "--use-compress-program=",
                "--info-script",
                "--rsh-command",
            ]) || judge.texts().any(|text| text.starts_with("exec="))
        }
        "rsync" => {
            value_of(judge.simple.args(), &["-e", "--rsh"]).is_some_and(|word| !harmless(word.as_str()))
        }
        "ssh" | "scp" | "sftp" => {
            judge.texts().any(|text| text.contains("ProxyCommand") || text.contains("LocalCommand"))
        }
        "sort" => judge.any_start(&["--compress-program"]),
        "zip" => judge.any_start(&["-TT", "--unzip-command"]),
        "gdb" | "lldb" => judge
            .texts()
            .any(|text| text.starts_with("shell ") || text.starts_with('!') || text.contains("system(")),
        "ed" => judge
            .simple
            .input
            .as_ref()
            .is_some_and(|input| input.as_str().lines().any(|line| line.starts_with('!'))),
        "git" => git(judge),
        _ => false,
    };
    if runs {
        judge.add(Danger::Escape, "it makes a program that only reads or shows run another one");
    }
    if judge.simple.args().iter().any(|word| word.has(FETCHED)) && matches!(judge.program(), "eval" | "exec")
    {
        judge.add(Danger::DownloadRun, "it runs what it downloads");
    }
}

fn variables(judge: &mut Judge<'_>) {
    let named = |name: &str, value: &str| PROGRAMS.contains(&name) && !harmless(value);
    let found = judge.simple.assignments.iter().find(|(name, value)| {
        named(name, value.as_str()) && !value.as_str().chars().all(|c| c == super::super::word::VARIABLE)
            || LOADERS.contains(&name.as_str()) && name != "LD_LIBRARY_PATH"
            || name.starts_with("GIT_CONFIG_VALUE_")
    });
    if let Some((name, _)) = found {
        judge.add(Danger::Escape, &format!("{name} names a program or code that another program then runs"));
    }
}

/// A pager or an editor, with options and nothing that a shell would act on.
fn harmless(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let acts = command.contains([';', '|', '&', '`', '$', '(', '>', '<', '!']);
    HARMLESS.contains(&name) && !acts
}

/// `s/a/b/e`, a line `e command`, `1e command`.
fn sed_executes(script: &str) -> bool {
    script.split([';', '\n']).map(str::trim).any(|command| {
        let flags = command.rsplit('/').next().unwrap_or_default();
        let substitution = command.starts_with("s/") && command.matches('/').count() >= 3;
        let executes = substitution && !flags.is_empty() && flags.len() <= 4 && flags.contains('e');
        let line = command.trim_start_matches(|c: char| c.is_ascii_digit() || c == '$');
        executes || line.strip_prefix('e').is_some_and(|rest| rest.starts_with(' '))
    })
}

/// `-c ':!rm'`, `+!rm`.
fn editor_runs(text: &str) -> bool {
    let command = text.trim_start_matches(['+', ':', '%', ' ']);
    command.starts_with('!')
        || command.starts_with("r!")
        || command.starts_with("silent !")
        || command.contains("system(")
}

fn git(judge: &Judge<'_>) -> bool {
    let texts: Vec<&str> = judge.texts().collect();
    let set = |setting: &str| {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        names_program(name) && !harmless(value) || name.starts_with("alias.") && value.starts_with('!')
    };
    let inline =
        texts.windows(2).any(|pair| matches!(pair, ["-c" | "--config-env", setting] if set(setting)));
    let stored = texts.first() == Some(&"config") && {
        let mut rest = texts.iter().skip(1).filter(|text| !text.starts_with("--"));
        let name = rest.next().copied().unwrap_or_default();
        let value = rest.next().copied();
        value.is_some_and(|value| {
            names_program(name) && !harmless(value) || name.starts_with("alias.") && value.starts_with('!')
        })
    };
    inline
        || stored
        || texts.iter().any(|text| text.starts_with("--upload-pack=") || text.starts_with("--receive-pack="))
        || texts.iter().any(|text| text.starts_with("ext::"))
}

fn names_program(setting: &str) -> bool {
    let name = setting.to_ascii_lowercase();
    GIT_SETTINGS.contains(&name.as_str())
        || name.starts_with("filter.")
            && (name.ends_with(".clean") || name.ends_with(".smudge") || name.ends_with(".process"))
        || (name.starts_with("difftool.") || name.starts_with("mergetool.")) && name.ends_with(".cmd")
        || name.starts_with("pager.")
}
