//! Programs that run other programs: whom they run, and with which arguments.
//!
//! A table for those that take options and then a command (`sudo`, `timeout`), functions for the others (`find`, `ssh`,
//! shells, interpreters); container engines, git and terminals are in `launchers`. Options that are not in the table are
//! taken to have no value, which at worst lists an option's value as a command.

use super::{
    Simple, launchers,
    word::{FETCHED, FILE, OUTPUT, Word, join},
};

/// Something that a command runs in turn.
#[derive(Debug)]
pub(super) enum Inner {
    /// A command with its arguments.
    Command(Simple),
    /// A text for a shell; `here` when it runs in this shell, as with `eval`.
    Text { by: String, text: Word, here: bool },
    /// Code of another language.
    Code { by: String, text: Word },
}

/// A program whose operands, after some of its own, are a command: name, short options with a value, long options with
/// a value, own operands.
struct Wrapper(&'static str, &'static str, &'static [&'static str], usize);

const WRAPPERS: [Wrapper; 46] = [
    Wrapper(
        "sudo",
        "CDghpRrTtUu",
        &["user", "group", "host", "prompt", "chdir", "close-from", "role", "type"],
        0,
    ),
    Wrapper("doas", "uC", &[], 0),
    Wrapper("pkexec", "", &["user"], 0),
    Wrapper("run0", "u", &["user", "unit", "property"], 0),
    Wrapper("gosu", "", &[], 1),
    Wrapper("su-exec", "", &[], 1),
    Wrapper("env", "uCa", &["unset", "chdir", "argv0"], 0),
    Wrapper("nice", "n", &["adjustment"], 0),
    Wrapper("ionice", "cnpPu", &["class", "classdata"], 0),
    Wrapper("chrt", "pTPD", &[], 1),
    Wrapper("taskset", "", &[], 1),
    Wrapper("numactl", "", &[], 0),
    Wrapper("timeout", "ks", &["kill-after", "signal"], 1),
    Wrapper("nohup", "", &[], 0),
    Wrapper("setsid", "", &[], 0),
    Wrapper("stdbuf", "ioe", &["input", "output", "error"], 0),
    Wrapper("unbuffer", "", &[], 0),
    Wrapper("time", "fo", &["format", "output"], 0),
    Wrapper("builtin", "", &[], 0),
    Wrapper("exec", "a", &[], 0),
    Wrapper("noglob", "", &[], 0),
    Wrapper("nocorrect", "", &[], 0),
    Wrapper("busybox", "", &[], 0),
    Wrapper("toybox", "", &[], 0),
    Wrapper("strace", "abeEIoOpPSsuX", &[], 0),
    Wrapper("ltrace", "abeFlnopsu", &[], 0),
    Wrapper("chroot", "", &[], 1),
    Wrapper("unshare", "SGRw", &["map-user", "map-group", "root", "wd"], 0),
    Wrapper("nsenter", "tSG", &["target"], 0),
    Wrapper("setpriv", "", &["reuid", "regid", "groups"], 0),
    Wrapper("systemd-run", "pu", &["property", "unit", "uid", "gid", "slice", "setenv"], 0),
    Wrapper("dbus-run-session", "", &[], 0),
    Wrapper("xvfb-run", "enfspw", &[], 0),
    Wrapper("fakeroot", "", &[], 0),
    Wrapper("firejail", "", &[], 0),
    Wrapper("proot", "rbw", &[], 0),
    Wrapper("caffeinate", "tw", &[], 0),
    Wrapper("flock", "wE", &["timeout", "conflict-exit-code", "wait"], 1),
    Wrapper("direnv", "", &[], 2),
    Wrapper("npx", "pc", &["package", "call"], 0),
    Wrapper("bunx", "", &[], 0),
    Wrapper("pnpx", "", &[], 0),
    Wrapper("rlwrap", "", &[], 0),
    Wrapper("valgrind", "", &[], 0),
    Wrapper("torsocks", "", &[], 0),
    Wrapper("proxychains", "f", &[], 0),
];

/// `program subcommand command…`.
const SUBCOMMANDS: [(&str, &str); 12] = [
    ("uv", "run"),
    ("poetry", "run"),
    ("pipenv", "run"),
    ("pdm", "run"),
    ("hatch", "run"),
    ("rye", "run"),
    ("bundle", "exec"),
    ("npm", "exec"),
    ("yarn", "exec"),
    ("pnpm", "exec"),
    ("mise", "exec"),
    ("asdf", "exec"),
];

pub(super) const SHELLS: [&str; 10] =
    ["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "rbash", "busybox-sh"];

/// Interpreters of other languages with the options that give code.
const INTERPRETERS: [(&str, &[&str]); 14] = [
    ("python", &["-c"]),
    ("pypy", &["-c"]),
    ("perl", &["-e", "-E"]),
    ("ruby", &["-e"]),
    ("node", &["-e", "--eval", "-p", "--print"]),
    ("nodejs", &["-e", "--eval", "-p", "--print"]),
    ("bun", &["-e", "--eval"]),
    ("deno", &["eval"]),
    ("php", &["-r"]),
    ("lua", &["-e"]),
    ("Rscript", &["-e"]),
    ("tclsh", &["-c"]),
    ("osascript", &["-e"]),
    ("pwsh", &["-c", "-Command", "-command"]),
];

/// What the command runs in turn.
pub(super) fn inner(simple: &Simple) -> Vec<Inner> {
    let program = simple.program();
    let args = simple.args();
    if let Some(Wrapper(_, short, long, own)) = WRAPPERS.iter().find(|wrapper| wrapper.0 == program) {
        return wrapped(simple, operands(args, short, long), *own);
    }
    if SHELLS.contains(&program) {
        return shell(simple);
    }
    match program {
        "eval" | "source" | "." | "trap" | "alias" | "su" | "runuser" | "script" | "watch" | "hyperfine"
        | "ssh" | "mosh" => texts(simple),
        "command"
            if args
                .first()
                .is_some_and(|flag| flag.as_str().starts_with("-v") || flag.as_str().starts_with("-V")) =>
        {
            Vec::new()
        }
        "command" => wrapped(simple, operands(args, "", &[]), 0),
        "xargs" => xargs(simple),
        "parallel" => parallel(simple),
        "find" | "fd" | "fdfind" => find(simple),
        "awk" | "gawk" | "mawk" | "nawk" => code(simple, operands(args, "Fvf", &[]).first()),
        "docker" | "podman" | "nerdctl" | "docker-compose" => launchers::container(simple),
        "kubectl" | "oc" => launchers::after_dashes(simple),
        "git" => launchers::git(simple),
        "tmux" | "screen" => launchers::terminal(simple),
        "tar" | "rsync" | "vim" | "vi" | "nvim" | "ex" | "gdb" => Vec::new(),
        _ if SUBCOMMANDS.iter().any(|(name, verb)| *name == program && begins(args, verb)) => {
            let rest = args.get(1..).unwrap_or_default();
            wrapped(simple, operands(rest, "", &["with", "python", "project", "directory"]), 0)
        }
        _ => interpreter(simple),
    }
}

fn begins(args: &[Word], verb: &str) -> bool {
    args.first().is_some_and(|word| word.as_str() == verb)
}

/// The command that `rest` holds after `own` operands, assignments taken off.
fn wrapped(simple: &Simple, rest: &[Word], own: usize) -> Vec<Inner> {
    let rest = rest.get(own..).unwrap_or_default();
    let assignment = |word: &&Word| word.as_str().split_once('=').is_some_and(|(name, _)| variable(name));
    let set = rest.iter().take_while(assignment).count();
    let assignments = rest.iter().take(set).filter_map(|word| {
        let (name, value) = word.as_str().split_once('=')?;
        Some((name.to_owned(), Word::new(value)))
    });
    let words = rest.get(set..).unwrap_or_default();
    let mut found = Vec::new();
    if simple.program() == "env" {
        let split = value_of(simple.args(), &["-S", "--split-string"]);
        found.extend(split.map(|text| Inner::Text { by: simple.show(), text, here: true }));
    }
    if simple.program() == "flock" || simple.program() == "npx" {
        let text = value_of(simple.args(), &["-c", "--command", "--call"]);
        found.extend(text.map(|text| Inner::Text { by: simple.show(), text, here: false }));
    }
    let assignments: Vec<(String, Word)> = assignments.collect();
    if !words.is_empty() || !assignments.is_empty() {
        found.push(Inner::Command(derive(simple, words.to_vec(), assignments)));
    }
    found
}

pub(super) fn derive(simple: &Simple, words: Vec<Word>, assignments: Vec<(String, Word)>) -> Simple {
    Simple {
        words,
        assignments,
        files: Vec::new(),
        input: simple.input.clone(),
        more: simple.more,
        directory: simple.directory.clone(),
    }
}

fn variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The operands: what follows the options, where those in `short` and `long` have a value.
pub(super) fn operands<'a>(args: &'a [Word], short: &str, long: &[&str]) -> &'a [Word] {
    let mut at = 0;
    while let Some(word) = args.get(at) {
        let text = word.as_str();
        if text == "--" {
            return args.get(at + 1..).unwrap_or_default();
        }
        if let Some(name) = text.strip_prefix("--") {
            at += if long.contains(&name) { 2 } else { 1 };
        } else if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let valued = letters.char_indices().find(|(_, c)| short.contains(*c));
            let alone = valued.is_some_and(|(i, c)| i + c.len_utf8() == letters.len());
            at += if alone { 2 } else { 1 };
        } else {
            break;
        }
    }
    args.get(at..).unwrap_or_default()
}

/// The value of the first of these options: `-c text`, `--command=text`, `-ctext`.
pub(super) fn value_of(args: &[Word], names: &[&str]) -> Option<Word> {
    for (at, word) in args.iter().enumerate() {
        let text = word.as_str();
        for name in names {
            if text == *name {
                return args.get(at + 1).cloned();
            }
            let Some(rest) = text.strip_prefix(name) else { continue };
            match (name.starts_with("--"), rest.strip_prefix('=')) {
                (true, Some(value)) => return Some(Word::new(value)),
                (false, _) if name.len() == 2 => return Some(Word::new(rest)),
                _ => {}
            }
        }
    }
    None
}

/// A shell: its `-c`, or its standard input when it is given no script.
fn shell(simple: &Simple) -> Vec<Inner> {
    let mut rest = simple.args();
    while let Some((first, more)) = rest.split_first() {
        let text = first.as_str();
        let Some(flags) = text.strip_prefix('-').or_else(|| text.strip_prefix('+')) else { break };
        rest = more;
        if !flags.starts_with('-') && text.starts_with('-') && flags.contains('c') {
            let code = operands(rest, "oO", &[]).first().cloned();
            return code
                .map(|text| Inner::Text { by: simple.show(), text, here: false })
                .into_iter()
                .collect();
        }
        if flags.ends_with(['o', 'O']) && !flags.starts_with('-')
            || matches!(text, "--rcfile" | "--init-file")
        {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    let standard = rest.is_empty() || simple.texts().any(|text| text == "-s" || text == "/dev/stdin");
    match &simple.input {
        Some(input) if standard => given(simple, input, false),
        _ => rest
            .first()
            .filter(|script| script.has(FETCHED))
            .map(|script| text_of(simple, script))
            .into_iter()
            .collect(),
    }
}

/// Code on standard input. A file's content is as unknown as a script's, and as little to be said of.
fn given(simple: &Simple, input: &Word, here: bool) -> Vec<Inner> {
    let file = input.as_str().chars().all(|c| c == FILE);
    if file { Vec::new() } else { vec![Inner::Text { by: simple.show(), text: input.clone(), here }] }
}

pub(super) fn text_of(simple: &Simple, text: &Word) -> Inner {
    Inner::Text { by: simple.show(), text: text.clone(), here: false }
}

/// Programs that take a shell's text.
fn texts(simple: &Simple) -> Vec<Inner> {
    let args = simple.args();
    let by = simple.show();
    let one = |text: Option<Word>, here: bool| -> Vec<Inner> {
        text.filter(|text| !text.as_str().is_empty())
            .map(|text| Inner::Text { by: by.clone(), text, here })
            .into_iter()
            .collect()
    };
    match simple.program() {
        "eval" => one(Some(join(args)), true),
        "source" | "." => one(args.first().filter(|script| script.has(FETCHED)).cloned(), true),
        "trap" => one(operands(args, "", &[]).first().filter(|text| text.as_str() != "-").cloned(), false),
        "alias" => args
            .iter()
            .filter_map(|word| {
                Some(Inner::Text {
                    by: by.clone(),
                    text: Word::new(word.as_str().split_once('=')?.1),
                    here: false,
                })
            })
            .collect(),
        "su" | "runuser" | "script" => one(value_of(args, &["-c", "--command"]), false),
        "watch" => one(Some(join(operands(args, "nd", &["interval"]))), false),
        "hyperfine" => operands(args, "wmMrpPLn", &[]).iter().map(|text| text_of(simple, text)).collect(),
        _ => {
            let rest = operands(args, "bcDEeFIiJLlmOopQRSWw", &[]);
            match (rest.get(1..).filter(|rest| !rest.is_empty()), &simple.input) {
                (Some(remote), _) => {
                    let mut found = one(Some(join(remote)), false);
                    // A shell over there reads what comes in here.
                    if let (true, Some(input)) =
                        (remote.first().is_some_and(|w| SHELLS.contains(&w.as_str())), &simple.input)
                    {
                        found.push(text_of(simple, input));
                    }
                    found
                }
                (None, Some(input)) => given(simple, input, false),
                (None, None) => Vec::new(),
            }
        }
    }
}

/// `xargs`: the command, with the arguments that are known or a note that more will come.
fn xargs(simple: &Simple) -> Vec<Inner> {
    let args = simple.args();
    let words = operands(
        args,
        "adEeIiLlnPs",
        &["arg-file", "delimiter", "max-args", "max-lines", "max-procs", "replace"],
    );
    let placeholder = value_of(args, &["-I", "--replace"]);
    let known = simple.input.as_ref().filter(|input| input.is_known());
    let extra: Vec<Word> =
        known.map(|input| input.as_str().split_whitespace().map(Word::new).collect()).unwrap_or_default();
    let more = if extra.is_empty() { Word::of(OUTPUT) } else { join(&extra) };
    let mut words: Vec<Word> = match &placeholder {
        Some(name) if !name.as_str().is_empty() => {
            words.iter().map(|word| replace(word, name.as_str(), &more)).collect()
        }
        _ => words.to_vec(),
    };
    if words.is_empty() {
        return Vec::new();
    }
    let open = extra.is_empty();
    if placeholder.is_none() {
        words.extend(extra);
    }
    let input = None;
    vec![Inner::Command(Simple { more: open, input, ..derive(simple, words, Vec::new()) })]
}

fn replace(word: &Word, name: &str, with: &Word) -> Word {
    Word::new(word.as_str().replace(name, with.as_str()))
}

fn parallel(simple: &Simple) -> Vec<Inner> {
    let words = operands(simple.args(), "jaINnPS", &["jobs", "arg-file", "colsep", "delay", "sshlogin"]);
    let end = words.iter().position(|word| word.as_str().starts_with(":::")).unwrap_or(words.len());
    let (command, extra) = words.split_at(end);
    let extra: Vec<Word> = extra.iter().filter(|word| !word.as_str().starts_with(":::")).cloned().collect();
    if command.is_empty() {
        return extra.iter().map(|text| text_of(simple, text)).collect();
    }
    let with = if extra.is_empty() { Word::of(OUTPUT) } else { join(&extra) };
    let holds = command.iter().any(|word| word.as_str().contains("{}"));
    let mut text = replace(&join(command), "{}", &with);
    if !holds {
        text = join(&[text, with]);
    }
    vec![text_of(simple, &text)]
}

/// `find … -exec command ;`, `fd … -x command`.
fn find(simple: &Simple) -> Vec<Inner> {
    let mut found = Vec::new();
    let starts = ["-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"];
    let args = simple.args();
    for (at, _) in args.iter().enumerate().filter(|(_, word)| starts.contains(&word.as_str())) {
        let rest = args.get(at + 1..).unwrap_or_default();
        let end = rest.iter().position(|word| matches!(word.as_str(), ";" | "+")).unwrap_or(rest.len());
        let words: Vec<Word> =
            rest.iter().take(end).map(|word| replace(word, "{}", &Word::of(OUTPUT))).collect();
        if !words.is_empty() {
            found.push(Inner::Command(Simple {
                more: true,
                input: None,
                ..derive(simple, words, Vec::new())
            }));
        }
    }
    found
}

fn code(simple: &Simple, text: Option<&Word>) -> Vec<Inner> {
    text.map(|text| Inner::Code { by: simple.show(), text: text.clone() }).into_iter().collect()
}

/// An interpreter's `-c` or `-e`, or what it reads from standard input.
fn interpreter(simple: &Simple) -> Vec<Inner> {
    let program = simple.program().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let Some((_, options)) = INTERPRETERS.iter().find(|(name, _)| *name == program) else {
        return Vec::new();
    };
    let args = simple.args();
    let by = simple.show();
    let clustered = |word: &&Word| {
        let letters = word.as_str().strip_prefix('-').unwrap_or_default();
        !letters.starts_with('-')
            && letters.len() > 1
            && matches!(program, "perl" | "ruby")
            && letters.ends_with('e')
    };
    let after = |at: usize| args.get(at + 1).cloned();
    let text = value_of(args, options).or_else(|| after(args.iter().position(|word| clustered(&word))?));
    let from_input = args.iter().all(|word| word.as_str() == "-");
    match (text, &simple.input) {
        (Some(text), _) => vec![Inner::Code { by, text }],
        (None, Some(input)) if from_input => vec![Inner::Code { by, text: input.clone() }],
        _ => args
            .iter()
            .filter(|word| word.has(FETCHED))
            .map(|word| Inner::Code { by: by.clone(), text: word.clone() })
            .collect(),
    }
}

/// The script that a shell or an interpreter is given.
pub(super) fn script(simple: &Simple) -> Option<&Word> {
    let program = simple.program().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let runs = SHELLS.contains(&program)
        || matches!(program, "source" | "")
        || simple.program() == "."
        || INTERPRETERS.iter().any(|(name, _)| *name == program);
    operands(simple.args(), "", &[]).first().filter(|_| runs)
}

/// The files that a download writes.
pub(super) fn downloaded(simple: &Simple) -> Vec<Word> {
    let args = simple.args();
    let mut files: Vec<Word> =
        value_of(args, &["-o", "--output", "-O", "--output-document"]).into_iter().collect();
    let written = simple.files.iter().filter(|(writes, _)| *writes).map(|(_, file)| file.clone());
    files.extend(written);
    let addresses = args.iter().filter(|word| word.as_str().contains('/'));
    files.extend(addresses.filter_map(|word| Some(Word::new(word.as_str().rsplit_once('/')?.1))));
    files.retain(|file| !file.as_str().is_empty() && !file.as_str().starts_with('-'));
    files
}
