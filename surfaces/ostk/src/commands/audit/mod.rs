//! `ostk audit`: reads and checks the log. Needs no daemon, takes no lock, changes nothing.

mod filter;
mod prove;
mod query;
mod replay;
mod verify;

pub(crate) use filter::Filter;

use super::Done;
use crate::{args::AuditAction, output::Output};

pub(crate) fn audit(action: &AuditAction, output: &Output) -> Done {
    match action {
        AuditAction::Verify { deep } => verify::verify(*deep, output),
        AuditAction::Prove { seq } => prove::prove(*seq, output),
        AuditAction::Query(query) => query::query(query, output),
        AuditAction::Tail { follow, from } => query::tail(*follow, *from, output),
        AuditAction::Export => query::export(output),
        AuditAction::ReplayVerdicts => replay::replay_verdicts(output),
    }
}
