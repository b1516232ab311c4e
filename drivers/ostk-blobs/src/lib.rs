//! Content-addressed bytes in append-only pack files.
