//! What a request means to the rules: its path in the forms they compare, and what its Agentfile grants.
//!
//! Both the index and Cedar see a request only through these facts, so they agree on what `..` or `TOOL` means and
//! can only disagree on rules. Computed once per decision.

use std::borrow::Cow;

use crate::{
    grant,
    path::{ancestors, components, fold, is_normal},
    request::Request,
};

/// A request with what is derived from it.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a Request,
    /// The path it is about.
    pub(crate) path: Option<&'a str>,
    /// The same in lower case.
    pub(crate) folded: Option<Cow<'a, str>>,
    /// A path that is not normalised, or a write of a file that names none.
    pub(crate) malformed: bool,
    /// The actor is bound by a pin that is not among the documents.
    pub(crate) pin_missing: bool,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(request: &'a Request, pin_missing: bool) -> Self {
        let path = request.path();
        let folded = path.map(|path| {
            let lower = path.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
            if lower { Cow::Borrowed(path) } else { Cow::Owned(fold(path)) }
        });
        let malformed = match path {
            Some(path) => !is_normal(path),
            None => request.class.is_file(),
        };
        Self { request, path, folded, malformed, pin_missing }
    }

    /// The path and the directories above it.
    pub(crate) fn under(&self) -> impl Iterator<Item = &str> {
        self.path.into_iter().flat_map(ancestors)
    }

    /// The same in lower case.
    pub(crate) fn under_folded(&self) -> impl Iterator<Item = &str> {
        self.folded.as_deref().into_iter().flat_map(ancestors)
    }

    /// The components of the path in lower case.
    pub(crate) fn names_folded(&self) -> impl Iterator<Item = &str> {
        self.folded.as_deref().into_iter().flat_map(|path| path.split('/'))
    }

    /// The components of the path in lower case, for a glob.
    pub(crate) fn components_folded(&self) -> Vec<&str> {
        self.folded.as_deref().map(components).unwrap_or_default()
    }

    /// The path's name, or that of a directory above it, is one that secrets go by.
    pub(crate) fn secret(&self) -> bool {
        let secret = |name: &str| {
            name.starts_with(".env")
                || name.ends_with(".pem")
                || (name.starts_with("id_") && !name.contains('.'))
        };
        self.names_folded().any(secret) || self.under_folded().any(|path| path == ".ostk/keys")
    }

    /// An Agentfile bounds the actor and does not grant the class for this resource.
    pub(crate) fn ungranted(&self) -> bool {
        let request = self.request;
        let Some(tools) = &request.actor.tools else { return false };
        grant::needs_grant(request.class) && !grant::grants(tools, request.class, self.path)
    }

    /// The limits of the actor's Agentfile do not reach this path.
    pub(crate) fn beyond_limits(&self) -> bool {
        let tools = self.request.actor.tools.as_deref().unwrap_or_default();
        grant::beyond_limits(tools, self.request.class, self.path)
    }
}
