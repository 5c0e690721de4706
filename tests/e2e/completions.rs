//! Completions as the shells read them that have to be there for it. Bash is everywhere: `tests/it/packaging.rs`.

use std::process::{Command, Stdio};

/// What a shell printed, having read the completions.
fn told(shell: &str, arguments: &[&str], and_then: &str) -> String {
    let completions = Command::new(env!("CARGO_BIN_EXE_xnat-provision")).args(["completions", shell]).output();
    let completions = completions.expect("the program runs");
    assert!(completions.status.success(), "{}", String::from_utf8_lossy(&completions.stderr));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("completions");
    std::fs::write(&path, completions.stdout).expect("written");
    let asked = and_then.replace("FILE", path.to_str().expect("a text"));
    let ran = Command::new(shell).args(arguments).arg(asked).stdin(Stdio::null()).output();
    let ran = ran.unwrap_or_else(|error| panic!("{shell}: {error}; `make shells` installs it"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.is_empty(), "{shell}: {} {said}", ran.status);
    String::from_utf8(ran.stdout).expect("a text")
}

#[test]
fn fish_completes_commands_and_options() {
    let words = |line: &str| {
        let said = told("fish", &["--no-config", "-c"], &format!("source FILE; complete --do-complete '{line}'"));
        said.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words("xnat-provision supp"), ["support-bundle"]);
    assert_eq!(words("xnat-provision vault sh"), ["show"]);
    assert_eq!(words("xnat-provision apply --para"), ["--parallel"]);
}

#[test]
fn zsh_takes_the_function_for_ours() {
    let said = told(
        "zsh",
        &["-f", "-c"],
        "autoload -U compinit && compinit -D -u && source FILE && echo $_comps[xnat-provision]",
    );
    assert_eq!(said, "_xnat-provision\n");
}
