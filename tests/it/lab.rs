//! What `lab` says where there is no lab. (What it does with one is for the end-to-end tests.)

use std::path::Path;
use std::process::{Command, Output};

/// Labs are root's: anybody else is told so.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn lab(state: &Path, arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xnat-provision"));
    let output = command.arg("lab").args(arguments).env("XDG_STATE_HOME", state).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn no_lab_is_an_empty_list() {
    let state = tempfile::tempdir().expect("a directory");
    let (output, said) = lab(state.path(), &["status", "--json"]);
    if is_root() {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[]\n");
    } else {
        assert!(said.contains("xnat::lab::not-root"), "{said}");
    }
}

#[test]
fn a_lab_that_is_not_there_is_named() {
    let state = tempfile::tempdir().expect("a directory");
    let (output, said) = lab(state.path(), &["status", "--name", "rehearsal"]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = if is_root() { "there is no lab `rehearsal`" } else { "xnat::lab::not-root" };
    assert!(said.contains(expected), "{said}");
}

#[test]
fn hosts_come_from_a_number_or_from_an_inventory_but_not_both() {
    let state = tempfile::tempdir().expect("a directory");
    let (output, said) = lab(state.path(), &["up", "--hosts", "3", "--inventory", "site.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("cannot be used with"), "{said}");
}
