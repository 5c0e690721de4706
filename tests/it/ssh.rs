//! Ssh tests.
