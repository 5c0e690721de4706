//! Becoming root, with a program in the place of sudo that behaves like it.

use std::os::unix::fs::PermissionsExt as _;

use xnat_provision::transport::{Script, Transport as _};

use super::*;

/// Does what its file `mode` says, and writes down every line it takes for a password.
const SUDO: &str = r#"#!/bin/sh
here=$(dirname "$0")
[ "$LC_ALL" = C ] || { echo "sudo: un mot de passe est requis" >&2; exit 1; }
want_stdin=no
while :; do
    case $1 in
        -n) shift ;;
        -k) shift ;;
        -S) want_stdin=yes; shift ;;
        -p) shift 2 ;;
        *) break ;;
    esac
done
case $(cat "$here/mode") in
    free) exec "$@" ;;
    tty) echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1 ;;
esac
[ $want_stdin = yes ] || { echo "sudo: a password is required" >&2; exit 1; }
for try in 1 2 3; do
    IFS= read -r line || { echo "sudo: no password was provided" >&2; exit 1; }
    printf '%s\n' "$line" >> "$here/passwords"
    if [ "$line" = "s3cret" ]; then
        if [ "$(cat "$here/mode")" = denied ]; then echo "admin is not in the sudoers file." >&2; exit 1; fi
        exec "$@"
    fi
    echo "Sorry, try again." >&2
done
echo "sudo: 3 incorrect password attempts" >&2
exit 1
"#;

struct Fake {
    bench: Bench,
    server: Server,
}

impl Fake {
    async fn new(mode: &str) -> Self {
        let bench = Bench::new();
        let programs = bench.path("programs");
        std::fs::create_dir(&programs).expect("created");
        std::fs::write(programs.join("sudo"), SUDO).expect("written");
        std::fs::set_permissions(programs.join("sudo"), std::fs::Permissions::from_mode(0o755)).expect("executable");
        std::fs::write(programs.join("mode"), mode).expect("written");
        let server = Server::start(Setup { programs: Some(programs), ..bench.setup() }).await;
        Self { bench, server }
    }

    async fn connect(&self, prompt: Arc<dyn Prompt>) -> SshConnection {
        let mut host = self.bench.host(self.server.port);
        (host.ssh.user, host.ssh.escalate) = (Some("admin".into()), Escalate::Sudo);
        let connector = SshConnector::new(Options { prompt, ..self.bench.options() });
        connector.connect(&host).await.expect("connected")
    }

    /// Every line sudo took for a password.
    fn passwords(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.bench.path("programs/passwords")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn greet() -> Script {
    Script::as_root("greet", "echo hello; cat")
}

#[tokio::test]
async fn without_a_password() {
    let fake = Fake::new("free").await;
    let connection = fake.connect(Arc::new(Nobody)).await;
    assert_eq!(connection.run(greet()).await.expect("ran").stdout, "hello\n");
    assert_eq!(fake.server.commands(), ["env LC_ALL=C sudo -n sh -s"]);
    connection.run(Script::as_login("look", "true")).await.expect("ran");
    assert_eq!(fake.server.commands()[1], "sh -s");
}

#[tokio::test]
async fn with_a_password_asked_for_once() {
    let fake = Fake::new("password").await;
    let prompt = Canned::new("s3cret");
    let connection = fake.connect(prompt.clone()).await;
    for _ in 0..2 {
        let output = connection.run(greet()).await.expect("ran");
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("hello\n", ""));
    }
    assert_eq!(prompt.asked(), ["sudo password of admin (the same on every host that asks for it)"]);
    assert_eq!(fake.passwords(), ["s3cret", "s3cret"]);
    let commands = fake.server.commands();
    assert_eq!(commands.iter().filter(|command| command.contains("sudo -n")).count(), 1, "{commands:?}");
    assert!(!commands.iter().any(|command| command.contains("s3cret")));
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_no_line_of_the_script_after_it() {
    let fake = Fake::new("password").await;
    let connection = fake.connect(Canned::new("guess")).await;
    let error = connection.run(greet()).await.expect_err("refused");
    assert!(matches!(error, TransportError::SudoPassword { .. }), "{error}");
    connection.run(greet()).await.expect_err("refused without asking sudo again");
    assert_eq!(fake.passwords(), ["guess"]);
    insta::assert_snapshot!(shown(&error, fake.bench.home.path()), @r#"
    sudo on db1 (admin@ADDRESS:PORT) did not take the password
      [xnat::ssh::sudo::password] try it with `ssh -t -p PORT admin@ADDRESS sudo -k -v`, then run again with `--ask-become-password` (or correct XNAT_SUDO_PASSWORD)
    "#);
}

#[tokio::test]
async fn nobody_to_ask() {
    let fake = Fake::new("password").await;
    let connection = fake.connect(Arc::new(Nobody)).await;
    let error = connection.run(greet()).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, fake.bench.home.path()), @r#"
    the sudo password of admin is needed for db1 (admin@ADDRESS:PORT), and there is no terminal to ask for it
      [xnat::ssh::prompt] put it into the environment variable XNAT_SUDO_PASSWORD, or let the user become root without one: `USER ALL=(ALL) NOPASSWD: ALL` in a file under /etc/sudoers.d
    "#);
}

#[tokio::test]
async fn a_password_known_beforehand_is_not_asked_for() {
    let fake = Fake::new("password").await;
    let mut host = fake.bench.host(fake.server.port);
    (host.ssh.user, host.ssh.escalate) = (Some("admin".into()), Escalate::Sudo);
    let options = Options { become_password: Some(Secret::new("s3cret")), ..fake.bench.options() };
    let connection = SshConnector::new(options).connect(&host).await.expect("connected");
    assert_eq!(connection.run(greet()).await.expect("ran").stdout, "hello\n");
}

#[tokio::test]
async fn who_may_not_and_who_needs_a_terminal() {
    let fake = Fake::new("denied").await;
    let error = fake.connect(Canned::new("s3cret")).await.run(greet()).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, fake.bench.home.path()), @r#"
    sudo on db1 (admin@ADDRESS:PORT) does not allow this user to become root: admin is not in the sudoers file.
      [xnat::ssh::sudo::denied] log in there as root and run `adduser admin sudo`, or set `user` under `[ssh]` in the inventory
    "#);
    let fake = Fake::new("tty").await;
    let error = fake.connect(Canned::new("s3cret")).await.run(greet()).await.expect_err("refused");
    assert!(matches!(error, TransportError::SudoTty { .. }), "{error}");
}

#[tokio::test]
async fn a_host_without_sudo() {
    let bench = Bench::new();
    let programs = bench.path("programs");
    std::fs::create_dir(&programs).expect("created");
    // Whether or not this machine has sudo: what `env` says when there is none.
    std::fs::write(programs.join("env"), "#!/bin/sh\necho \"env: 'sudo': No such file or directory\" >&2\nexit 127\n")
        .expect("written");
    std::fs::set_permissions(programs.join("env"), std::fs::Permissions::from_mode(0o755)).expect("executable");
    let server = Server::start(Setup { programs: Some(programs), ..bench.setup() }).await;
    let mut host = bench.host(server.port);
    (host.ssh.user, host.ssh.escalate) = (Some("admin".into()), Escalate::Sudo);
    let error = bench.connect(&host).await.expect("connected").run(greet()).await.expect_err("refused");
    assert!(matches!(error, TransportError::SudoMissing { .. }), "{error}");
}

#[tokio::test]
async fn root_is_wanted_and_nobody_said_how() {
    let bench = Bench::new();
    // As nobody when the tests run as root; else as whoever runs them.
    let uid = rustix::process::getuid().is_root().then_some(65534);
    let server = Server::start(Setup { uid, ..bench.setup() }).await;
    let mut host = bench.host(server.port);
    host.ssh.user = Some("admin".into());
    let connection = bench.connect(&host).await.expect("connected");
    let error = connection.run(greet()).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    "greet" needs root on db1 (admin@ADDRESS:PORT), and the login user is not root
      [xnat::ssh::not_root] set `become = "sudo"` under `[ssh]` in the inventory, or `user = "root"`
    "#);
    assert!(connection.run(Script::as_login("look", "true")).await.expect("ran").ok());
}
