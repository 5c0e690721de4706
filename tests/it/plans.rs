//! Plans tests.
