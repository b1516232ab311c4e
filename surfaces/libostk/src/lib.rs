//! The client library: talk to a daemon, tail a journal, verify it.
