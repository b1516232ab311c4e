//! What can be asked about sagas on the command line.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with sagas.
#[derive(Debug, Subcommand)]
pub(crate) enum SagaAction {
    /// Do the steps of a file, and wait for the end: if one fails, those before it are undone, last first.
    Run {
        /// TOML, or JSON: `name`, and `steps` with `id`, `do`, `undo`, `timeout_s`, `retries`, `idempotent`.
        file: PathBuf,
        /// What it is called; the file's name by default.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the sagas and where they stand.
    List,
    /// Show a saga and where each of its steps stands.
    Show {
        /// The saga.
        id: u64,
    },
    /// Undo what a saga has done; of one that could not be undone, try it again.
    Compensate {
        /// The saga.
        id: u64,
    },
}
