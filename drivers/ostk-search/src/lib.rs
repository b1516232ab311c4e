//! Search the workspace with ripgrep's crates.
