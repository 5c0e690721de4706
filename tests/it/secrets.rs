//! Secrets tests.
