//! Layering tests.
