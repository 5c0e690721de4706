//! Facts tests.
