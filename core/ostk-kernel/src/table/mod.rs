//! The system call table: every capability of the system, as data.
//!
//! The command line, the MCP schemas and `ostk abi` derive from it; the kernel checks arguments against it before it
//! looks at a call. A capability added here is reachable from every surface. What a row says and how it is checked is here;
//! the rows are in `rows`.

mod rows;

use ostk_log::Hash;
use ostk_policy::Class;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use rows::TABLE;

use crate::call::{CallError, Code};

use ArgKind::{Flag, Number, Objects, Path, Text, Texts};

/// What a call does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It changes nothing; its receipt is not waited for.
    Read,
    /// It changes something; its intent is durable before it starts.
    Write,
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArgKind {
    /// Text.
    Text,
    /// A path, relative to the caller's directory or absolute inside the workspace.
    Path,
    /// A whole number, 0 or more.
    Number,
    /// True or false.
    Flag,
    /// A list of objects.
    Objects,
    /// A list of texts.
    Texts,
}

/// One argument.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ArgKind,
    /// Whether a call without it is an error.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// One system call.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Syscall {
    /// Dotted name.
    pub name: &'static str,
    /// Capability class, the gate's coarse input.
    #[serde(serialize_with = "class_name")]
    pub class: Class,
    /// What it does to the world.
    pub effect: Effect,
    /// What it is for, one line.
    pub doc: &'static str,
    /// Its arguments.
    pub args: &'static [Arg],
    /// The members of its result and what they mean.
    pub result: &'static [(&'static str, &'static str)],
}

fn class_name<S: serde::Serializer>(class: &Class, serializer: S) -> Result<S::Ok, S::Error> {
    class.serialize(serializer)
}

/// Calls that only the daemon itself makes, for the processes that it contains.
const INTERNAL: [&str; 7] = [
    "model.relay",
    "model.relayed",
    "net.closed",
    "net.connect",
    "net.resolve",
    "quarantine.took",
    "secret.refused",
];

/// The call of that name.
pub fn lookup(name: &str) -> Option<&'static Syscall> {
    TABLE.binary_search_by(|syscall| syscall.name.cmp(name)).ok().and_then(|at| TABLE.get(at))
}

/// The whole table as JSON, the form in which `ostk abi` shows and compares it.
pub fn abi() -> Value {
    json!({ "version": 1, "calls": TABLE })
}

/// SHA-256 of the compact form of [`abi`].
pub fn abi_hash() -> Hash {
    Hash::of(abi().to_string().as_bytes())
}

impl Syscall {
    /// Whether only the daemon itself makes this call: no client may.
    pub fn is_internal(&self) -> bool {
        INTERNAL.contains(&self.name)
    }

    /// JSON Schema (2020-12) of the arguments.
    pub fn schema(&self) -> Value {
        let properties: Map<String, Value> =
            self.args.iter().map(|arg| (arg.name.to_owned(), arg.schema())).collect();
        let required: Vec<&str> = self.args.iter().filter(|arg| arg.required).map(|arg| arg.name).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// Checks arguments against the types.
    ///
    /// # Errors
    /// [`Code::Usage`] naming the first argument that is missing, unknown or of another type.
    pub fn check(&self, args: &Value) -> Result<(), CallError> {
        let usage = |what: String| {
            Err(CallError::new(Code::Usage, format!("{}: {what}", self.name))
                .hint(format!("ostk abi show {}", self.name)))
        };
        let Some(given) = args.as_object() else {
            return usage("the arguments must be an object".to_owned());
        };
        for (name, value) in given {
            match self.args.iter().find(|arg| arg.name == name) {
                None => return usage(format!("unknown argument `{name}`")),
                Some(arg) if !arg.kind.fits(value) => {
                    return usage(format!("`{name}` must be {}", arg.kind.describe()));
                }
                Some(_) => {}
            }
        }
        match self.args.iter().find(|arg| arg.required && !given.contains_key(arg.name)) {
            Some(arg) => usage(format!("`{}` is missing: {}", arg.name, arg.doc)),
            None => Ok(()),
        }
    }
}

impl Arg {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            Text | Path => json!({ "type": "string" }),
            Number => json!({ "type": "integer", "minimum": 0 }),
            Flag => json!({ "type": "boolean" }),
            Objects => json!({ "type": "array", "items": { "type": "object" } }),
            Texts => json!({ "type": "array", "items": { "type": "string" } }),
        };
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), Value::String(self.doc.to_owned()));
        }
        schema
    }
}

impl ArgKind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text | Path => value.is_string(),
            Number => value.is_u64(),
            Flag => value.is_boolean(),
            Objects => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
            Texts => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Text => "a text",
            Path => "a path",
            Number => "a whole number of 0 or more",
            Flag => "true or false",
            Objects => "a list of objects",
            Texts => "a list of texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_lookup_finds_every_call() {
        for syscall in TABLE {
            assert_eq!(lookup(syscall.name).map(|found| found.name), Some(syscall.name));
        }
        assert!(lookup("file.nonsense").is_none());
    }

    #[test]
    fn arguments_are_checked_before_anything_else() {
        let read = lookup("file.read").unwrap();
        assert!(read.check(&json!({ "path": "a" })).is_ok());
        for (args, word) in [
            (json!({}), "`path` is missing"),
            (json!({ "path": 3 }), "must be a path"),
            (json!({ "path": "a", "nope": 1 }), "unknown argument `nope`"),
            (json!({ "path": "a", "limit": -1 }), "whole number"),
            (json!([]), "must be an object"),
        ] {
            let error = read.check(&args).unwrap_err();
            assert!(error.message.contains(word), "{error:?}");
        }
    }
}
