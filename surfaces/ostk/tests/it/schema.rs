//! The JSON schemas of `docs/schemas`: a checker for the keywords that they use, and values made from them.
//!
//! A keyword that the checker does not know stops the test, so that no schema says more than is checked.

use std::{collections::BTreeMap, fs, path::Path};

use regex::Regex;
use serde_json::{Map, Value, json};

/// Every schema, by its path below `docs/schemas`.
pub(crate) struct Schemas(BTreeMap<String, Value>);

/// A schema and the file that its references start from.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    file: &'a str,
    schema: &'a Value,
}

impl Schemas {
    pub(crate) fn load() -> Self {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/schemas"));
        let mut schemas = BTreeMap::new();
        for dir in ["", "events/"] {
            for entry in fs::read_dir(root.join(dir)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    let name = format!("{dir}{}", path.file_name().unwrap().to_str().unwrap());
                    schemas.insert(name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
                }
            }
        }
        Self(schemas)
    }

    pub(crate) fn file<'a>(&'a self, file: &'a str) -> Node<'a> {
        Node { file, schema: self.0.get(file).unwrap_or_else(|| panic!("there is no docs/schemas/{file}")) }
    }

    /// The definition that a reference such as `events/agent.json#/$defs/step` names.
    pub(crate) fn at<'a>(&'a self, file: &'a str, pointer: &str) -> Node<'a> {
        let Node { schema, .. } = self.file(file);
        let found = schema.pointer(pointer).unwrap_or_else(|| panic!("{file} has no {pointer}"));
        Node { file, schema: found }
    }

    /// The families of events with the names of their events.
    pub(crate) fn events(&self) -> Vec<(&str, &str)> {
        let families = self.0.iter().filter(|(file, _)| file.starts_with("events/"));
        let pairs = families.flat_map(|(file, schema)| {
            let definitions = schema["$defs"].as_object().unwrap().keys();
            definitions.filter(|name| name.contains('.')).map(move |name| (file.as_str(), name.as_str()))
        });
        pairs.collect()
    }

    /// The version of an event.
    pub(crate) fn version(&self, file: &str, event: &str) -> Option<u64> {
        self.file(file).schema["$defs"][event]["x-version"].as_u64()
    }

    #[track_caller]
    pub(crate) fn check(&self, node: Node<'_>, value: &Value) {
        let mut problems = Vec::new();
        self.problems(node, value, "", &mut problems);
        assert!(problems.is_empty(), "{}: {problems:#?} in {value:#}", node.file);
    }

    fn follow<'a>(&'a self, node: Node<'a>) -> Option<Node<'a>> {
        let (file, pointer) = node.schema.get("$ref")?.as_str().unwrap().split_once('#').unwrap();
        let folder = node.file.rfind('/').map_or("", |end| &node.file[..=end]);
        let wanted = if file.is_empty() { node.file.to_owned() } else { format!("{folder}{file}") };
        let (name, _) = self.0.get_key_value(&wanted).unwrap_or_else(|| panic!("no {wanted}"));
        Some(self.at(name, pointer))
    }

    fn problems(&self, node: Node<'_>, value: &Value, place: &str, problems: &mut Vec<String>) {
        if let Some(target) = self.follow(node) {
            self.problems(target, value, place, problems);
        }
        let inner = |schema| Node { schema, ..node };
        for (keyword, rule) in node.schema.as_object().unwrap() {
            let holds = match keyword.as_str() {
                "type" => words(rule).any(|word| is(value, word)),
                "const" => value == rule,
                "enum" => rule.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
                "minItems" => {
                    value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap())
                }
                "maxItems" => {
                    value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap())
                }
                "pattern" => {
                    let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                    value.as_str().is_none_or(|text| pattern.is_match(text))
                }
                "required" => words(rule).all(|name| value.get(name).is_some()),
                "additionalProperties" => {
                    let known = &node.schema["properties"];
                    let more =
                        value.as_object().into_iter().flatten().filter(|(name, _)| known.get(name).is_none());
                    for (name, member) in more.clone().filter(|_| rule.is_object()) {
                        self.problems(inner(rule), member, &format!("{place}/{name}"), problems);
                    }
                    rule.is_object() || more.count() == 0
                }
                "oneOf" => {
                    let fits = |schema| {
                        let mut found = Vec::new();
                        self.problems(inner(schema), value, place, &mut found);
                        found.is_empty()
                    };
                    rule.as_array().unwrap().iter().filter(|schema| fits(schema)).count() == 1
                }
                "properties" => {
                    for (name, schema) in rule.as_object().unwrap() {
                        if let Some(member) = value.get(name) {
                            self.problems(inner(schema), member, &format!("{place}/{name}"), problems);
                        }
                    }
                    true
                }
                "items" => {
                    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.problems(inner(rule), item, &format!("{place}/{at}"), problems);
                    }
                    true
                }
                "$ref" | "$defs" | "$schema" | "title" | "description" | "x-version" => true,
                other => panic!("{}: the keyword {other} is not checked here", node.file),
            };
            if !holds {
                problems.push(format!("{place}: {keyword} {rule}"));
            }
        }
    }

    /// Values with every member there can be; together they take every branch and every word of an enumeration.
    pub(crate) fn full(&self, node: Node<'_>) -> Vec<Value> {
        if let Some(target) = self.follow(node) {
            return self.full(target);
        }
        let inner = |schema| Node { schema, ..node };
        let schema = node.schema;
        if let Some(value) = schema.get("const") {
            return vec![value.clone()];
        }
        if let Some(values) = schema.get("enum") {
            return values.as_array().unwrap().clone();
        }
        if let Some(branches) = schema.get("oneOf") {
            let branches = branches.as_array().unwrap().iter().filter(|branch| branch["type"] != "null");
            return branches.flat_map(|branch| self.full(inner(branch))).collect();
        }
        match words(&schema["type"]).next().unwrap() {
            "object" => match (schema.get("properties"), &schema["additionalProperties"]) {
                (None, member @ Value::Object(_)) => {
                    self.full(inner(member)).into_iter().map(|member| json!({ "any": member })).collect()
                }
                (None, _) => vec![json!({ "any": "member" })],
                (Some(members), _) => {
                    let members = members.as_object().unwrap().iter();
                    zip(members.map(|(name, schema)| (name.clone(), self.full(inner(schema)))).collect())
                }
            },
            "array" => {
                let count = schema.get("minItems").map_or(1, |count| count.as_u64().unwrap());
                let items = self.full(inner(&schema["items"]));
                items.into_iter().map(|item| (0..count).map(|_| item.clone()).collect()).collect()
            }
            "boolean" => vec![json!(true)],
            "integer" | "number" => vec![json!(1)],
            _ => vec![json!(text_like(schema.get("pattern").and_then(Value::as_str)))],
        }
    }

    /// The value with the fewest members.
    pub(crate) fn least(&self, node: Node<'_>) -> Value {
        if let Some(target) = self.follow(node) {
            return self.least(target);
        }
        let inner = |schema| Node { schema, ..node };
        let schema = node.schema;
        if let Some(branches) = schema.get("oneOf") {
            let branches = branches.as_array().unwrap();
            let null = branches.iter().any(|branch| branch["type"] == "null");
            return if null { Value::Null } else { self.least(inner(&branches[0])) };
        }
        if schema.get("type").is_some_and(|kind| words(kind).any(|word| word == "null")) {
            return Value::Null;
        }
        match (schema["type"].as_str(), schema.get("properties")) {
            (Some("object"), Some(members)) => {
                let required = words(&schema["required"]);
                required.map(|name| (name.to_owned(), self.least(inner(&members[name])))).collect()
            }
            (Some("object"), None) => json!({}),
            (Some("array"), _) => json!([]),
            (Some("boolean"), _) => json!(false),
            _ => self.full(node).remove(0),
        }
    }
}

fn words(rule: &Value) -> impl Iterator<Item = &str> {
    let list = rule.as_array().map_or_else(|| std::slice::from_ref(rule), Vec::as_slice);
    list.iter().map(|word| word.as_str().unwrap())
}

fn is(value: &Value, word: &str) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type is called {other}"),
    }
}

/// As many objects as the longest list of values, each list beginning again when it ends.
fn zip(members: Vec<(String, Vec<Value>)>) -> Vec<Value> {
    let most = members.iter().map(|(_, values)| values.len()).max().unwrap_or(1);
    let one = |at: usize| {
        let pick = |(name, values): &(String, Vec<Value>)| (name.clone(), values[at % values.len()].clone());
        Value::Object(members.iter().map(pick).collect::<Map<_, _>>())
    };
    (0..most).map(one).collect()
}

fn text_like(pattern: Option<&str>) -> String {
    let key = "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg".to_owned();
    let (hash, time) = ("ab".repeat(32), "2026-01-02T03:04:05.000006Z".to_owned());
    let known = [key, hash, time, "→007".to_owned(), "word".to_owned()];
    let fits = |text: &String| pattern.is_none_or(|pattern| Regex::new(pattern).unwrap().is_match(text));
    known.into_iter().rev().find(fits).unwrap_or_else(|| panic!("no text fits {pattern:?}"))
}
