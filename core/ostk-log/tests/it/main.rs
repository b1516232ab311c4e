//! The log's one integration-test binary: what a record, a chain, a tree and a proof promise to their readers.

#[cfg(test)]
mod record;
#[cfg(test)]
mod support;
