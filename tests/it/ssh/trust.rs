//! Host keys: always verified.

use super::*;

fn known(bench: &Bench) -> String {
    std::fs::read_to_string(bench.path("known_hosts")).expect("there")
}

fn accepting(bench: &Bench) -> SshConnector {
    SshConnector::new(Options { new_host_keys: NewHostKeys::Accept, ..bench.options() })
}

#[tokio::test]
async fn an_unknown_host_is_refused_with_two_ways_forward() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let error = bench.connect(&bench.stranger(server.port)).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    the host key of db1 (root@ADDRESS:PORT) is not known: it is ssh-ed25519 SHA256:…, and HOME/.ssh/known_hosts or HOME/.ssh/global_known_hosts has no key for [ADDRESS]:PORT
      [xnat::ssh::host_key::unknown] compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host itself, then write `fingerprint = "SHA256:…"` under its `[[host]]` in the inventory, or run again with `--accept-new-host-keys` to trust what is there now
    "#);
    assert!(error.to_string().contains(&fingerprint(&bench.host_key)));
    assert!(server.seen.lock().expect("seen").key_algorithms.is_empty(), "it saw our key");
}

#[tokio::test]
async fn a_new_key_is_learned_once_and_then_known() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let host = bench.stranger(server.port);
    let connector = accepting(&bench);
    let (one, two) = tokio::join!(connector.connect(&host), connector.connect(&host));
    one.expect("connected");
    two.expect("connected");
    let key = bench.host_key.public_key().to_openssh().expect("a key");
    assert_eq!(known(&bench), format!("[127.0.0.1]:{} {}\n", server.port, key.trim_end()));
    bench.connect(&host).await.expect("known now");
}

#[tokio::test]
async fn a_changed_key_is_refused_even_when_new_ones_are_accepted() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let other = server::new_key().public_key().to_openssh().expect("a key");
    let before = format!("# a comment\n[127.0.0.1]:{} {other}\n", server.port);
    bench.write("known_hosts", &before);
    let error = accepting(&bench).connect(&bench.stranger(server.port)).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    the host key of db1 (root@ADDRESS:PORT) HAS CHANGED: it is now ssh-ed25519 SHA256:…, but HOME/.ssh/known_hosts:2 has another one; somebody may be between you and the host
      [xnat::ssh::host_key::changed] find out why before anything else; if the host was reinstalled, remove the old key with `ssh-keygen -R '[ADDRESS]:PORT' -f HOME/.ssh/known_hosts` and run again
    "#);
    assert_eq!(known(&bench), before);
    assert!(!error.retryable());
}

#[tokio::test]
async fn a_pinned_key_counts_alone() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let mut host = bench.stranger(server.port);
    host.ssh.fingerprints = vec![fingerprint(&server::new_key())];
    accepting(&bench).connect(&bench.stranger(server.port)).await.expect("learned, so that known_hosts knows it");
    let error = accepting(&bench).connect(&host).await.expect_err("refused");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    the host key of db1 (root@ADDRESS:PORT) is not the one pinned in the inventory: it showed SHA256:…, pinned is SHA256:…
      [xnat::ssh::host_key::pinned] compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host itself; correct `fingerprint` in the inventory only if that one is right
    "#);
}

#[tokio::test]
async fn a_pin_for_the_hosts_other_key() {
    let bench = Bench::new();
    let rsa = PrivateKey::from_openssh(include_str!("../../fixtures/ssh/id_rsa")).expect("a key");
    let server = Server::start(Setup { host_keys: vec![bench.host_key.clone(), rsa.clone()], ..bench.setup() }).await;
    let mut host = bench.stranger(server.port);
    host.ssh.fingerprints = vec![fingerprint(&rsa)];
    bench.connect(&host).await.expect("connected");
}

#[tokio::test]
async fn the_kind_of_key_that_is_known_is_asked_for() {
    let bench = Bench::new();
    let rsa = PrivateKey::from_openssh(include_str!("../../fixtures/ssh/id_rsa")).expect("a key");
    let server = Server::start(Setup { host_keys: vec![bench.host_key.clone(), rsa.clone()], ..bench.setup() }).await;
    let line = rsa.public_key().to_openssh().expect("a key");
    bench.write("known_hosts", &format!("[127.0.0.1]:{} {line}\n", server.port));
    bench.connect(&bench.stranger(server.port)).await.expect("connected");
    assert_eq!(server.seen.lock().expect("seen").connections, 1);
}

#[tokio::test]
async fn another_known_hosts_file_from_the_inventory() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let line = bench.host_key.public_key().to_openssh().expect("a key");
    bench.write("mine", &format!("[127.0.0.1]:{} {line}\n", server.port));
    let mut host = bench.stranger(server.port);
    host.ssh.known_hosts = Some(bench.path("mine"));
    bench.connect(&host).await.expect("connected");
}

#[tokio::test]
async fn old_cryptography_is_refused() {
    let bench = Bench::new();
    let preferred = russh::Preferred { kex: vec![russh::kex::DH_G14_SHA1].into(), ..russh::Preferred::DEFAULT };
    let server = Server::start(Setup { preferred, ..bench.setup() }).await;
    let error = bench.connect(&bench.host(server.port)).await.expect_err("refused");
    assert!(matches!(error, TransportError::Handshake { .. }), "{error}");
    assert!(error.to_string().contains("diffie-hellman-group14-sha1"), "{error}");
}

#[tokio::test]
async fn chacha_without_strict_key_exchange_is_refused() {
    let bench = Bench::new();
    let preferred = russh::Preferred {
        kex: vec![russh::kex::CURVE25519].into(),
        cipher: vec![russh::cipher::CHACHA20_POLY1305].into(),
        ..russh::Preferred::DEFAULT
    };
    let server = Server::start(Setup { preferred, ..bench.setup() }).await;
    let error = bench.connect(&bench.host(server.port)).await.expect_err("refused");
    assert!(error.to_string().contains("strict key exchange"), "{error}");
}
