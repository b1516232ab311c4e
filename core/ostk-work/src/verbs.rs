//! What a verb of tack means: looked up in `.language`, then among the operator's own verbs, then in the table here.
//!
//! A meaning is a command line of `ostk`, so that tack can do nothing that the command line cannot. The table's verbs
//! cannot be redefined. A verb that nobody knows is answered with those that are spelled alike.

use serde::Serialize;

use crate::Language;

/// Most verbs that are suggested, and how far from them a word may be (specification, section 7).
const MAX_SUGGESTIONS: usize = 3;

/// A verb of the table: its name, the words of the command before its arguments, and those after.
type Known = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Verbs that every project has.
const VERBS: &[Known] = &[
    ("add", &["work", "add", "--title"], &[]),
    ("audit", &["audit", "query"], &[]),
    ("boot", &["boot"], &[]),
    ("claim", &["work", "claim"], &[]),
    ("close", &["work", "close"], &[]),
    ("compile", &["compile"], &[]),
    ("compounds", &["compounds"], &[]),
    ("decide", &["decide"], &[]),
    ("edit", &["work", "edit"], &[]),
    ("hay", &["hay"], &[]),
    ("link", &["work", "link"], &[]),
    ("list", &["work", "list"], &[]),
    ("needle", &["work", "show"], &[]),
    ("next", &["work", "next"], &[]),
    ("note", &["note"], &[]),
    ("nudge", &["nudge"], &[]),
    ("ps", &["ps"], &[]),
    ("release", &["work", "release"], &[]),
    ("run", &["run"], &[]),
    ("shelve", &["work", "edit"], &["--status", "shelved"]),
    ("show", &["show"], &[]),
    ("status", &["show", "status"], &[]),
    ("undo", &["undo"], &[]),
    ("unshelve", &["work", "edit"], &["--status", "open"]),
    ("why", &["why"], &[]),
    ("work", &["work", "list"], &[]),
];

/// Other names of those verbs.
const ALIASES: &[(&str, &str)] = &[
    ("calibrate", "compile"),
    ("correct", "nudge"),
    ("delegate", "run"),
    ("emerge", "hay"),
    ("idea", "hay"),
    ("inform", "nudge"),
    ("ls", "list"),
    ("open", "list"),
    ("proc", "ps"),
    ("pull", "next"),
    ("recover", "boot"),
    ("showme", "show"),
    ("straw", "hay"),
];

/// Where a meaning was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the project's `.language`.
    Language,
    /// Among the operator's verbs, in HUMANFILE.
    Humanfile,
    /// In the table that every project has.
    Table,
}

impl Source {
    /// How sure the meaning is, in percent (specification, section 7).
    pub const fn confidence_pct(self) -> u8 {
        match self {
            Self::Language => 100,
            Self::Humanfile => 90,
            Self::Table => 80,
        }
    }
}

/// What a verb means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolution {
    /// The verb by its own name.
    pub verb: String,
    /// Where it was found.
    pub source: Source,
    /// How sure that is, in percent.
    pub confidence_pct: u8,
    /// The words of the `ostk` command, without its arguments; none if no command does it.
    pub command: Option<Vec<String>>,
    /// Words after its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// The verbs that there are.
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    language: Language,
    own: Vec<(String, String)>,
}

impl Lexicon {
    /// The verbs of a project's `.language`, and the operator's own: names with what each stands for.
    pub const fn new(language: Language, own: Vec<(String, String)>) -> Self {
        Self { language, own }
    }

    /// What a verb means; `kernel::` and `user::` before it say where to look.
    ///
    /// # Errors
    /// Verbs that are spelled alike, at most three, the nearest first.
    pub fn resolve(&self, verb: &str) -> Result<Resolution, Vec<String>> {
        let (namespace, name) =
            verb.split_once("::").map_or((None, verb), |(space, name)| (Some(space), name));
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, verb)| *verb);
        let of_table = || VERBS.iter().find(|(known, ..)| *known == name);
        let found = match namespace {
            None => {
                self.of_language(name).or_else(|| of_table().map(table)).or_else(|| self.of_operator(name))
            }
            Some("kernel") => of_table().map(table),
            Some("user") => self.of_operator(name),
            Some(_) => self.of_language(name),
        };
        found.ok_or_else(|| self.suggestions(name))
    }

    /// A row that names a verb of the table means what the table says.
    fn of_language(&self, name: &str) -> Option<Resolution> {
        let row = self.language.lookup(name)?;
        let mut found = VERBS.iter().find(|(known, ..)| *known == name).map_or_else(
            || {
                let words: Vec<String> = row.resolution.split_whitespace().map(str::to_owned).collect();
                let command = words.strip_prefix(&["ostk".to_owned()]).map(<[String]>::to_vec);
                Resolution { command, ..bare(name, Source::Language) }
            },
            table,
        );
        (found.source, found.confidence_pct) = (Source::Language, Source::Language.confidence_pct());
        Some(found)
    }

    /// An operator's verb stands for a command line of `ostk`, with or without that word.
    fn of_operator(&self, name: &str) -> Option<Resolution> {
        let (_, expansion) = self.own.iter().find(|(own, _)| own == name)?;
        let words: Vec<String> = expansion.split_whitespace().map(str::to_owned).collect();
        let words = words.strip_prefix(&["ostk".to_owned()]).unwrap_or(&words).to_vec();
        Some(Resolution { command: Some(words), ..bare(name, Source::Humanfile) })
    }

    fn suggestions(&self, name: &str) -> Vec<String> {
        let rows = self.language.rows().iter().map(|row| row.verb.as_str());
        let own = self.own.iter().map(|(own, _)| own.as_str());
        let known = VERBS.iter().map(|(verb, ..)| *verb).chain(ALIASES.iter().map(|(alias, _)| *alias));
        let near = known.chain(rows).chain(own).map(|verb| (distance(verb, name), verb));
        let mut near: Vec<(usize, &str)> = near.filter(|(far, _)| *far <= MAX_SUGGESTIONS).collect();
        near.sort_unstable();
        near.dedup();
        near.into_iter().take(MAX_SUGGESTIONS).map(|(_, verb)| verb.to_owned()).collect()
    }
}

fn bare(verb: &str, source: Source) -> Resolution {
    let confidence_pct = source.confidence_pct();
    Resolution { verb: verb.to_owned(), source, confidence_pct, command: None, after: Vec::new() }
}

fn table((verb, before, after): &Known) -> Resolution {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    Resolution { command: Some(words(before)), after: words(after), ..bare(verb, Source::Table) }
}

/// How many letters differ (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, c) in one.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for (pair, d) in row.windows(2).zip(&other) {
            let [diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(c != *d)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon() -> Lexicon {
        let language = ":ps | 1 | info | 3 | 0.9 | internal | () → () | processes | - |\n\
                        :deploy | 3 | user | 1 | 0.1 | ostk run deploy.af | () → () | ship it | - |\n\
                        :pray | 3 | user | 1 | 0.1 | llm | () → () | hope | - |\n";
        let own = [("mine", "ostk work list --tag mine"), ("list", "shutdown")];
        let own = own.map(|(name, expansion)| (name.to_owned(), expansion.to_owned()));
        Lexicon::new(Language::parse(language).unwrap(), own.to_vec())
    }

    fn command(verb: &str) -> Option<String> {
        lexicon().resolve(verb).unwrap().command.map(|words| words.join(" "))
    }

    #[test]
    fn a_verb_is_found_in_the_first_of_three_places() {
        let source = |verb: &str| lexicon().resolve(verb).map(|found| (found.source, found.confidence_pct));
        assert_eq!(source("ps"), Ok((Source::Language, 100)));
        assert_eq!(source("mine"), Ok((Source::Humanfile, 90)));
        assert_eq!(source("list"), Ok((Source::Table, 80)));
        assert_eq!(command("deploy").as_deref(), Some("run deploy.af"));
        assert_eq!(command("pray"), None, "no command does it");
        assert_eq!(command("mine").as_deref(), Some("work list --tag mine"));
    }

    #[test]
    fn aliases_and_namespaces_lead_to_a_verb_and_nobody_redefines_one() {
        assert_eq!(command("straw").as_deref(), Some("hay"));
        assert_eq!(command("pull").as_deref(), Some("work next"));
        assert_eq!(command("list").as_deref(), Some("work list"), "not the operator's own meaning");
        assert_eq!(command("user::list").as_deref(), Some("shutdown"), "unless he says so");
        assert_eq!(command("kernel::ps").as_deref(), Some("ps"));
        assert!(lexicon().resolve("kernel::mine").is_err());
        assert!(ALIASES.iter().all(|(alias, verb)| lexicon().resolve(verb).is_ok()
            && !VERBS.iter().any(|(known, ..)| known == alias)));
    }

    #[test]
    fn an_unknown_verb_is_answered_with_those_spelled_alike() {
        assert_eq!(lexicon().resolve("lst"), Err(vec!["list".to_owned(), "ls".to_owned(), "ps".to_owned()]));
        assert_eq!(lexicon().resolve("complie").unwrap_err().first().map(String::as_str), Some("compile"));
        assert_eq!(lexicon().resolve("xylophone"), Err(vec![]));
        assert_eq!((distance("kitten", "sitting"), distance("", "abc"), distance("a", "a")), (3, 3, 0));
    }
}
