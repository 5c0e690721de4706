//! Every fast test that looks at more than one module, in one binary. `tests/README.md` is the map.

mod adopt;
mod bundle;
mod certificates;
mod cli;
mod convergence;
mod docs;
mod drill;
mod facts;
mod hostile;
mod inventory;
mod lab;
mod layering;
mod lock;
mod pki;
mod plans;
mod preflight;
mod report;
mod resources;
mod roles;
mod scenarios;
mod secrets;
mod shell;
mod ssh;
mod status;
mod vault;
mod workflow;
