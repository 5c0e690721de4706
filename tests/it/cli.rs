//! The program itself: what it says and how it exits when it is used wrongly. Hermetic: a home of its own, no terminal.

use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use xnat_provision::version;

/// The program in an environment of its own.
struct Bench {
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a directory") }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.home.path().join(name), text).expect("written");
    }

    /// What it printed and how it ended, with everything replaced that differs from run to run.
    fn run(&self, arguments: &[&str]) -> String {
        // In a session of its own there is no terminal to ask on, wherever the tests run.
        let output = Command::new("setsid")
            .args(["--wait", env!("CARGO_BIN_EXE_xnat-provision")])
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        let home = self.home.path().display().to_string();
        let text = |bytes: &[u8]| {
            steady(&String::from_utf8_lossy(bytes).replace(&home, "HOME").replace(version::PROGRAM, "VERSION"))
        };
        let exit = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        format!("exit {exit}\n--- stdout\n{out}--- stderr\n{err}")
    }
}

/// Without times, durations and names of runs.
fn steady(text: &str) -> String {
    let line = |line: &str| {
        let words = line.split(' ').map(|word| match word {
            _ if word.len() == 9 && word.ends_with('Z') && word.contains(':') => "TIME",
            _ if word.contains("Z-") => "RUN",
            _ if word.parse::<jiff::civil::Date>().is_ok() => "DATE",
            _ => word,
        });
        let mut words: Vec<&str> = words.collect();
        let lasted = |pair: &[&str]| pair[0].parse::<f64>().is_ok() && matches!(pair[1], "s" | "s,");
        while let Some(at) = words.windows(2).position(lasted) {
            words.splice(at..at + 2, [if words[at + 1] == "s" { "DURATION" } else { "DURATION," }]);
        }
        words.join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

/// Nothing listens on port 1 of this machine.
const NOBODY_HOME: &str = r#"
[cluster]
name = "demo"

[ssh]
user = "root"
port = 1

[[host]]
name = "db1"
address = "127.0.0.1"
roles = ["etcd", "postgres"]
"#;

#[test]
fn no_command() {
    let said = Bench::new().run(&[]);
    assert!(said.starts_with("exit 2\n"), "{said}");
    assert!(said.contains("Usage: xnat-provision"), "{said}");
}

#[test]
fn a_mistyped_option() {
    assert_snapshot!(Bench::new().run(&["apply", "--yess"]), @r#"
    exit 2
    --- stdout
    --- stderr
    error: unexpected argument '--yess' found

      tip: a similar argument exists: '--yes'

    Usage: xnat-provision apply --yes [INVENTORY]

    For more information, try '--help'.
    "#);
}

#[test]
fn no_host_at_a_time() {
    assert_snapshot!(Bench::new().run(&["apply", "--parallel", "0"]), @r#"
    exit 2
    --- stdout
    --- stderr
    error: invalid value '0' for '--parallel <N>': 0 is not in 1..=65535

    For more information, try '--help'.
    "#);
}

#[test]
fn no_inventory() {
    assert_snapshot!(Bench::new().run(&["plan"]), @r#"
    exit 2
    --- stdout
    --- stderr
    xnat::inventory::unreadable

      × cannot read the inventory inventory.toml
      ╰─▶ No such file or directory (os error 2)
      help: see what is there with `ls -l .`; to start a new inventory, copy
            inventory/minimal.toml and edit it
    "#);
}

#[test]
fn a_mistake_in_the_inventory() {
    let bench = Bench::new();
    bench.write("inventory.toml", "[cluster]\nnme = \"demo\"\n");
    assert_snapshot!(bench.run(&["apply", "--yes"]), @r#"
    exit 2
    --- stdout
    --- stderr
      × inventory.toml has 2 mistakes; nothing was touched

    Error: xnat::inventory::missing_key

      × there is no [[host]]
      help: add a machine:
            [[host]]
            name = "db1"
            address = "10.0.0.11"
            roles = ["etcd", "postgres"]

    Error: xnat::inventory::unknown_key

      × unknown key `nme` in [cluster]
       ╭─[inventory.toml:2:1]
     1 │ [cluster]
     2 │ nme = "demo"
       · ─┬─
       ·  ╰── not known here
       ╰────
      help: did you mean `name`?
    "#);
}

#[test]
fn a_saved_plan_that_is_none() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    bench.write("plan.json", "{}");
    assert_snapshot!(bench.run(&["apply", "--plan", "plan.json"]), @r#"
    exit 2
    --- stdout
    --- stderr
    xnat::plan::format

      × plan.json is not a saved plan
      ╰─▶ missing field `cluster` at line 1 column 2
      help: make one: xnat-provision plan --out plan.json
    "#);
    assert_snapshot!(bench.run(&["apply", "--plan", "gone.json"]), @r#"
    exit 2
    --- stdout
    --- stderr
    xnat::plan::read

      × cannot read the plan gone.json
      ╰─▶ No such file or directory (os error 2)
      help: make one: xnat-provision plan --out gone.json
    "#);
}

#[test]
fn a_host_that_is_not_in_the_inventory() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    assert_snapshot!(bench.run(&["plan", "--limit", "db2"]), @r#"
    exit 2
    --- stdout
    --- stderr
    TIME | run RUN DATE
    TIME | plan of cluster demo: db1 (xnat-provision VERSION)
    TIME | warning: inventory.toml:9:3: no host has the role "haproxy": clients must find the leader themselves
    TIME | try: give it to a host, best to the one XNAT runs on: roles = ["haproxy"]; or list every server in XNAT's JDBC URL with targetServerType=primary
    TIME | warning: inventory.toml:11:11: 127.0.0.1 is reachable from this host only
    TIME | try: give its address in your network if XNAT runs elsewhere: address = "10.0.0.11"
    TIME | warning: inventory.toml:12:10: one etcd member: when its host is down, there is no failover
    TIME | try: give the role "etcd" to three hosts; a small machine will do for the third. One is for development only
    TIME | warning: inventory.toml:12:18: one PostgreSQL server: there is no replica to take over, for development only
    TIME | try: give the role "postgres" to a second host before anything that matters is in it
    x The run failed: there is no host db2 in the inventory; did you mean db1?
        try:     hosts: db1
        code:    xnat::scope::unknown_host
    x failed after DURATION, no changes on 1 host, 4 warnings
    Everything that happened: RUN
    Show it again:            xnat-provision history show RUN
    "#);
}

#[test]
fn a_password_to_ask_for_and_nobody_to_ask() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    assert_snapshot!(bench.run(&["plan", "--ask-become-password"]), @r#"
    exit 2
    --- stdout
    --- stderr
    xnat::connect::terminal

      × cannot ask for the sudo password: there is no terminal
      help: put the password into the environment variable XNAT_SUDO_PASSWORD and
            leave out `--ask-become-password`
    "#);
}

#[test]
fn a_host_that_does_not_answer() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    assert_snapshot!(bench.run(&["apply", "--yes"]), @r#"
    exit 3
    --- stdout
    --- stderr
    TIME | run RUN DATE
    TIME | apply of cluster demo: db1 (xnat-provision VERSION)
    TIME | warning: inventory.toml:9:3: no host has the role "haproxy": clients must find the leader themselves
    TIME | try: give it to a host, best to the one XNAT runs on: roles = ["haproxy"]; or list every server in XNAT's JDBC URL with targetServerType=primary
    TIME | warning: inventory.toml:11:11: 127.0.0.1 is reachable from this host only
    TIME | try: give its address in your network if XNAT runs elsewhere: address = "10.0.0.11"
    TIME | warning: inventory.toml:12:10: one etcd member: when its host is down, there is no failover
    TIME | try: give the role "etcd" to three hosts; a small machine will do for the third. One is for development only
    TIME | warning: inventory.toml:12:18: one PostgreSQL server: there is no replica to take over, for development only
    TIME | try: give the role "postgres" to a second host before anything that matters is in it
    TIME db1 | failed: db1 (root@127.0.0.1:1) refused the connection: nothing listens there
    x db1 failed: db1 (root@127.0.0.1:1) refused the connection: nothing listens there
        try:     start the SSH server there (`systemctl enable --now ssh`), or set `port` under `[ssh]` in the inventory
        code:    xnat::ssh::refused
    x The run failed: 1 host cannot be used; nothing was changed
        try:     mend what is said about each, or leave them out: --limit and the names of the others
        code:    xnat::survey::hosts
    x 1 of 1 host failed after DURATION, no changes on 1 host, 4 warnings
    Everything that happened: RUN
    Show it again:            xnat-provision history show RUN
    "#);
    let status = bench.run(&["status"]);
    assert!(status.starts_with("exit 3\n"), "{status}");
}

/// What it says must have all of this in it.
fn says(bench: &Bench, arguments: &[&str], words: &[&str]) {
    let said = bench.run(arguments);
    for word in words {
        assert!(said.contains(word), "{arguments:?} does not say {word:?}:\n{said}");
    }
}

#[test]
fn a_command_for_hosts_that_are_not_there() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    says(
        &bench,
        &["exec", "--", "uptime"],
        &["exit 3\n", "db1: warning: the command was not run to its end", "refused"],
    );
    let json = ["exit 3\n", "\"host\": \"db1\"", "\"status\": null", "\"error\": \"db1 (root@127.0.0.1:1) refused"];
    says(&bench, &["exec", "--json", "--", "uptime"], &json);
    says(&bench, &["exec", "--limit", "db2", "--", "uptime"], &["exit 2\n", "has no host db2", "its hosts are db1"]);
    let roles = ["exit 2\n", "no host that is meant has the role haproxy", "etcd, postgres"];
    says(&bench, &["exec", "--role", "haproxy", "--", "uptime"], &roles);
    says(&bench, &["exec"], &["exit 2\n", "<COMMAND>..."]);
}

#[test]
fn a_bundle_of_hosts_that_are_not_there() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    let missing = ["exit 3\n", "--- stdout\nhelp.tar.gz\n", "not in it: everything of db1", "are masked"];
    says(&bench, &["support-bundle", "-o", "help.tar.gz"], &missing);
}

#[test]
fn a_cluster_is_not_ended_under_another_name() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    says(
        &bench,
        &["reset", "--confirm", "other"],
        &["exit 2\n", "not called \"other\" but \"demo\"; nothing was changed"],
    );
    says(&bench, &["reset", "--confirm", "demo"], &["exit 3\n", "db1 cannot be reached, so it cannot be reset"]);
    says(&bench, &["reset", "--yes"], &["exit 2\n"]);
}

#[test]
fn no_run_to_show() {
    assert_snapshot!(Bench::new().run(&["history", "show"]), @r#"
    exit 2
    --- stdout
    --- stderr
    xnat::report::no_runs

      × no runs are recorded here
      help: run one first: xnat-provision plan inventory.toml
    "#);
    assert_snapshot!(Bench::new().run(&["history"]), @r#"
    exit 0
    --- stdout
    No runs are recorded here.
    --- stderr
    "#);
}

#[test]
fn nothing_is_left_in_a_home_by_looking() {
    let bench = Bench::new();
    bench.write("inventory.toml", NOBODY_HOME);
    bench.run(&["check", "--offline"]);
    bench.run(&["schema"]);
    bench.run(&["assets", "list"]);
    let left = std::fs::read_dir(Path::new(bench.home.path())).expect("readable").count();
    assert_eq!(left, 1, "only the inventory");
}

/// So that it runs wherever it is copied to. (`RUSTFLAGS` in the environment would replace those of `.cargo/config.toml`.)
#[test]
fn the_program_is_one_static_file() {
    let said = Command::new("ldd").arg(env!("CARGO_BIN_EXE_xnat-provision")).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "statically linked");
}

#[test]
fn help_on_commands_and_topics() {
    let bench = Bench::new();
    let said = |arguments: &[&str]| bench.run(arguments);
    assert_eq!(said(&["help"]), said(&["--help"]));
    assert_eq!(said(&["help", "apply"]), said(&["apply", "--help"]));
    assert_eq!(said(&["help", "vault", "show"]), said(&["vault", "show", "--help"]));
    assert!(said(&["help", "checks"]).starts_with("exit 0\n--- stdout\n# Checks\n"));
    assert!(said(&["help", "--json", "topics"]).contains("\"name\": \"checks\""));
    assert!(said(&["help", "checks", "--json"]).contains("\"text\": \"# Checks\\n"));
    assert_snapshot!(said(&["help", "arcitecture"]), @r"
    exit 2
    --- stdout
    --- stderr
    xnat::help::unknown

      × `arcitecture` is neither a topic nor a command
      help: did you mean `xnat-provision help architecture`?
    ");
}

#[test]
fn manual_pages() {
    let bench = Bench::new();
    assert!(bench.run(&["help", "man"]).contains(".SH NAME\nxnat\\-provision \\- "));
    let said = bench.run(&["help", "man", "--to", "man1"]);
    assert!(said.contains("pages are in man1; read one: man -l man1/xnat-provision.1\n"), "{said}");
    let page = std::fs::read_to_string(bench.home.path().join("man1/xnat-provision-vault-show.1")).expect("a page");
    assert!(page.contains(".SH NAME\nxnat\\-provision\\-vault\\-show \\- "), "{page}");
    bench.write("file", "");
    assert!(bench.run(&["help", "man", "--to", "file"]).starts_with("exit 1\n"));
}
