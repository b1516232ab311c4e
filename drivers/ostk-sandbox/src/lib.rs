//! Start and contain processes. The only crate with unsafe code.
