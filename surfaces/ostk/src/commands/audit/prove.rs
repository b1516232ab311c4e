//! `ostk audit prove`: evidence about one record for a reader who has neither the log nor this program's word.

use std::process::ExitCode;

use libostk::{Proof, ProofFailure, VerifierKey};
use serde_json::json;

use super::super::Done;
use crate::{
    connect,
    failure::Failure,
    output::{Output, Paint},
};

pub(crate) fn prove(seq: u64, output: &Output) -> Done {
    let state_dir = connect::project()?.state_dir();
    let (proof, key) = libostk::prove(&state_dir, seq)?;
    output.show(&json!(proof), |output| human(&proof, &key, output));
    Ok(ExitCode::SUCCESS)
}

fn human(proof: &Proof, key: &VerifierKey, output: &Output) -> String {
    let lines = [
        format!(
            "{} record {} is record {} of the {} that the checkpoint of {} covers",
            output.paint(Paint::Green, "✓"),
            proof.index,
            proof.index + 1,
            proof.tree_size,
            key.name()
        ),
        format!("  path      {} hashes lead from it to the root", proof.audit_path.len()),
        format!("  signed    the record and the checkpoint, by {key}"),
        format!("  record    {}", proof.record),
        format!("to hand it on: ostk audit prove {} --json > proof.json", proof.index),
    ];
    lines.join("\n")
}

impl From<ProofFailure> for Failure {
    fn from(error: ProofFailure) -> Self {
        let failure = Self::check(&error);
        match error {
            ProofFailure::NotCovered { .. } => failure.hint("ostk audit tail shows the newest records"),
            ProofFailure::NoCheckpoint(_) => failure.hint("ostk listen writes one when it opens the log"),
            _ => failure.hint("ostk audit verify --deep says where the log was changed"),
        }
    }
}
