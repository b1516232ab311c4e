//! The workspace: resolve, observe, atomic replace, scan, watch.
