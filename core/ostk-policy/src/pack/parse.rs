//! Reads the YAML of a pack. An unknown key, field, operator or action is an error with its place and the nearest known
//! word, and what no request can meet is refused rather than kept.

use std::{collections::BTreeSet, sync::Arc};

use regex::RegexBuilder;

use super::{
    Action, Pack, Rule,
    condition::{Condition, Field, Name, Order, Scalar, Test},
    index::Index,
};
use crate::{
    documents::{Lint, LoadError, LoadErrors},
    verdict::RuleRef,
    yaml::{Key, Node, Yaml},
};

/// Most rules of one pack, conditions of one rule, values of one list.
const MAX_RULES: usize = 1_000;
const MAX_CONDITIONS: usize = 16;
const MAX_VALUES: usize = 1_000;
/// Longest name or message, in characters: they stand in verdicts.
const MAX_WORDS: usize = 300;
/// Largest compiled regular expression.
const MAX_REGEX_BYTES: usize = 256 * 1024;
/// Most pairs of a rule and an `allow` or `ask` above it: in Cedar each pair is written out.
const MAX_PAIRS: usize = 10_000;

const PACK: [&str; 5] = ["version", "name", "description", "rules", "defaults"];
const RULE: [&str; 6] = ["name", "condition", "conditions", "action", "priority", "message"];
const CONDITION: [&str; 3] = ["field", "operator", "value"];
const DEFAULTS: [&str; 4] = ["action", "max_tokens", "max_tool_calls", "confidence_threshold"];
const OPERATORS: [&str; 10] = ["eq", "ne", "gt", "lt", "gte", "lte", "in", "not_in", "matches", "contains"];
const ACTIONS: [(&str, Action); 7] = [
    ("allow", Action::Allow),
    ("audit", Action::Allow),
    ("deny", Action::Deny),
    ("block", Action::Deny),
    ("ask", Action::Ask),
    ("escalate", Action::Ask),
    ("require_approval", Action::Ask),
];

/// The document name of a pack: `rules/team.yaml`.
pub(crate) fn document(name: &str) -> String {
    format!("rules/{name}")
}

/// A rule with its priority.
type Ranked = (i64, Rule);

struct Reader<'a> {
    yaml: Yaml<'a>,
    errors: Vec<LoadError>,
    lints: Vec<Lint>,
}

pub(super) fn parse(name: &str, text: &str) -> Result<Pack, LoadErrors> {
    let document = document(name);
    let mut reader =
        Reader { yaml: Yaml { document: &document, skipped: 0 }, errors: Vec::new(), lints: Vec::new() };
    let node = reader.yaml.read(text)?;
    let Some(pairs) = node.as_ref().and_then(Node::map) else {
        return Err(reader.yaml.error((1, 1), "a pack is a map with `rules:`").into());
    };
    let (mut ranked, mut default) = (Vec::new(), None);
    for (key, value) in pairs {
        match key.text.as_str() {
            "rules" => ranked = reader.rules(value),
            "defaults" => default = reader.defaults(value),
            "version" if value.text() != Some("1.0") => {
                reader.error(value.at(), "the version is \"1.0\"", Some("version: \"1.0\""));
            }
            known if PACK.contains(&known) => {}
            _ => reader.unknown(key, &PACK),
        }
    }
    // Stable: rules of one priority keep their order.
    ranked.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let rules: Vec<Rule> = ranked.into_iter().map(|(_, rule)| rule).collect();
    reader.check(&rules);
    reader.errors.sort_by_key(|error| (error.line, error.column));
    if let Some(errors) = LoadErrors::from_list(reader.errors) {
        return Err(errors);
    }
    let fields: BTreeSet<Field> =
        rules.iter().flat_map(|rule| &rule.conditions).map(|condition| condition.field.clone()).collect();
    let index = Index::new(&rules);
    Ok(Pack { rules, default, fields, index, lints: reader.lints })
}

impl Reader<'_> {
    fn error(&mut self, at: (usize, usize), message: impl Into<String>, hint: Option<&str>) {
        let error = self.yaml.error(at, message);
        self.errors.push(LoadError { hint: hint.map(str::to_owned), ..error });
    }

    fn unknown(&mut self, key: &Key, known: &[&str]) {
        self.errors.push(self.yaml.unknown((key.line, key.column), "key", &key.text, known));
    }

    fn lint(&mut self, line: usize, message: String) {
        self.lints.push(Lint { document: self.yaml.document.to_owned(), line, message });
    }

    /// What holds for the rules together.
    fn check(&mut self, rules: &[Rule]) {
        let mut seen = BTreeSet::new();
        for rule in rules.iter().filter(|rule| !seen.insert(rule.at.text.clone())) {
            self.error((rule.at.line, 1), format!("two rules are called {:?}", rule.at.text), None);
        }
        let mut ends = 0;
        let mut pairs = 0;
        for rule in rules {
            pairs += ends;
            ends += usize::from(rule.action != Action::Deny);
        }
        if pairs > MAX_PAIRS {
            let hint = "put them into packs of their own, or the `deny` rules above them";
            self.error((1, 1), "too many rules stand below `allow` and `ask` rules", Some(hint));
        }
    }

    /// The action of `defaults`; `None` lets calls go on.
    fn defaults(&mut self, node: &Node) -> Option<(Action, Arc<RuleRef>)> {
        let mut found = None;
        for (key, value) in node.map().unwrap_or_default() {
            match key.text.as_str() {
                "action" => found = self.action(value).map(|action| (action, value.line)),
                known if DEFAULTS.contains(&known) => {
                    self.lint(
                        key.line,
                        format!("{known} is read; nothing acts on it: LIMIT in an Agentfile bounds an agent"),
                    );
                }
                _ => self.unknown(key, &DEFAULTS),
            }
        }
        let (action, line) = found.filter(|(action, _)| *action != Action::Allow)?;
        let document = self.yaml.document.to_owned();
        Some((action, Arc::new(RuleRef { document, line, text: "defaults".to_owned() })))
    }

    fn rules(&mut self, node: &Node) -> Vec<Ranked> {
        let Some(list) = node.list() else {
            self.error(node.at(), "`rules` is a list", Some("rules:\n  - name: …"));
            return Vec::new();
        };
        if list.len() > MAX_RULES {
            self.error(
                node.at(),
                format!("a pack has at most {MAX_RULES} rules"),
                Some("write another pack"),
            );
        }
        list.iter().take(MAX_RULES).filter_map(|rule| self.rule(rule)).collect()
    }

    fn rule(&mut self, node: &Node) -> Option<Ranked> {
        let Some(pairs) = node.map() else {
            self.error(node.at(), "a rule is a map", Some("- name: no-deploys"));
            return None;
        };
        for (key, _) in pairs.iter().filter(|(key, _)| !RULE.contains(&key.text.as_str())) {
            self.unknown(key, &RULE);
        }
        let before = self.errors.len();
        let name = self.words(node, "name").unwrap_or_default();
        if name.is_empty() {
            self.error(node.at(), "a rule needs a name", Some("name: no-deploys"));
        }
        let message = self.words(node, "message");
        let action = match node.get("action") {
            Some(action) => self.action(action),
            None => {
                self.error(node.at(), "a rule needs an action", Some("action: deny"));
                None
            }
        };
        let priority = match node.get("priority") {
            None => 0,
            Some(node) => node.number().unwrap_or_else(|| {
                self.error(node.at(), "a priority is a whole number", Some("priority: 10"));
                0
            }),
        };
        let conditions = self.conditions(node);
        let document = self.yaml.document.to_owned();
        let at = Arc::new(RuleRef { document, line: node.line, text: name });
        (self.errors.len() == before)
            .then(|| Some((priority, Rule { at, conditions, action: action?, message })))?
    }

    /// A name or a message: one printable line.
    fn words(&mut self, rule: &Node, key: &str) -> Option<String> {
        let node = rule.get(key)?;
        let text = node.text().unwrap_or_default();
        if text.is_empty() || text.chars().count() > MAX_WORDS || text.contains(char::is_control) {
            self.error(node.at(), format!("`{key}` is one line of at most {MAX_WORDS} characters"), None);
        }
        Some(text.to_owned())
    }

    fn action(&mut self, node: &Node) -> Option<Action> {
        let word = node.text().unwrap_or_default();
        let found = ACTIONS.into_iter().find(|(name, _)| *name == word).map(|(_, action)| action);
        if found.is_none() {
            self.errors.push(self.yaml.unknown(node.at(), "action", word, &ACTIONS.map(|(name, _)| name)));
        }
        found
    }

    fn conditions(&mut self, rule: &Node) -> Vec<Condition> {
        let many = rule.get("conditions");
        if let Some(node) = many.filter(|node| node.list().is_none()) {
            self.error(
                node.at(),
                "`conditions` is a list; all of them must hold",
                Some("conditions:\n  - {field: call, operator: eq, value: file.write}"),
            );
        }
        let nodes: Vec<&Node> =
            rule.get("condition").into_iter().chain(many.and_then(Node::list).unwrap_or_default()).collect();
        if nodes.is_empty() || nodes.len() > MAX_CONDITIONS {
            let message = format!("a rule needs between 1 and {MAX_CONDITIONS} conditions");
            self.error(rule.at(), message, Some("condition: {field: call, operator: eq, value: file.write}"));
        }
        nodes.into_iter().take(MAX_CONDITIONS).filter_map(|node| self.condition(node)).collect()
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        let Some(pairs) = node.map() else {
            self.error(node.at(), "a condition is a map of field, operator and value", None);
            return None;
        };
        for (key, _) in pairs.iter().filter(|(key, _)| !CONDITION.contains(&key.text.as_str())) {
            self.unknown(key, &CONDITION);
        }
        let [Some(field), Some(operator), Some(value)] = CONDITION.map(|key| node.get(key)) else {
            self.error(
                node.at(),
                "a condition needs field, operator and value",
                Some("{field: path, operator: matches, value: \"^deploy/\"}"),
            );
            return None;
        };
        let field = self.field(field)?;
        let test = self.test(&field, operator, value)?;
        if field == Field::Named(Name::Kind) && matches!(value.text(), Some("human" | "kernel")) {
            self.lint(
                value.line,
                "packs bind agents and worlds; people and the kernel are not bound".to_owned(),
            );
        }
        Some(Condition { field, test, place: node.at() })
    }

    fn field(&mut self, node: &Node) -> Option<Field> {
        let word = node.text().unwrap_or_default();
        if let Some(name) = word.strip_prefix("args.").filter(|name| !name.is_empty()) {
            return Some(Field::Argument(name.to_owned()));
        }
        let found = Name::ALL.into_iter().find(|(text, _)| *text == word).map(|(_, name)| Field::Named(name));
        if found.is_none() {
            let known: Vec<&str> = Name::ALL.iter().map(|(text, _)| *text).chain(["args.NAME"]).collect();
            self.errors.push(self.yaml.unknown(node.at(), "field", word, &known));
        }
        found
    }

    fn test(&mut self, field: &Field, operator: &Node, value: &Node) -> Option<Test> {
        let word = operator.text().unwrap_or_default();
        match word {
            "eq" | "ne" => {
                Some(Test::Among { values: vec![self.scalar(field, value)?], negated: word == "ne" })
            }
            "in" | "not_in" => {
                let Some(list) = value.list().filter(|list| (1..=MAX_VALUES).contains(&list.len())) else {
                    self.error(
                        value.at(),
                        format!("`{word}` takes a list of 1 to {MAX_VALUES} values"),
                        Some("value: [a, b]"),
                    );
                    return None;
                };
                let values = list.iter().filter_map(|value| self.scalar(field, value)).collect();
                Some(Test::Among { values, negated: word == "not_in" })
            }
            "gt" => self.compare(field, value, Order::Greater),
            "lt" => self.compare(field, value, Order::Less),
            "gte" => self.compare(field, value, Order::AtLeast),
            "lte" => self.compare(field, value, Order::AtMost),
            "contains" => self.contains(field, value),
            "matches" => self.matches(value),
            _ => {
                self.errors.push(self.yaml.unknown(operator.at(), "operator", word, &OPERATORS));
                None
            }
        }
    }

    /// One value, of the kind that the field holds.
    fn scalar(&mut self, field: &Field, node: &Node) -> Option<Scalar> {
        let Some(text) = node.text() else {
            self.error(node.at(), "a value is a text, a number, true or false", None);
            return None;
        };
        match field {
            Field::Named(Name::Port) => match node.number() {
                Some(number) => Some(Scalar::Number(number)),
                None => {
                    self.error(node.at(), "a port is a number", Some("value: 443"));
                    None
                }
            },
            Field::Named(_) => Some(Scalar::Text(text.to_owned())),
            Field::Argument(_) => Some(match (node.number(), node.flag()) {
                (Some(number), _) => Scalar::Number(number),
                (None, Some(flag)) => Scalar::Flag(flag),
                (None, None) => Scalar::Text(text.to_owned()),
            }),
        }
    }

    fn compare(&mut self, field: &Field, node: &Node, order: Order) -> Option<Test> {
        if !matches!(field, Field::Argument(_) | Field::Named(Name::Port)) {
            let message = format!("{} is no number and cannot be compared so", field.name());
            self.error(node.at(), message, Some("eq, ne, in, not_in, matches and contains compare texts"));
            return None;
        }
        let Some(limit) = node.number() else {
            self.error(node.at(), "numbers are compared with a whole number", Some("value: 10"));
            return None;
        };
        Some(Test::Compare(order, limit))
    }

    fn contains(&mut self, field: &Field, node: &Node) -> Option<Test> {
        let text = node.text().filter(|text| !text.is_empty());
        if text.is_none() || *field == Field::Named(Name::Port) {
            self.error(
                node.at(),
                "`contains` looks for a text in a text or among several",
                Some("value: production"),
            );
            return None;
        }
        text.map(|text| Test::Contains(text.to_owned()))
    }

    fn matches(&mut self, node: &Node) -> Option<Test> {
        let Some(text) = node.text() else {
            self.error(node.at(), "`matches` takes a regular expression", Some("value: \"^deploy/\""));
            return None;
        };
        match RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build() {
            Ok(regex) => Some(Test::Matches(regex)),
            Err(problem) => {
                let problem = problem.to_string();
                let last = problem.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.error(node.at(), format!("not a regular expression: {last}"), None);
                None
            }
        }
    }
}
