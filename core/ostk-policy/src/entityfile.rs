//! The ENTITYFILE: the trust constitution of one project or team. A header line, `---`, then YAML.
//!
//! ```text
//! ENTITYFILE v1 chain=root-to-ci
//! ---
//! entity:
//!   name: demo
//!   keys:
//!     ci: {fingerprint: 89ABCDEF0123456789ABCDEF0123456789ABCDEF, certified_by: root}
//! ```
//!
//! Read and checked here; its signature is checked by whoever boots.

use crate::{
    documents::{LoadError, LoadErrors},
    primefile::is_fingerprint,
    yaml::{Node, Yaml},
};

/// Document name.
pub const ENTITYFILE_DOCUMENT: &str = "ENTITYFILE";

/// The only version of the header.
const VERSION: &str = "v1";

const ENTITY: [&str; 24] = [
    "name",
    "version",
    "created",
    "updated",
    "domain",
    "purpose",
    "shipped_by",
    "key",
    "keys",
    "boot_signature",
    "laws",
    "harness",
    "tool_pattern",
    "dialect",
    "fleet",
    "signing_key",
    "signing_algo",
    "trust",
    "governance",
    "lineage",
    "distribution",
    "trust_chain",
    "status",
    "description",
];
const ROLES: [&str; 4] = ["root", "signing", "ci", "recovery"];
const KEY: [&str; 6] = ["fingerprint", "algorithm", "certified_by", "expires", "purpose", "status"];
/// Members that are maps, with what they hold; `lineage` and `distribution` hold what they like.
const MAPS: [(&str, &[&str]); 5] = [
    ("key", &KEY),
    ("keys", &ROLES),
    ("fleet", &["alive", "agents"]),
    ("trust", &["model", "tiers", "escalation", "enforcement"]),
    ("governance", &["model", "human_authority", "mutation_requires", "revocation"]),
];
const LISTS: [&str; 3] = ["laws", "dialect", "trust_chain"];

/// A parsed ENTITYFILE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entityfile {
    chain: Option<String>,
    entity: Node,
}

impl Entityfile {
    /// Reads a text.
    ///
    /// # Errors
    /// Every problem found, with line, column and suggestion.
    pub fn parse(text: &str) -> Result<Self, LoadErrors> {
        let header = Yaml { document: ENTITYFILE_DOCUMENT, skipped: 0 };
        let mut lines = text.lines();
        let chain = read_header(&header, lines.next().unwrap_or_default())?;
        if lines.next().map(str::trim_end) != Some("---") {
            return Err(header.error((2, 1), "the second line is `---`").into());
        }
        let body = text.splitn(3, '\n').nth(2).unwrap_or_default();
        let yaml = Yaml { skipped: 2, ..header };
        let node = yaml.read(body)?;
        let Some(entity) =
            node.as_ref().and_then(|node| node.get("entity")).filter(|entity| entity.map().is_some())
        else {
            return Err(yaml.error((3, 1), "there is no `entity:` with members below it").into());
        };
        let mut errors = Vec::new();
        let others = node.as_ref().and_then(Node::map).unwrap_or_default();
        errors.extend(
            others
                .iter()
                .filter(|(key, _)| key.text != "entity")
                .map(|(key, _)| yaml.unknown((key.line, key.column), "key", &key.text, &["entity"])),
        );
        check(&yaml, entity, &mut errors);
        LoadErrors::from_list(errors).map_or_else(|| Ok(Self { chain, entity: entity.clone() }), Err)
    }

    /// The statement of the header, `root-to-ci`.
    pub fn chain(&self) -> Option<&str> {
        self.chain.as_deref()
    }

    /// The entity's name.
    pub fn name(&self) -> &str {
        self.text(&["name"]).unwrap_or_default()
    }

    /// A scalar below `entity:`, for example `["keys", "ci", "fingerprint"]`.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(&self.entity, |node, key| node.get(key))?.text()
    }

    /// The scalars of a list below `entity:`, for example `["governance", "mutation_requires"]`.
    pub fn list(&self, path: &[&str]) -> impl Iterator<Item = &str> {
        let node = path.iter().try_fold(&self.entity, |node, key| node.get(key));
        node.and_then(Node::list).unwrap_or_default().iter().filter_map(Node::text)
    }
}

fn read_header(yaml: &Yaml<'_>, line: &str) -> Result<Option<String>, LoadErrors> {
    let hint = Some("ENTITYFILE v1 chain=root-to-ci".to_owned());
    let mut words = line.split_whitespace();
    if (words.next(), words.next()) != (Some("ENTITYFILE"), Some(VERSION)) {
        let error =
            yaml.error((1, 1), format!("the first line is `ENTITYFILE {VERSION}`, with `chain=…` after it"));
        return Err(LoadError { hint, ..error }.into());
    }
    match (words.next(), words.next()) {
        (None, _) => Ok(None),
        (Some(word), None) if word.starts_with("chain=") => {
            Ok(word.strip_prefix("chain=").map(str::to_owned))
        }
        _ => {
            Err(LoadError { hint, ..yaml.error((1, 1), "after the version stands `chain=…` or nothing") }
                .into())
        }
    }
}

fn check(yaml: &Yaml<'_>, entity: &Node, errors: &mut Vec<LoadError>) {
    if entity.get("name").and_then(Node::text).is_none_or(str::is_empty) {
        errors.push(yaml.error(entity.at(), "`name` is missing"));
    }
    for (key, value) in entity.map().unwrap_or_default() {
        if !ENTITY.contains(&key.text.as_str()) {
            errors.push(yaml.unknown((key.line, key.column), "key", &key.text, &ENTITY));
        } else if LISTS.contains(&key.text.as_str()) && value.list().is_none() {
            errors.push(yaml.error(value.at(), format!("`{}` is a list", key.text)));
        }
        if let Some((_, known)) = MAPS.iter().find(|(name, _)| *name == key.text) {
            members(yaml, value, known, errors);
        }
    }
    let keys = entity.get("keys").and_then(Node::map).unwrap_or_default();
    for (_, key) in keys {
        members(yaml, key, &KEY, errors);
    }
    let all = keys.iter().map(|(_, key)| key).chain(entity.get("key"));
    for print in all.filter_map(|key| key.get("fingerprint")) {
        if !print.text().is_some_and(is_fingerprint) {
            errors.push(yaml.error(print.at(), "a fingerprint is 40 or 64 hexadecimal digits"));
        }
    }
}

/// Checks the keys of a map. A string in the place of a map, such as `trust: web`, is accepted.
fn members(yaml: &Yaml<'_>, node: &Node, known: &[&str], errors: &mut Vec<LoadError>) {
    let pairs = node.map().unwrap_or_default();
    let unknown = pairs.iter().filter(|(key, _)| !known.contains(&key.text.as_str()));
    errors.extend(unknown.map(|(key, _)| yaml.unknown((key.line, key.column), "key", &key.text, known)));
}
