//! Workflows: each is its list of stages.
