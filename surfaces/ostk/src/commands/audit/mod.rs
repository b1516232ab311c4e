//! `ostk audit`: reads and checks the log. Needs no daemon, takes no lock, changes nothing.

mod consents;
mod filter;
mod prove;
mod query;
mod replay;
mod verify;
mod witness;

pub(crate) use filter::Filter;
pub(crate) use witness::install as install_witness;

use super::Done;
use crate::{args::AuditAction, output::Output};

pub(crate) fn audit(action: &AuditAction, output: &Output) -> Done {
    match action {
        AuditAction::Verify { deep, git } => verify::verify(*deep, *git, output),
        AuditAction::Prove { seq } => prove::prove(*seq, output),
        AuditAction::Query(query) => query::query(query, output),
        AuditAction::Tail { follow, from } => query::tail(*follow, *from, output),
        AuditAction::Trailer { into } => witness::trailer(into.as_deref(), output),
        AuditAction::Export => query::export(output),
        AuditAction::ReplayVerdicts => replay::replay_verdicts(output),
    }
}
