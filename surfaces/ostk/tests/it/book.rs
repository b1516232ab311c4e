//! README and book against the binary: shown output is what is printed, named commands exist, the reference is `--help`.
//!
//! A fenced block whose first line starts with `$ ` is run line by line in a git repository of its own. What differs
//! from run to run is masked on both sides by [`mask`]; CONTRIBUTING.md lists the masks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;
use serde_json::Value;

use crate::fixture::{Fixture, ran};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Set, the reference is written instead of compared.
const UPDATE: &str = "UPDATE_DOCS";

/// README, CONTRIBUTING, ARCHITECTURE and the pages of the book, by their path in the repository.
fn texts() -> BTreeMap<String, String> {
    let book = fs::read_dir(Path::new(ROOT).join("docs/src")).unwrap();
    let pages = book.map(|page| format!("docs/src/{}", page.unwrap().file_name().to_str().unwrap()));
    let top = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"].map(str::to_owned);
    let read = |name: String| (name.clone(), fs::read_to_string(Path::new(ROOT).join(name)).unwrap());
    pages.chain(top).map(read).collect()
}

/// The fenced blocks of a text, each as its lines.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let parts = text.split("\n```").skip(1).step_by(2);
    parts.map(|part| part.lines().skip(1).collect()).collect()
}

#[test]
fn what_the_readme_and_the_book_show_is_what_the_commands_print() {
    let mut shown = 0;
    for (name, text) in texts() {
        for block in
            blocks(&text).into_iter().filter(|block| block.first().is_some_and(|line| line.starts_with("$ ")))
        {
            let fixture = Fixture::with_sources();
            for (command, expected) in commands(&block) {
                let printed = shell(&fixture, &command);
                assert_eq!(mask(&printed), mask(&expected), "{name} shows something else for `{command}`");
                shown += 1;
            }
        }
    }
    assert!(shown > 10, "only {shown} commands were found");
}

/// The commands of a block, each with the output below it.
fn commands(block: &[&str]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push((command.to_owned(), String::new())),
            (None, Some((_, output))) => output.push_str(&format!("{line}\n")),
            (None, None) => unreachable!("a block begins with a command"),
        }
    }
    found
}

fn shell(fixture: &Fixture, command: &str) -> String {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_ostk"));
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = fixture.program("sh", &["-c", &format!("exec 2>&1\n{command}")]);
    shell.env("PATH", path).env("TMPDIR", fixture.home());
    ran(shell.output().unwrap()).out
}

/// An output with what differs from run to run masked. JSON is compared as a value, other text line by line.
fn mask(output: &str) -> Vec<String> {
    let rules = [
        (r"ed25519:[\w-]+…?", "KEY"),
        (r"[0-9a-f]{8,}…?|[0-9a-f]{4,}…", "DIGEST"),
        (r"[\w-]+(/[\w-]+)+\.rs\b", "SOURCE"),
        (r#"(^|[\s"])/[\w./-]+"#, "${1}PATH"),
        (r"\d+(\.\d+)?", "N"),
        (r" +", " "),
    ];
    let rules = rules.map(|(pattern, with)| (Regex::new(pattern).unwrap(), with));
    let masked = |line: &str| {
        let whole =
            serde_json::from_str::<Value>(line).map_or_else(|_| line.to_owned(), |value| sorted(&value));
        let fold = |text: String, (rule, with): &(Regex, &str)| rule.replace_all(&text, *with).into_owned();
        rules.iter().fold(whole, fold).trim().to_owned()
    };
    let lines: Vec<String> = output.lines().map(masked).collect();
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines[..end].to_vec()
}

/// JSON with the members of objects in the order of their names.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let member = |(name, value): (&String, &Value)| format!("{name:?}:{}", sorted(value));
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The command line's tree: words of a command to its help.
struct Tree(BTreeMap<Vec<String>, String>);

impl Tree {
    fn of(fixture: &Fixture) -> Self {
        let (mut tree, mut open) = (BTreeMap::new(), vec![Vec::new()]);
        while let Some(words) = open.pop() {
            let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let help = fixture.run(&args).good().out;
            for verb in subcommands(&help) {
                open.push(words.iter().cloned().chain([verb]).collect());
            }
            tree.insert(words, help);
        }
        Self(tree)
    }

    /// What is wrong with a command line that a text names.
    fn problem(&self, line: &str) -> Option<String> {
        let line = line.split(" -- ").next().unwrap().split(" #").next().unwrap();
        let mut words = Vec::new();
        let mut help = &self.0[&Vec::new()];
        for word in line.split_whitespace() {
            if word.starts_with("--") {
                let flag = word.split('=').next().unwrap();
                if !help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|known| known == flag) {
                    return Some(format!("no option {flag}"));
                }
            } else if !subcommands(help).is_empty() {
                let placeholder = !word.starts_with(|c: char| c.is_ascii_lowercase());
                if placeholder {
                    return None;
                }
                words.push(if word == "serve" { "listen".to_owned() } else { word.to_owned() });
                match self.0.get(&words) {
                    Some(known) => help = known,
                    None => return Some(format!("no command {}", words.join(" "))),
                }
            }
        }
        None
    }
}

/// The commands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// Command lines that a text names: in backquotes, or at the start of a line of a fenced block.
fn named(text: &str) -> BTreeSet<String> {
    let inline = Regex::new(r"`ostk ([^`]+)`").unwrap();
    let fenced = Regex::new(r"^(?:\$ |Hint: )?ostk (.+)$").unwrap();
    // Any command may be spoken to a stack.
    let text = &Regex::new("ostk --stack [a-zA-Z]+ ").unwrap().replace_all(text, "ostk ");
    let prose: String = text.split("\n```").step_by(2).collect();
    let prose = prose.replace('\n', " ");
    let mut found: BTreeSet<String> = inline.captures_iter(&prose).map(|m| m[1].to_owned()).collect();
    for line in blocks(text).concat() {
        found.extend(fenced.captures(line).map(|m| m[1].to_owned()));
    }
    found
}

#[test]
fn every_command_and_option_that_a_text_names_exists() {
    let fixture = Fixture::bare();
    let (tree, mut problems) = (Tree::of(&fixture), Vec::new());
    for (name, text) in texts() {
        for line in named(&text) {
            problems.extend(tree.problem(&line).map(|problem| format!("{name}: `ostk {line}`: {problem}")));
            let verb = line.strip_prefix("call ").and_then(|rest| rest.split(' ').next());
            if let Some(verb) = verb.filter(|verb| verb.contains('.'))
                && fixture.run(&["abi", "show", verb]).code != 0
            {
                problems.push(format!("{name}: `ostk {line}`: no system call {verb}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(tree.problem("audit verify --shallow"), Some("no option --shallow".to_owned()));
    assert_eq!(tree.problem("audit verfy"), Some("no command audit verfy".to_owned()));
}

#[test]
fn the_reference_of_commands_is_what_help_prints() {
    let Tree(tree) = Tree::of(&Fixture::bare());
    let mut page = String::from(
        "# Commands\n\nWhat `ostk COMMAND --help` prints. Every command also takes `--json` (print JSON), \
         `--color auto|always|never`,\n`--stack NAME` (speak to a [sub-stack](stacks.md)), `--help` and `--version`. Exit codes are on [a page of their own](errors.md).\n",
    );
    for (words, help) in tree.iter().filter(|(words, _)| !words.is_empty()) {
        let (own, common) = help.split_once("\n      --json\n").unwrap();
        let flags =
            common.lines().filter(|line| line.trim_start().starts_with("--") || line.starts_with("  -"));
        assert_eq!(flags.count(), 4, "options of {words:?} stand among those of every command: {help}");
        let own = own.trim_end();
        let own = own.strip_suffix("Options:").unwrap_or(own).trim_end();
        page.push_str(&format!("\n## ostk {}\n\n```text\n{own}\n```\n", words.join(" ")));
    }
    let path = Path::new(ROOT).join("docs/src/commands.md");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &page).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/src/commands.md is old: {UPDATE}=1 cargo test -p ostk --test it book");
}

#[test]
fn completions_know_every_command_and_are_scripts_of_their_shell() {
    let fixture = Fixture::bare();
    let Tree(tree) = Tree::of(&fixture);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fixture.run(&["completions", shell]).good().out;
        for words in tree.keys() {
            assert!(words.iter().all(|word| script.contains(word.as_str())), "{shell}: {words:?}");
        }
    }
    let check =
        r#"ostk completions bash | bash -n && bash -c '. <(ostk completions bash); complete -p ostk'"#;
    assert!(shell(&fixture, check).contains("ostk"));
}
