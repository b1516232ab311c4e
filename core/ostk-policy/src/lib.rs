//! Governance documents in, verdicts out.
