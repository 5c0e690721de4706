//! Logging in: every method, in the right order, asking once.

use russh::keys::ssh_key::HashAlg;
use russh::keys::{Algorithm, PrivateKey, agent};

use super::*;

const RSA: &str = include_str!("../../fixtures/ssh/id_rsa");

#[tokio::test]
async fn a_key_file_named_in_the_inventory() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let connection = bench.connect(&bench.host(server.port)).await.expect("connected");
    assert_eq!(connection.endpoint().to_string(), format!("db1 (root@127.0.0.1:{})", server.port));
    assert_eq!(connection.endpoint().user, "root");
}

#[tokio::test]
async fn a_usual_key_without_being_named() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    bench.write_key("id_ecdsa", &bench.key);
    let mut host = bench.host(server.port);
    host.ssh.identity.clear();
    bench.connect(&host).await.expect("connected");
}

#[tokio::test]
async fn rsa_signs_with_sha2() {
    let bench = Bench::new();
    bench.write("key", RSA);
    let key = PrivateKey::from_openssh(RSA).expect("a key");
    let server = Server::start(Setup { authorized: vec![key.public_key().clone()], ..bench.setup() }).await;
    bench.connect(&bench.host(server.port)).await.expect("connected");
    let seen = server.seen.lock().expect("seen");
    assert_eq!(seen.key_algorithms, [Algorithm::Rsa { hash: Some(HashAlg::Sha512) }]);
}

fn lock(key: &PrivateKey) -> PrivateKey {
    key.encrypt(&mut russh::keys::key::safe_rng(), "open sesame").expect("encrypted")
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once_for_all_hosts() {
    let bench = Bench::new();
    bench.write_key("key", &lock(&bench.key));
    let servers = (Server::start(bench.setup()).await, Server::start(bench.setup()).await);
    let prompt = Canned::new("open sesame");
    let connector = SshConnector::new(Options { prompt: prompt.clone(), ..bench.options() });
    let (one, two) = (bench.host(servers.0.port), bench.host(servers.1.port));
    let (one, two) = tokio::join!(connector.connect(&one), connector.connect(&two));
    one.expect("connected");
    two.expect("connected");
    assert_eq!(prompt.asked(), [format!("Passphrase of the key {}", bench.path("key").display())]);
}

#[tokio::test]
async fn no_passphrase_is_asked_for_a_key_the_server_does_not_want() {
    let bench = Bench::new();
    bench.write_key("key", &lock(&server::new_key()));
    let server = Server::start(bench.setup()).await;
    let prompt = Canned::new("open sesame");
    let connector = SshConnector::new(Options { prompt: prompt.clone(), ..bench.options() });
    connector.connect(&bench.host(server.port)).await.expect_err("refused");
    assert!(prompt.asked().is_empty());
}

#[tokio::test]
async fn a_wrong_passphrase_and_nobody_to_ask() {
    let bench = Bench::new();
    bench.write_key("key", &lock(&bench.key));
    let server = Server::start(bench.setup()).await;
    let prompt = Canned::new("guess");
    let connector = SshConnector::new(Options { prompt: prompt.clone(), ..bench.options() });
    let error = connector.connect(&bench.host(server.port)).await.expect_err("refused");
    assert!(error.to_string().contains("wrong passphrase"), "{error}");
    assert!(prompt.asked()[1].starts_with("Wrong. "));
    let error = bench.connect(&bench.host(server.port)).await.expect_err("refused");
    assert!(error.to_string().contains("there is no terminal to ask for it"), "{error}");
}

/// An agent with these keys.
async fn agent_with(bench: &Bench, keys: &[&PrivateKey]) -> PathBuf {
    let socket = bench.path("agent");
    let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
    let incoming = futures::stream::unfold(listener, |listener| async move {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    tokio::spawn(agent::server::serve(Box::pin(incoming), ()));
    let mut client = agent::client::AgentClient::connect_uds(&socket).await.expect("an agent");
    for key in keys {
        client.add_identity(key, &[]).await.expect("added");
    }
    socket
}

fn with_agent(bench: &Bench, socket: PathBuf) -> SshConnector {
    let mut options = bench.options();
    options.environment.agent = Some(socket);
    SshConnector::new(options)
}

#[tokio::test]
async fn the_agents_key() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let socket = agent_with(&bench, &[&server::new_key(), &bench.key]).await;
    let mut host = bench.host(server.port);
    host.ssh.identity.clear();
    with_agent(&bench, socket).connect(&host).await.expect("connected");
}

#[tokio::test]
async fn identities_only_keeps_the_agents_other_keys_out() {
    let bench = Bench::new();
    bench.write("config", "Host 127.*\n  IdentitiesOnly yes\n");
    bench.write_key("key", &server::new_key());
    let server = Server::start(bench.setup()).await;
    let socket = agent_with(&bench, &[&bench.key]).await;
    let host = bench.host(server.port);
    let connector = with_agent(&bench, socket);
    connector.connect(&host).await.expect_err("the only good key is in the agent and not named");
    // Named by its public half alone it may be used.
    std::fs::remove_file(bench.path("key")).expect("removed");
    bench.write("key.pub", &bench.key.public_key().to_openssh().expect("a key"));
    connector.connect(&host).await.expect("connected");
}

#[tokio::test]
async fn a_password_is_asked_for_once_for_all_hosts() {
    let bench = Bench::new();
    let setup = Setup { authorized: Vec::new(), password: Some("s3cret"), ..bench.setup() };
    let servers = (Server::start(setup.clone()).await, Server::start(setup).await);
    let prompt = Canned::new("s3cret");
    let connector = SshConnector::new(Options { prompt: prompt.clone(), ..bench.options() });
    let (one, two) = (bench.host(servers.0.port), bench.host(servers.1.port));
    let (one, two) = tokio::join!(connector.connect(&one), connector.connect(&two));
    one.expect("connected");
    two.expect("connected");
    assert_eq!(prompt.asked(), ["SSH password of root (the same on every host that asks for it)"]);
}

#[tokio::test]
async fn a_password_asked_for_interactively() {
    let bench = Bench::new();
    let server = Server::start(Setup { authorized: Vec::new(), interactive: Some("s3cret"), ..bench.setup() }).await;
    let connector = SshConnector::new(Options { prompt: Canned::new("s3cret"), ..bench.options() });
    connector.connect(&bench.host(server.port)).await.expect("connected");
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let bench = Bench::new();
    let server = Server::start(Setup { authorized: Vec::new(), password: Some("s3cret"), ..bench.setup() }).await;
    let connector = SshConnector::new(Options { prompt: Canned::new("guess"), ..bench.options() });
    let error = connector.connect(&bench.host(server.port)).await.expect_err("refused");
    assert_eq!(server.seen.lock().expect("seen").passwords, ["guess"]);
    assert!(!format!("{error:?}").contains("guess"));
}

#[tokio::test]
async fn what_was_tried_and_what_would_do() {
    let bench = Bench::new();
    let setup = Setup { authorized: Vec::new(), password: Some("s3cret"), ..bench.setup() };
    let server = Server::start(setup).await;
    let mut host = bench.host(server.port);
    host.ssh.identity.push(bench.path("missing"));
    let error = bench.connect(&host).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    cannot log in to db1 (root@ADDRESS:PORT): tried the key HOME/.ssh/key, the key HOME/.ssh/missing (no such file), a password (there is no terminal to ask for it); it accepts publickey, password
      [xnat::ssh::auth] install your key with `ssh-copy-id -p PORT root@ADDRESS`, name it as `identity` under `[ssh]` in the inventory, or load it with `ssh-add`
    "#);
}
