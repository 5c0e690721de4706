//! Cli tests.
