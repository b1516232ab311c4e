//! What a request means to the rules: its path in the forms they compare, and what its Agentfile grants.
//!
//! Both the index and Cedar see a request only through these facts, so they agree on what `..` or `TOOL` means and
//! can only disagree on rules. Computed once per decision.

use std::{borrow::Cow, cell::OnceCell, net::IpAddr};

use crate::{
    address::is_public,
    grant, host,
    host::HostPattern,
    path::{ancestors, components, fold, is_normal},
    request::{Argument, Class, Request, Resource},
    shell::{Survey, survey},
};

/// The argument of a connection that holds the address about to be dialled.
const ADDRESS: &str = "address";

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
    /// The documents and the Agentfile let it reach the host.
    pub(crate) host_granted: bool,
    /// The address behind the host is not one of the public internet, and no grant names it.
    pub(crate) private_address: bool,
    survey: OnceCell<Survey>,
    /// A rule names an argument that is too long to be judged.
    pub(crate) unjudgeable: bool,
}

/// What the documents say besides rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Hosts that agents may reach, by HUMANFILE.
    pub(crate) hosts: &'a [HostPattern],
    /// Hosts to which the pin narrows them; `None` leaves them.
    pub(crate) pin_hosts: Option<&'a [HostPattern]>,
    pub(crate) pin_missing: bool,
    /// The texts of the operator's own rules.
    pub(crate) rules: &'a str,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(request: &'a Request, given: Given<'_>) -> Self {
        let path = request.path();
        let folded = path.map(|path| {
            let lower = path.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
            if lower { Cow::Borrowed(path) } else { Cow::Owned(fold(path)) }
        });
        let malformed = match (path, &request.resource) {
            (Some(path), _) => !is_normal(path),
            (None, Resource::Host(target)) => !host::is_target(target),
            (None, _) => request.class.is_file() || request.class == Class::NetConnect,
        };
        let host_granted = request.host().is_some_and(|target| granted(request, given, target));
        Self {
            request,
            path,
            folded,
            malformed,
            pin_missing: given.pin_missing,
            host_granted,
            private_address: is_private(request),
            survey: OnceCell::new(),
            unjudgeable: is_unjudgeable(request, given.rules),
        }
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

    /// What the command would run, read when a rule first asks; `None` when the request is about no command.
    pub(crate) fn survey(&self) -> Option<&Survey> {
        let command = self.request.command()?;
        Some(self.survey.get_or_init(|| survey(command)))
    }

    /// What is destructive about the command it asks to run.
    pub(crate) fn danger(&self) -> Option<String> {
        self.survey()?.dangers().into_iter().next().map(|finding| finding.why)
    }

    /// An argument lies outside what the Agentfile limits it to, or cannot be judged.
    pub(crate) fn beyond_arguments(&self) -> bool {
        grant::beyond_arguments(self.request.actor.tools.as_deref().unwrap_or_default(), &self.request.args)
    }

    /// The limits of the actor's Agentfile do not reach this path.
    pub(crate) fn beyond_limits(&self) -> bool {
        let tools = self.request.actor.tools.as_deref().unwrap_or_default();
        grant::beyond_limits(tools, self.request.class, self.path)
    }
}

/// A rule that mentions a withheld argument would not see it. Errs towards finding a mention.
fn is_unjudgeable(request: &Request, rules: &str) -> bool {
    let withheld = |(name, argument): (&String, &Argument)| {
        let last = name.rsplit('.').next().unwrap_or(name);
        matches!(argument, Argument::Withheld { .. }) && rules.contains(last)
    };
    request.args.iter().any(withheld)
}

/// The argument `address` of a connection is what its name came to. One that a grant writes out is granted as it is: no
/// pattern of names covers an address.
fn is_private(request: &Request) -> bool {
    if request.host().is_none_or(|target| host::literal(target).is_some()) {
        return false;
    }
    match request.args.get(ADDRESS) {
        None => false,
        Some(Argument::Text(text)) => text.parse::<IpAddr>().map_or(true, |address| !is_public(address)),
        Some(_) => true,
    }
}

/// HUMANFILE lets agents reach the host, and neither the pin nor the Agentfile narrows it away.
fn granted(request: &Request, given: Given<'_>, target: &str) -> bool {
    let covers = |hosts: &[HostPattern]| hosts.iter().any(|pattern| pattern.covers_target(target));
    let tools = request.actor.tools.as_deref().unwrap_or_default();
    covers(given.hosts) && given.pin_hosts.is_none_or(covers) && grant::reaches_host(tools, target)
}
