//! The log's one integration-test binary: what a record, a chain, a tree and a proof promise to their readers.

#[cfg(test)]
mod batch;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod checkpoint;
#[cfg(test)]
mod document;
#[cfg(test)]
mod merkle;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod record;
#[cfg(test)]
mod standalone;
#[cfg(test)]
mod support;
