//! The system call table, the fold and the process table: a state machine that returns acts.
