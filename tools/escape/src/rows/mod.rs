//! The table of escapes.

mod egress;
mod files;
pub(crate) mod git;
mod kernel;
mod ostk;
mod processes;
mod settings;
mod sockets;

use crate::row::Row;

/// Every row.
pub fn all() -> impl Iterator<Item = &'static Row> {
    let tables = [
        files::ROWS,
        git::ROWS,
        settings::ROWS,
        processes::ROWS,
        sockets::ROWS,
        egress::ROWS,
        kernel::ROWS,
        ostk::ROWS,
    ];
    tables.into_iter().flatten()
}

/// The row of a name.
pub fn named(id: &str) -> Option<&'static Row> {
    all().find(|row| row.id == id)
}
