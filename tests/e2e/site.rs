//! A site: lab hosts, an inventory of its own that a test may edit, and the program run on it.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use xnat_provision::quote::sh;

use crate::harness::{BINARY, Lab, Ran, in_terminal, typed};

/// What the passwords begin with that a test chooses itself, so that it can look for them everywhere.
const POISON: [(&str, &str); 6] = [
    ("superuser", "PoisonSuperuser0aQ7vX2mK9"),
    ("replication", "PoisonReplication1bW8cY3nL"),
    ("rewind", "PoisonRewind2cE9dZ4oM0pR5"),
    ("rest_api", "PoisonRestApi3dR0eA5pN1qS"),
    ("application", "PoisonApplication4eT1fB6qO"),
    ("statistics", "PoisonStatistics5fY2gC7rP3"),
];

pub struct Site {
    pub lab: Lab,
    directory: tempfile::TempDir,
    /// The user the inventory logs in as.
    user: &'static str,
    /// What the program always finds in its environment.
    pub variables: Vec<(&'static str, &'static str)>,
}

/// An inventory whose login is root, with another one.
fn through_sudo(text: &str, user: &str) -> String {
    let user = format!("user = \"{user}\"");
    text.replace("user = \"root\"", &user).replace("become = \"none\"", "become = \"sudo\"")
}

/// What a first `apply` would install: most of the time it takes, and the same for all. Those tests that are about it begin
/// with bare hosts.
fn packages(arguments: &[&str]) -> String {
    let postgresql = if arguments.contains(&"bookworm") { "postgresql-15" } else { "postgresql-17" };
    ["etcd-server", "etcd-client", postgresql, "patroni", "python3-etcd", "haproxy", "nftables"].join(",")
}

impl Site {
    /// Hosts that have the packages and nothing else.
    pub fn new(test: &str, (arguments, user): (&[&str], &'static str)) -> Self {
        Self::bare(test, (&[arguments, &["--packages", &packages(arguments)]].concat(), user))
    }

    /// Hosts that have nothing.
    pub fn bare(test: &str, (arguments, user): (&[&str], &'static str)) -> Self {
        let lab = Lab::up(test, arguments);
        let directory = tempfile::tempdir().expect("a directory");
        let site = Self { lab, directory, user, variables: Vec::new() };
        let text = std::fs::read_to_string(site.lab.inventory()).expect("the lab wrote it");
        site.write(&site.as_user(&text));
        site
    }

    /// A disk of its own for a directory of every member, of 4 GB, so that it can be filled.
    pub fn separate(&self, directory: &str) {
        let own = "set -- $(stat -c '%u %g %a' .) && mount -t tmpfs -o size=4G,uid=$1,gid=$2,mode=$3 none";
        for host in self.hosts("postgres") {
            let command = format!("mkdir -p {directory} && cd {directory} && {own} {directory}");
            self.lab.ssh(&host, &command).expect(0);
        }
    }

    /// The lab's inventory, with another login; without root the program goes through sudo.
    fn as_user(&self, text: &str) -> String {
        if self.user == "root" { text.to_owned() } else { through_sudo(text, self.user) }
    }

    /// From here on not as root.
    pub fn log_in_as(&self, user: &str) {
        self.write(&through_sudo(&self.read(), user));
    }

    pub fn inventory(&self) -> PathBuf {
        self.directory.path().join("inventory.toml")
    }

    pub fn secrets(&self) -> PathBuf {
        self.directory.path().join("inventory.vault")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn read(&self) -> String {
        std::fs::read_to_string(self.inventory()).expect("the inventory is there")
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.inventory(), text).expect("written");
    }

    /// Add lines at the end of the inventory (a table of its own).
    pub fn append(&self, text: &str) {
        self.write(&format!("{}\n{text}\n", self.read()));
    }

    /// The passwords this test chooses, others than those of a test that runs at the same time.
    pub fn poisons(&self) -> Vec<(&'static str, String)> {
        POISON.iter().map(|(name, value)| (*name, format!("{value}x{}", std::process::id()))).collect()
    }

    /// Choose the passwords instead of having them made.
    pub fn poison(&self) {
        for (name, value) in self.poisons() {
            self.set_secret(name, &value);
        }
    }

    /// Give one secret a value in the vault.
    pub fn set_secret(&self, name: &str, value: &str) {
        let mut set = self.command(&["vault", "set", name]);
        let mut child =
            set.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, value.as_bytes()).expect("it reads");
        drop(stdin);
        Ran::of(child.wait_with_output().expect("it ends")).expect(0);
    }

    /// The password of the application's user.
    pub fn application_password(&self) -> String {
        self.run(&["vault", "show", "application"]).expect(0).stdout.trim_end_matches('\n').to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words).arg(self.inventory()).env("XDG_STATE_HOME", self.directory.path().join("state"));
        if self.user == "operator" {
            command.env("XNAT_SUDO_PASSWORD", self.lab.operator_password());
        }
        command.envs(self.variables.iter().copied());
        command
    }

    /// Run `xnat-provision WORDS… INVENTORY`.
    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().expect("the program runs"))
    }

    /// The same after a run that was killed: whoever had its locks has to be forgotten first.
    pub fn run_after_the_killed(&self, words: &[&str]) -> Ran {
        let begun = Instant::now();
        loop {
            let ran = self.run(words);
            if !is_locked(&ran.stderr) || begun.elapsed() > FORGETTING {
                return ran;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// A run that is killed as soon as that is said, and so many milliseconds later; also after another one.
    pub fn killed(&self, words: &[&str], (said, after): (&str, u64)) {
        let mut heard = self.heard(words, said);
        std::thread::sleep(Duration::from_millis(after));
        heard.child.kill().expect("killed");
        heard.child.wait().expect("ended");
    }

    /// What a run comes to that something happens to as soon as that is said.
    pub fn struck(&self, words: &[&str], said: &str, strike: impl FnOnce()) -> Ran {
        let Heard { child, mut before, lines } = self.heard(words, said);
        strike();
        before.extend(lines.map_while(Result::ok));
        let ended = child.wait_with_output().expect("it ends");
        Ran { stderr: before.join("\n"), ..Ran::of(ended) }
    }

    /// A run that has said so by now.
    fn heard(&self, words: &[&str], said: &str) -> Heard {
        let begun = Instant::now();
        loop {
            let mut child = self.spawn(words);
            let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
            let mut before = Vec::new();
            let seen = lines.by_ref().map_while(Result::ok).any(|line| {
                before.push(line);
                before.last().is_some_and(|line| says(line, said))
            });
            if seen {
                return Heard { child, before, lines };
            }
            child.wait().expect("ended");
            let all = before.join("\n");
            assert!(is_locked(&all) && begun.elapsed() < FORGETTING, "{said:?} is not said:\n{all}");
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Run `xnat-provision exec WORDS… INVENTORY -- COMMAND`.
    pub fn exec(&self, words: &[&str], command: &[&str]) -> Ran {
        let mut exec = self.command(&[&["exec"], words].concat());
        Ran::of(exec.arg("--").args(command).output().expect("the program runs"))
    }

    /// The same with variables in the environment.
    pub fn run_with(&self, (name, value): (&str, &str), words: &[&str]) -> Ran {
        Ran::of(self.command(words).env(name, value).output().expect("the program runs"))
    }

    /// The same in a terminal of its own, which ends up on standard output; then how the terminal is left.
    pub fn in_terminal(&self, (columns, rows): (u16, u16), words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.env("TERM", "xterm-256color");
        let pid = sh(&self.terminal_pid().to_string_lossy());
        let inside = format!(
            "stty cols {columns} rows {rows}; (echo $BASHPID >{pid}; exec {}); echo \"exit $?\"; stty -a",
            typed(&command)
        );
        in_terminal(&command, &inside)
    }

    /// Where the process number is of what runs in a terminal.
    pub fn terminal_pid(&self) -> PathBuf {
        self.file("terminal.pid")
    }

    /// Begin and do not wait.
    pub fn spawn(&self, words: &[&str]) -> Child {
        self.command(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// The same with every signal as it is by nature: `nohup` has one ignored.
    pub fn spawn_listening(&self, words: &[&str]) -> Child {
        let command = self.command(words);
        let mut env = Command::new("env");
        env.arg("--default-signal").arg(command.get_program()).args(command.get_args());
        env.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        env.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// Where events of all runs are.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn check(&self) -> Value {
        let checked = self.run(&["check", "--offline", "--json"]).expect(0);
        serde_json::from_str(&checked.stdout).expect("check --offline --json prints JSON")
    }

    /// A number of the checked inventory, by JSON pointer.
    pub fn number(&self, pointer: &str) -> u64 {
        self.check().pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer}"))
    }

    /// Names of hosts that have a component.
    pub fn hosts(&self, component: &str) -> Vec<String> {
        let checked = self.check();
        let hosts = checked["inventory"]["hosts"].as_array().expect("hosts").clone();
        let has = |host: &&Value| {
            host["components"].as_array().is_some_and(|components| components.iter().any(|c| c == component))
        };
        hosts.iter().filter(has).map(|host| host["name"].as_str().expect("a name").to_owned()).collect()
    }

    pub fn address(&self, host: &str) -> String {
        let checked = self.check();
        let hosts = checked["inventory"]["hosts"].as_array().expect("hosts").clone();
        let found = hosts.iter().find(|candidate| candidate["name"] == host).expect("it is in the inventory");
        found["address"].as_str().expect("a text").to_owned()
    }

    /// Waits until everything is well, and gives the leader's name.
    pub fn leader(&self) -> String {
        let look = || self.run(&["status"]);
        let patient = || {
            std::thread::sleep(Duration::from_millis(500));
            look()
        };
        let healthy = std::iter::once(look()).chain((0..200).map(|_| patient())).find(|status| status.status == 0);
        leader_of(&healthy.unwrap_or_else(|| panic!("it is not healthy again: {:?}", look())))
    }

    /// As the application, through a HAProxy, with the psql of a PostgreSQL host.
    pub fn psql(&self, port: u64, sql: &str) -> Ran {
        let (balancer, client) = (&self.hosts("haproxy")[0], &self.hosts("postgres")[0]);
        let (address, password) = (self.address(balancer), self.application_password());
        let psql =
            format!("PGPASSWORD={} PGCONNECT_TIMEOUT=5 psql -XAtq -h {address} -p {port} -U xnat xnat", sh(&password));
        self.lab.ssh(client, &format!("{psql} -c \"{sql}\""))
    }
}

struct Heard {
    child: Child,
    before: Vec<String>,
    lines: Lines<BufReader<ChildStderr>>,
}

/// So long a host remembers whoever had its lock.
const FORGETTING: Duration = Duration::from_secs(60);

fn is_locked(stderr: &str) -> bool {
    stderr.contains("lock")
}

/// A step has the end of a line to itself: another one may begin with its name.
fn says(line: &str, said: &str) -> bool {
    if said.starts_with(char::is_uppercase) { line.ends_with(said) } else { line.contains(said) }
}

/// Who leads, as `status` says of a cluster that is well.
pub fn leader_of(status: &Ran) -> String {
    let words = status.stdout.strip_prefix("healthy: leader ").and_then(|rest| rest.split(',').next());
    words.expect("it names the leader").to_owned()
}
