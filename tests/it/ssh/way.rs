//! Getting there: deadlines, jump hosts, the user's `~/.ssh/config`.

use xnat_provision::transport::{Script, Transport as _};

use super::*;

#[tokio::test]
async fn a_host_that_refuses_and_one_that_is_silent() {
    let bench = Bench::new();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let error = bench.connect(&bench.host(free)).await.expect_err("refused");
    assert!(matches!(error, TransportError::Refused { .. }) && error.retryable(), "{error}");

    let (port, _silence) = server::silence().await;
    let mut host = bench.host(port);
    host.ssh.connect_timeout = Duration::from_millis(200);
    let error = bench.connect(&host).await.expect_err("no answer");
    assert!(error.retryable());
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    no answer from db1 (root@ADDRESS:PORT) within 0.2 s while agreeing on keys
      [xnat::ssh::timeout] check that the host is up and that no firewall drops port PORT, try `ssh -p PORT root@ADDRESS`, or raise `connect_timeout` under `[ssh]` in the inventory
    "#);
}

#[tokio::test]
async fn a_name_nobody_knows() {
    let bench = Bench::new();
    let mut host = bench.host(22);
    host.ssh.host = "no-such-host.invalid".into();
    let error = bench.connect(&host).await.expect_err("unknown");
    assert!(matches!(error, TransportError::Name { .. }), "{error}");
}

/// Both jump hosts and the target, known to `known_hosts`.
async fn three(bench: &Bench) -> (Server, Server, Server) {
    let servers =
        (Server::start(bench.setup()).await, Server::start(bench.setup()).await, Server::start(bench.setup()).await);
    let key = bench.host_key.public_key().to_openssh().expect("a key");
    let line = |server: &Server| format!("[127.0.0.1]:{} {}\n", server.port, key.trim_end());
    bench.write("known_hosts", &format!("{}{}", line(&servers.0), line(&servers.1)));
    servers
}

#[tokio::test]
async fn a_chain_of_jump_hosts_is_shared() {
    let bench = Bench::new();
    let (first, second, target) = three(&bench).await;
    let mut host = bench.host(target.port);
    host.ssh.jump = vec![format!("ops@127.0.0.1:{}", first.port), format!("127.0.0.1:{}", second.port)];
    let connector = bench.connector();
    let (one, two) = tokio::join!(connector.connect(&host), connector.connect(&host));
    let (one, two) = (one.expect("connected"), two.expect("connected"));
    one.close().await;
    let output = two.run(Script::as_login("greet", "echo through")).await.expect("ran");
    assert_eq!(output.stdout, "through\n");
    let connections = |server: &Server| server.seen.lock().expect("seen").connections;
    assert_eq!((connections(&first), connections(&second), connections(&target)), (1, 1, 2));
}

#[tokio::test]
async fn a_jump_hosts_key_is_verified_too() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let mut host = bench.host(server.port);
    host.ssh.jump = vec![format!("ops@127.0.0.1:{}", server.port)];
    let error = bench.connect(&host).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    cannot reach db1 (root@ADDRESS:PORT) through its jump host
      because the host key of ops@ADDRESS:PORT (ops@ADDRESS:PORT) is not known: it is ssh-ed25519 SHA256:…, and HOME/.ssh/known_hosts or HOME/.ssh/global_known_hosts has no key for [ADDRESS]:PORT
      [xnat::ssh::jump] reach the jump host first: compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host itself, then run again with `--accept-new-host-keys` to trust what is there now
    "#);
}

#[tokio::test]
async fn a_jump_host_that_cannot_go_on() {
    let bench = Bench::new();
    let (first, ..) = three(&bench).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let mut host = bench.host(free);
    host.ssh.jump = vec![format!("127.0.0.1:{}", first.port)];
    let error = bench.connect(&host).await.expect_err("refused");
    assert!(matches!(error, TransportError::JumpRefused { .. }) && error.retryable(), "{error}");
    assert!(error.to_string().contains("nothing answers there"), "{error}");
}

#[tokio::test]
async fn everything_from_the_users_own_configuration() {
    let bench = Bench::new();
    let (bastion, _, target) = three(&bench).await;
    let text = format!(
        "Host bastion\n  HostName=127.0.0.1\n  Port {}\nHost db?\n  HostName 127.0.0.1\n  Port {}\n  User \"admin\"\n  \
         IdentityFile ~/.ssh/key\n  ProxyJump ops@bastion\nMatch user nobody\n  User wrong\n  Port 1\nHost *\n  IdentityFile ~/.ssh/key\n",
        bastion.port, target.port
    );
    bench.write("config", &text);
    let mut host = bench.host(0);
    host.ssh.host = "db1".into();
    (host.ssh.port, host.ssh.user) = (None, None);
    host.ssh.identity.clear();
    let connection = bench.connect(&host).await.expect("connected");
    assert_eq!(connection.endpoint().to_string(), format!("db1 (admin@127.0.0.1:{})", target.port));
    assert_eq!(bastion.seen.lock().expect("seen").connections, 1);
}

#[tokio::test]
async fn the_inventory_wins_over_the_users_configuration() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    bench.write("config", "Host *\n  User admin\n  Port 1\n  ProxyJump nowhere\n");
    let mut host = bench.host(server.port);
    host.ssh.jump = vec![format!("ops@127.0.0.1:{}", server.port)];
    host.ssh.known_hosts = Some(bench.path("mine"));
    let line = bench.host_key.public_key().to_openssh().expect("a key");
    bench.write("mine", &format!("[127.0.0.1]:{} {line}\n", server.port));
    // Its jump host has the ProxyJump of `Host *`, so the whole way is known and the first hop does not exist.
    let error = bench.connect(&host).await.expect_err("nowhere");
    assert!(shown(&error, bench.home.path()).contains("nowhere"), "{error}");
    bench.write("config", "Host *\n  User admin\n  Port 1\n");
    let connection = bench.connect(&host).await.expect("connected");
    assert_eq!(connection.endpoint().user, "root");
}

#[tokio::test]
async fn settings_that_would_be_another_way_are_not_passed_over() {
    let bench = Bench::new();
    bench.write("config", "Host *\n  ProxyCommand nc %h %p\n");
    let error = bench.connect(&bench.host(22)).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    cannot use the SSH settings for db1 (root@ADDRESS:22): `~/.ssh/config` has a ProxyCommand for it, which is not supported; use ProxyJump or `jump`
      [xnat::ssh::config] correct `~/.ssh/config`, or set the value under `[ssh]` in the inventory: it wins over that file
    "#);
    bench.write("config", "Host *\n  Include more\n");
    bench.write("more", "Match all\n  User other\n");
    let error = bench.connect(&bench.host(22)).await.expect_err("refused");
    assert!(error.to_string().contains("has a Match section"), "{error}");
}
