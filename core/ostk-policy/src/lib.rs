//! Governance documents in, verdicts out.
//!
//! A [`Request`] says who wants to do what; [`Documents`] say what the workspace's owners wrote; a [`Policy`] is the
//! documents compiled; [`Policy::decide`] answers with a [`Verdict`]. It is a pure function, so every verdict can be
//! computed again from its recorded inputs. [`Gate`] holds the active policy for the kernel.
//!
//! Reading the documents from disk, asking a person, and enforcing a verdict on a process are done elsewhere.

mod address;
mod bounds;
mod cedar;
mod consent;
mod defaults;
mod documents;
mod entityfile;
mod facts;
mod gate;
mod grant;
mod host;
mod humanfile;
mod index;
mod learn;
mod lint;
mod listing;
mod pack;
mod path;
mod pin;
mod pin_parse;
mod policy;
mod primefile;
mod request;
mod shell;
mod suggest;
mod verdict;
mod words;
mod yaml;

pub use address::is_public;
pub use bounds::Bounds;
pub use consent::{DestructiveOps, Mode};
pub use defaults::{DEFAULT_DOCUMENT, DEFAULT_POLICY};
pub use documents::{
    CUSTOM_DOCUMENT, Documents, Lint, LoadError, LoadErrors, MAX_LINES, MAX_PINS, MAX_TEXT_BYTES,
    pin_document,
};
pub use entityfile::{ENTITYFILE_DOCUMENT, Entityfile};
pub use gate::Gate;
pub use grant::{GrantError, ToolGrant};
pub use host::{HostError, HostPattern};
pub use humanfile::{GLOBAL_HUMANFILE_DOCUMENT, HUMANFILE_DOCUMENT, Humanfile, HumanfileKey};
pub use learn::{Seen, propose};
pub use lint::{Findings, lint};
pub use listing::ListedRule;
pub use pack::MAX_PACKS;
pub use path::{MAX_PATTERN_BYTES, PathPattern, PatternError};
pub use pin::{DenyToken, Execute, Pin, scaffold};
pub use policy::{Policy, SEMANTICS_VERSION};
pub use primefile::{PRIMEFILE_DOCUMENT, Primefile};
pub use request::{Actor, ActorKind, Argument, Class, MAX_ARGUMENT_BYTES, MAX_ARGUMENTS, Request, Resource};
pub use shell::{Danger, Finding, MAX_COMMAND_BYTES, Simple, Survey, Word, survey};
pub use verdict::{Effect, RuleRef, Verdict};
