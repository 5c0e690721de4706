//! Inventory tests.
