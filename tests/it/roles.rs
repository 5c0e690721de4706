//! Roles tests.
