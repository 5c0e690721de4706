//! Scenarios tests.
