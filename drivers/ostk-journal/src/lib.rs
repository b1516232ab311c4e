//! Append, group commit, rotate, recover and tail the log.
