//! End-to-end tests: the real program against real hosts, which `lab` boots on this machine. They need root and what
//! `make lab-tools machine-tools jdbc browser shells vagrant-tools schemas image` installs; where that is missing they fail and say so, because a skipped test proves nothing.
//! Run with `make test`, or one of them with `cargo nextest run --profile full -E 'binary(e2e) & test(NAME)'`.

#![expect(clippy::print_stdout, reason = "figures of a run, shown when a test fails or with --no-capture")]

mod adopt;
mod airgap;
mod browser;
mod certs;
mod chaos;
mod check;
mod cluster;
mod completions;
mod containers;
mod convert;
mod cut;
mod doctor;
mod drill;
mod failures;
mod guide;
mod harness;
mod health;
mod lab;
mod liveness;
mod lock;
mod major;
mod migrate;
mod newer;
mod origin;
mod passwords;
mod poison;
mod privilege;
mod reset;
mod rolling;
mod rotate;
mod scale;
mod site;
mod stream;
mod system;
mod tls;
mod tutorial;
mod upgrade;
mod vagrant;
mod verbs;
mod writer;
