//! The ostk binary: argument parsing and printing.

fn main() {}
