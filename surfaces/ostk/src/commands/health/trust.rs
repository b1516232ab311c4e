//! Checks of trust: the tier of whoever signed HUMANFILE, and which documents are signed by whom.

use std::{collections::BTreeSet, path::Path};

use ostk_daemon::{Signature, SignedDocument};
use ostk_keys::openpgp::{Standing, Tier};
use ostk_sandbox::Guarantee;
use serde_json::{Value, json};

use super::{super::sign, check::Check, past::keys_of_log};

/// The reference's way to raise a tier; here it changes nothing.
const IGNORED_VARIABLE: &str = "OSTK_TRUST_TIER";

/// The checks, and the tier for the screen.
pub(crate) fn trust(state_dir: &Path) -> (Vec<Check>, Option<String>) {
    let trust = match sign::look(state_dir) {
        Ok(trust) => trust,
        Err(failure) => {
            let remedy = failure.remedy().unwrap_or("ostk sign --verify").to_owned();
            return (vec![Check::fail("trust", failure.message(), remedy)], None);
        }
    };
    let standing = &trust.standing;
    let detail = format!("{}: {}", standing.tier, standing.reason);
    let mut checks = vec![match standing.tier {
        Tier::T3 => Check::warn("tier", detail, raise(Tier::T3).unwrap_or_default()),
        _ => Check::pass("tier", detail),
    }];
    if std::env::var_os(IGNORED_VARIABLE).is_some() {
        let detail = format!("{IGNORED_VARIABLE} is set and changes nothing: only signatures make a tier");
        checks.push(Check::warn("tier", detail, format!("unset {IGNORED_VARIABLE}")));
    }
    let signatures = match trust.problem() {
        Some(problem) => {
            let (what, hint) = problem.split_once("\nHint: ").unwrap_or((&problem, "ostk sign --verify"));
            Check::fail("signatures", what, hint)
        }
        None => Check::pass("signatures", listed(&trust.documents)),
    };
    checks.push(signatures.guarantees("a signed document that was changed stops the start"));
    let unaccepted: Vec<String> = trust.unaccepted().map(|name| format!(".ostk/{name}")).collect();
    let accepted = match unaccepted.as_slice() {
        [] => Check::pass("accepted", "what could widen the bounds of agents is accepted on this machine"),
        some => Check::warn(
            "accepted",
            format!("not accepted on this machine, so it only narrows: {}", some.join(", ")),
            format!("read it, then: ostk sign {}", some.join(" ")),
        ),
    };
    checks.push(accepted);
    (checks, Some(standing.tier.to_string()))
}

/// The guarantees of the sandbox that the operator goes without. Settings that cannot be read accept none.
pub(crate) fn accepted(state_dir: &Path) -> BTreeSet<Guarantee> {
    ostk_daemon::accepted_missing(state_dir, &keys_of_log(state_dir)).unwrap_or_default()
}

/// The tier, why it is that one, and how to get the next.
pub(crate) fn to_json(state_dir: &Path) -> Value {
    match sign::look(state_dir) {
        Err(failure) => json!({ "tier": null, "reason": failure.message(), "raise": failure.remedy() }),
        Ok(trust) => {
            let Standing { tier, reason, .. } = &trust.standing;
            json!({ "tier": tier.to_string(), "reason": reason, "raise": raise(*tier) })
        }
    }
}

/// What lifts the tier.
const fn raise(tier: Tier) -> Option<&'static str> {
    match tier {
        Tier::T0 | Tier::T1 => None,
        Tier::T2 => Some("curl -o ~/.ostk/keys/github-NAME.json https://api.github.com/users/NAME/gpg_keys"),
        Tier::T3 => Some("ostk sign --gpg .ostk/HUMANFILE (gpg --full-generate-key makes a key)"),
    }
}

fn listed(documents: &[SignedDocument]) -> String {
    let signed = documents.iter().filter(|document| document.signature != Signature::None);
    let mut lines: Vec<String> =
        signed.map(|document| format!("{}: {}", document.path, sign::words(&document.signature))).collect();
    match documents.len() - lines.len() {
        0 if lines.is_empty() => lines.push("there are no documents".to_owned()),
        0 => {}
        unsigned => lines.push(format!("not signed: {unsigned} of {} documents", documents.len())),
    }
    lines.join("\n")
}
