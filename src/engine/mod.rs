//! Makes it true: hosts, probing, converging, waiting, cancelling.
