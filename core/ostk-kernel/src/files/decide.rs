//! What a write comes to: pure decisions over the versions of one file.
//!
//! Given what the caller wants, what it believes, and what is there, a function here returns the bytes to place or the
//! reason why nothing may be placed. No function here touches the kernel's state.

use std::{collections::BTreeMap, sync::Arc};

use ostk_log::Hash;
use ostk_merge::Outcome as Merge;
use serde_json::json;

use crate::{
    act::{BlobBytes, Seen},
    call::{CallError, Code},
    event::{Change, FileImage},
};

/// Longest text of one version inside a conflict's reply; longer versions are named by their digest.
const MAX_CONFLICT_TEXT: usize = 64 * 1024;

/// A file with its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) bytes: BlobBytes,
    pub(crate) hash: Hash,
    pub(crate) executable: bool,
}

impl Content {
    pub(crate) fn new(bytes: Vec<u8>, executable: bool) -> Self {
        let hash = Hash::of(&bytes);
        Self { bytes: bytes.into(), hash, executable }
    }

    pub(crate) const fn image(&self) -> FileImage {
        FileImage { blob: self.hash, executable: self.executable }
    }
}

/// One file's change, ready to be recorded and placed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) path: String,
    pub(crate) before: Option<Content>,
    pub(crate) after: Option<Content>,
    /// What the caller believes afterwards, if not `after`.
    pub(crate) belief: Option<Content>,
    pub(crate) merged: bool,
    /// The caller has not seen the file: its belief does not follow.
    pub(crate) blind: bool,
}

impl Plan {
    /// A plain change.
    pub(crate) fn new(path: &str, before: Option<Content>, after: Option<Content>) -> Self {
        Self { path: path.to_owned(), before, after, belief: None, merged: false, blind: false }
    }

    pub(crate) fn change(&self) -> Change {
        Change {
            path: self.path.clone(),
            before: self.before.as_ref().map(Content::image),
            after: self.after.as_ref().map(Content::image),
            belief_blob: self.belief.as_ref().map(|belief| belief.hash),
            merged: self.merged,
            blind: self.blind,
        }
    }

    /// Every blob that the change names.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (Hash, BlobBytes)> + '_ {
        let contents = [&self.before, &self.after, &self.belief];
        contents.into_iter().flatten().map(|content| (content.hash, Arc::clone(&content.bytes)))
    }
}

/// A concurrent change that the caller must decide about.
#[derive(Clone, Debug)]
pub(crate) struct Clash {
    pub(crate) path: String,
    pub(crate) base: Content,
    pub(crate) current: Content,
    pub(crate) proposed: Content,
    pub(crate) candidate: Option<Content>,
    pub(crate) why: String,
}

/// Why nothing is placed.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    Error(Box<CallError>),
    Clash(Box<Clash>),
    /// What the caller wants is there already.
    Nothing,
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Self {
        Self::Error(Box::new(error))
    }
}

/// The file as seen, if it is a file or nothing.
pub(crate) fn content_of(path: &str, seen: &Seen) -> Result<Option<Content>, CallError> {
    match seen {
        Seen::Absent => Ok(None),
        Seen::File { hash, bytes, executable } => {
            Ok(Some(Content { bytes: Arc::clone(bytes), hash: *hash, executable: *executable }))
        }
        Seen::Directory => Err(CallError::new(Code::NotFound, format!("{path} is a directory"))
            .hint("name a file inside it, or list it: dir.list")),
        Seen::Withheld { secrets } => {
            Err(CallError::new(Code::Denied, format!("{path} holds the secret {}", secrets.join(", "))))
        }
        Seen::Unreadable(why) => Err(CallError::new(Code::Failed, format!("{path}: {why}"))),
    }
}

/// What a caller believes of a file.
pub(crate) struct Belief<'a> {
    pub(crate) blob: Option<Hash>,
    /// No line of it is unseen.
    pub(crate) whole: bool,
    pub(crate) blobs: &'a BTreeMap<Hash, BlobBytes>,
}

impl Belief<'_> {
    pub(crate) fn content(&self, current: &Content) -> Option<Content> {
        let hash = self.blob?;
        if hash == current.hash {
            return Some(current.clone());
        }
        let bytes = Arc::clone(self.blobs.get(&hash)?);
        Some(Content { bytes, hash, executable: current.executable })
    }
}

/// A targeted edit: applied to the current version if `old` stands there once, whatever changed elsewhere; otherwise
/// applied to what the caller believes and merged.
pub(crate) fn edit(
    path: &str,
    seen: &Seen,
    belief: &Belief<'_>,
    (old, new, all): (&str, &str, bool),
) -> Result<Plan, Refusal> {
    let current = content_of(path, seen)?.ok_or_else(|| absent(path))?;
    let known = belief.content(&current);
    let blind = known.is_none();
    let believed = known.filter(|believed| believed.hash != current.hash);
    match ostk_merge::edit(&current.bytes, old.as_bytes(), new.as_bytes(), all) {
        Ok(edited) => {
            let after = Content::new(edited.bytes, current.executable);
            // The caller has not seen the other writer's change: its belief moves by its own edit only.
            let own = believed.map(|believed| {
                match ostk_merge::edit(&believed.bytes, old.as_bytes(), new.as_bytes(), all) {
                    Ok(own) => Content::new(own.bytes, believed.executable),
                    Err(_) => believed,
                }
            });
            let merged = own.is_some();
            Ok(Plan { belief: own, merged, blind, ..Plan::new(path, Some(current), Some(after)) })
        }
        Err(error) => {
            let own = believed.and_then(|believed| {
                let own = ostk_merge::edit(&believed.bytes, old.as_bytes(), new.as_bytes(), all).ok()?;
                Some((believed, own))
            });
            let Some((base, own)) = own else { return Err(edit_error(path, &error).into()) };
            let executable = current.executable;
            merge(path, base, current, Content::new(own.bytes, executable))
        }
    }
}

/// A whole-file write from the version `belief` names.
pub(crate) fn write(
    path: &str,
    seen: &Seen,
    belief: &Belief<'_>,
    content: &str,
    executable: Option<bool>,
) -> Result<Plan, Refusal> {
    let Some(current) = content_of(path, seen)? else {
        if belief.blob.is_some() {
            return Err(CallError::new(Code::Conflict, format!("{path} was deleted since you read it"))
                .hint("read it again to be sure, then write; or pass base_blob \"absent\"")
                .into());
        }
        let after = Content::new(content.as_bytes().to_vec(), executable.unwrap_or(false));
        return Ok(Plan::new(path, None, Some(after)));
    };
    let proposed = Content::new(content.as_bytes().to_vec(), executable.unwrap_or(current.executable));
    if proposed.image() == current.image() {
        return Err(Refusal::Nothing);
    }
    if belief.blob.is_none() || !belief.whole {
        let (seen, remedy) = match belief.blob {
            Some(_) => ("read only some lines of it", "read the whole of"),
            None => ("not read it", "read"),
        };
        return Err(CallError::new(Code::Unread, format!("{path} exists and you have {seen}"))
            .hint(format!("{remedy} {path} first, or make a targeted edit"))
            .into());
    }
    if belief.blob == Some(current.hash) || ostk_log::planted!("stale generation") {
        return Ok(Plan::new(path, Some(current), Some(proposed)));
    }
    match belief.content(&current) {
        Some(base) => merge(path, base, current, proposed),
        None => Err(CallError::new(
            Code::Conflict,
            format!("the version that you started {path} from is not stored"),
        )
        .hint(format!("read {path} again"))
        .into()),
    }
}

/// Deletes a file, unless the caller believes it to be something else than it is.
pub(crate) fn delete(path: &str, seen: &Seen, believed: Option<Hash>) -> Result<Plan, Refusal> {
    let current = content_of(path, seen)?.ok_or_else(|| absent(path))?;
    if believed.is_some_and(|blob| blob != current.hash) {
        return Err(CallError::new(Code::Conflict, format!("{path} changed since you read it"))
            .hint(format!("read the whole of {path} again before you delete it"))
            .into());
    }
    Ok(Plan::new(path, Some(current), None))
}

/// Merges `proposed`, made from `base`, into `current`.
pub(crate) fn merge(path: &str, base: Content, current: Content, proposed: Content) -> Result<Plan, Refusal> {
    let clash = |base, current, proposed, candidate, why| {
        Refusal::Clash(Box::new(Clash { path: path.to_owned(), base, current, proposed, candidate, why }))
    };
    match ostk_merge::merge(&base.bytes, &current.bytes, &proposed.bytes) {
        Merge::Unchanged if proposed.executable == current.executable => Err(Refusal::Nothing),
        Merge::Unchanged => {
            let after = Content { executable: proposed.executable, ..current.clone() };
            let plan = Plan::new(path, Some(current), Some(after));
            Ok(Plan { belief: Some(proposed), merged: true, ..plan })
        }
        Merge::Clean { bytes, .. } => {
            let after = Content::new(bytes, proposed.executable);
            let belief = Some(proposed).filter(|proposed| proposed.hash != after.hash);
            Ok(Plan { belief, merged: true, ..Plan::new(path, Some(current), Some(after)) })
        }
        Merge::Assisted { candidate, .. } => {
            let candidate = Content::new(candidate, proposed.executable);
            let why = "changed close to your change since you read it".to_owned();
            Err(clash(base, current, proposed, Some(candidate), why))
        }
        Merge::Manual { reason } => {
            let why = format!("changed since you read it and cannot be merged: {reason}");
            Err(clash(base, current, proposed, None, why))
        }
    }
}

/// Takes one change back from what is there now.
pub(crate) fn revert(
    path: &str,
    current: Option<Content>,
    before: Option<Content>,
    after: Option<Content>,
) -> Result<Option<Content>, CallError> {
    let changed = || {
        CallError::new(Code::Conflict, format!("{path} changed too close to the write that you take back"))
            .hint(format!("see `ostk log {path}` and edit it by hand"))
    };
    match (before, after, current) {
        (before, Some(after), Some(current)) if current.hash == after.hash => Ok(before),
        (before, None, None) => Ok(before),
        // It had been created, and is gone already.
        (None, Some(_), None) => Ok(None),
        (Some(before), Some(after), Some(current)) => {
            match ostk_merge::merge(&after.bytes, &current.bytes, &before.bytes) {
                Merge::Unchanged => Ok(Some(current)),
                Merge::Clean { bytes, .. } => Ok(Some(Content::new(bytes, current.executable))),
                Merge::Assisted { .. } | Merge::Manual { .. } => Err(changed()),
            }
        }
        _ => Err(changed()),
    }
}

/// Whether a conflict's reply shows all of these versions.
pub(crate) fn is_shown(contents: [&Content; 2]) -> bool {
    contents.iter().all(|content| shown(content).is_some())
}

/// A version as a conflict's reply shows it.
fn shown(content: &Content) -> Option<&str> {
    std::str::from_utf8(&content.bytes).ok().filter(|text| text.len() <= MAX_CONFLICT_TEXT)
}

fn absent(path: &str) -> CallError {
    CallError::new(Code::NotFound, format!("{path} does not exist")).hint("list its directory: dir.list")
}

fn edit_error(path: &str, error: &ostk_merge::EditError) -> CallError {
    CallError::new(Code::NotFound, format!("{path}: {error}"))
        .hint(format!("read {path} again; nothing was changed"))
}

impl Clash {
    /// The error that hands the decision to the caller.
    pub(crate) fn to_error(&self, token: Option<&str>) -> CallError {
        let data = json!({
            "path": self.path, "token": token,
            "base_blob": self.base.hash, "current_blob": self.current.hash, "proposed_blob": self.proposed.hash,
            "candidate_blob": self.candidate.as_ref().map(|candidate| candidate.hash),
            "theirs": shown(&self.current), "candidate": self.candidate.as_ref().and_then(shown),
        });
        let hint = match token {
            Some(token) => format!(
                "accept the merge of both with file.accept {{\"token\": \"{token}\"}}, or read {} again",
                self.path
            ),
            None => format!("read {} again and repeat your change on what is there", self.path),
        };
        CallError::new(Code::Conflict, format!("{} {}; nothing was written", self.path, self.why))
            .hint(hint)
            .data(data)
    }
}
