//! What enters the kernel, without secrets: outcomes of operations, and calls.
//!
//! The kernel records what it is given and passes it on to agents and models, so what holds no secret here holds none in
//! the log, in a pack, in a prompt or in a reply. A text is masked. The bytes of a file are not, since a write that starts
//! from masked bytes would destroy the file: a file that holds a secret is withheld. A call that carries one is refused, for
//! its caller should know. Called by the host, for whatever comes in.

use std::collections::BTreeMap;

use ostk_agent::model::{Block, ModelReply};
use ostk_kernel::{
    BlobBytes, CallError, Code, ModelFailure, Outcome, Placed, Seen, ShellEnd, Syscall, Unresolved,
};
use ostk_keys::secrets::Masker;
use ostk_log::Hash;
use ostk_policy::Documents;
use serde_json::{Value, json};

use crate::{broker::Broker, host::NewCall};

/// Arguments of the daemon's own calls that are whole bodies, encoded: whoever makes the call has masked them.
const BODIES: [&str; 2] = ["body", "reply"];
/// Calls of the daemon's own whose arguments a contained process chose.
const CHOSEN: [&str; 2] = ["net.connect", "net.resolve"];

impl Broker {
    /// An outcome as the kernel may see it.
    pub(crate) fn outcome(&self, outcome: Outcome) -> Outcome {
        let masker = self.masker();
        if masker.reach() == 0 {
            return outcome;
        }
        let text = |text: String| masked(&masker, text);
        let texts = |texts: Vec<String>| texts.into_iter().map(text).collect();
        match outcome {
            Outcome::Resolved(paths) => {
                Outcome::Resolved(paths.into_iter().map(|path| resolved(&masker, path)).collect())
            }
            Outcome::Observed { files, blobs } => self.observed(&masker, files, blobs),
            Outcome::Placed(Placed::Failed { done, reason }) => {
                Outcome::Placed(Placed::Failed { done, reason: text(reason) })
            }
            Outcome::Placed(placed) => Outcome::Placed(placed),
            Outcome::Listed(names) => Outcome::Listed(names.map(texts).map_err(text)),
            Outcome::Shell { end, before, after } => Outcome::Shell {
                end: end.map(|end| shell_end(&masker, end)).map_err(text),
                before: nameable(&masker, before),
                after: nameable(&masker, after),
            },
            Outcome::Scanned(paths) => {
                Outcome::Scanned(paths.map(|paths| nameable(&masker, paths)).map_err(text))
            }
            Outcome::Json(result) => Outcome::Json(
                result.map(|result| value(&masker, result)).map_err(|error| call_error(&masker, error)),
            ),
            Outcome::Described(facts) => Outcome::Described(facts.map_err(text)),
            Outcome::Model(reply) => Outcome::Model(match reply {
                Ok((reply, price)) => Ok((model_reply(&masker, reply), price)),
                Err(failure) => Err(ModelFailure { message: text(failure.message), ..failure }),
            }),
            Outcome::Documents { documents, allowance } => {
                Outcome::Documents { documents: Box::new(self.documents(*documents)), allowance }
            }
        }
    }

    fn observed(
        &self,
        masker: &Masker,
        files: BTreeMap<String, Seen>,
        blobs: BTreeMap<Hash, BlobBytes>,
    ) -> Outcome {
        let seen = |seen: Seen| match seen {
            Seen::File { hash, bytes, executable } => match self.names_in(hash, &bytes) {
                secrets if secrets.is_empty() => Seen::File { hash, bytes, executable },
                secrets => Seen::Withheld { secrets },
            },
            Seen::Unreadable(why) => Seen::Unreadable(masked(masker, why)),
            other => other,
        };
        // A blob from before the secret was known: as a version of a file it is of no use any more, as a text it is masked.
        let are_versions = !files.is_empty();
        let blob = |(hash, bytes): (Hash, BlobBytes)| match self.names_in(hash, &bytes).is_empty() {
            true => Some((hash, bytes)),
            false => (!are_versions).then(|| (hash, masker.mask(&bytes).into())),
        };
        let blobs = blobs.into_iter().filter_map(blob).collect();
        Outcome::Observed { files: files.into_iter().map(|(path, it)| (path, seen(it))).collect(), blobs }
    }

    /// The governing documents; the gate judges by the masked texts, which are those on record.
    pub(crate) fn documents(&self, documents: Documents) -> Documents {
        let masker = self.masker();
        let text = |text: String| masked(&masker, text);
        let all =
            |texts: BTreeMap<String, String>| texts.into_iter().map(|(name, it)| (name, text(it))).collect();
        let Documents { pins, custom, packs, humanfile, global_humanfile, primefile, entityfile, unaccepted } =
            documents;
        Documents {
            pins: all(pins),
            custom: custom.map(text),
            packs: all(packs),
            humanfile: humanfile.map(text),
            global_humanfile: global_humanfile.map(text),
            primefile: primefile.map(text),
            entityfile: entityfile.map(text),
            unaccepted,
        }
    }

    /// A call as it may enter the kernel: one that carries a secret becomes the record of its refusal.
    ///
    /// # Errors
    /// When the caller's own name is a secret, so that nothing can be recorded.
    pub(crate) fn entering(&self, mut call: NewCall) -> Result<NewCall, CallError> {
        let masker = self.masker();
        if masker.reach() == 0 {
            return Ok(call);
        }
        if !masker.names_in(call.caller.lineage().as_bytes()).is_empty() {
            return Err(CallError::new(Code::Denied, "the name of the caller holds a secret")
                .hint("choose another name"));
        }
        let own = ostk_kernel::lookup(&call.verb).is_some_and(Syscall::is_internal);
        if own && !CHOSEN.contains(&call.verb.as_str()) {
            call.args = daemons_own(&masker, call.args);
            return Ok(call);
        }
        let text = json!([call.verb, call.idempotency, call.args]).to_string();
        let names = masker.names_in(text.as_bytes());
        if names.is_empty() {
            return Ok(call);
        }
        let args = json!({ "call": masker.mask_text(&call.verb), "secrets": names });
        Ok(NewCall { verb: "secret.refused".to_owned(), args, idempotency: None, ..call })
    }

    /// Paths that may be named: a change of a file whose name is a secret goes unnoticed.
    pub(crate) fn nameable(&self, paths: Vec<String>) -> Vec<String> {
        nameable(&self.masker(), paths)
    }
}

fn masked(masker: &Masker, text: String) -> String {
    match masker.mask_text(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(masked) => masked,
    }
}

fn nameable(masker: &Masker, mut paths: Vec<String>) -> Vec<String> {
    paths.retain(|path| masker.names_in(path.as_bytes()).is_empty());
    paths
}

fn resolved(masker: &Masker, path: Result<String, Unresolved>) -> Result<String, Unresolved> {
    match path {
        Ok(path) if masker.names_in(path.as_bytes()).is_empty() => Ok(path),
        Ok(_) => Err(Unresolved { outside: false, message: "its name holds a secret".to_owned() }),
        Err(unresolved) => Err(Unresolved { message: masked(masker, unresolved.message), ..unresolved }),
    }
}

fn shell_end(masker: &Masker, end: ShellEnd) -> ShellEnd {
    ShellEnd {
        stdout: masker.mask(&end.stdout).into_owned(),
        stderr: masker.mask(&end.stderr).into_owned(),
        remarks: end.remarks.into_iter().map(|remark| masked(masker, remark)).collect(),
        observed: end.observed.map(|observed| value(masker, observed)),
        ..end
    }
}

fn call_error(masker: &Masker, error: CallError) -> CallError {
    CallError {
        message: masked(masker, error.message),
        hint: error.hint.map(|hint| masked(masker, hint)),
        data: value(masker, error.data),
        ..error
    }
}

fn model_reply(masker: &Masker, reply: ModelReply) -> ModelReply {
    let text = |text: String| masked(masker, text);
    let block = |block: Block| match block {
        Block::Text { text: prose } => Block::Text { text: text(prose) },
        Block::ToolUse { id, name, input } => {
            Block::ToolUse { id: text(id), name: text(name), input: value(masker, input) }
        }
        Block::ToolResult { id, text: said, is_error } => {
            Block::ToolResult { id: text(id), text: text(said), is_error }
        }
        Block::Opaque { wire, model, value: own } => Block::Opaque { wire, model, value: value(masker, own) },
    };
    let (model, message_id) = (text(reply.model), text(reply.message_id));
    ModelReply { model, message_id, content: reply.content.into_iter().map(block).collect(), ..reply }
}

/// The arguments of a call that the daemon itself makes.
fn daemons_own(masker: &Masker, args: Value) -> Value {
    let Value::Object(members) = args else { return value(masker, args) };
    let member = |(name, it): (String, Value)| {
        let it = if BODIES.contains(&name.as_str()) { it } else { value(masker, it) };
        (name, it)
    };
    Value::Object(members.into_iter().map(member).collect())
}

/// A JSON value with every text in it masked, the names of members too.
pub(crate) fn value(masker: &Masker, it: Value) -> Value {
    match it {
        Value::String(text) => Value::String(masked(masker, text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| value(masker, item)).collect()),
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, it)| (masked(masker, name), value(masker, it))).collect(),
        ),
        other => other,
    }
}
