//! Scripts and streams over a connection.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xnat_provision::quote;
use xnat_provision::transport::{Output, Script, Stream, Transport};

use super::server::{Proxy, echo};
use super::*;

async fn connected(bench: &Bench) -> (Server, SshConnection) {
    let server = Server::start(bench.setup()).await;
    let connection = bench.connect(&bench.host(server.port)).await.expect("connected");
    (server, connection)
}

#[tokio::test]
async fn output_status_and_nothing_in_argv() {
    let bench = Bench::new();
    let (server, connection) = connected(&bench).await;
    let output = connection.run(Script::as_root("try", "echo out; echo err >&2; cat; exit 7")).await.expect("ran");
    assert_eq!(output, Output { status: 7, stdout: "out\n".into(), stderr: "err\n".into() });
    assert_eq!(server.commands(), ["sh -s"]);
}

/// As with `MaxSessions 1`, when sshd has not noticed yet that the command before is over.
#[tokio::test]
async fn a_server_with_too_many_sessions_is_asked_again() {
    let bench = Bench::new();
    let server = Server::start(Setup { busy: 3, ..bench.setup() }).await;
    let connection = bench.connect(&bench.host(server.port)).await.expect("connected");
    assert!(connection.run(Script::as_root("try", "true")).await.expect("ran").ok());
}

#[tokio::test]
async fn a_signal_is_128_and_its_number() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let output = connection.run(Script::as_root("try", "echo before; kill -TERM $$; sleep 5")).await.expect("ran");
    assert_eq!((output.status, output.stdout.as_str()), (143, "before\n"));
}

#[tokio::test]
async fn much_in_and_much_out() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = bench.path("body");
    let text = format!("base64 -d > {} {}", quote::sh(&file.display().to_string()), quote::heredoc_base64(&body));
    assert!(connection.run(Script::as_root("write", text)).await.expect("ran").ok());
    assert!(std::fs::read(&file).expect("written") == body);
    let output = connection.run(Script::as_root("read", format!("base64 {}", file.display()))).await.expect("ran");
    assert_eq!(output.stdout.len(), 5_000_000_usize.div_ceil(3) * 4 + (5_000_000_usize.div_ceil(3) * 4).div_ceil(76));
}

#[tokio::test]
async fn a_script_that_does_not_read_all_it_is_given() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let text = format!("exit 3\n: {}", quote::heredoc_base64(&vec![0; 3_000_000]));
    assert_eq!(connection.run(Script::as_root("leave", text)).await.expect("ran").status, 3);
}

#[tokio::test]
async fn more_output_than_anybody_wants() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let error = connection.run(Script::as_root("flood", "yes")).await.expect_err("too much");
    assert!(matches!(error, TransportError::TooMuchOutput { .. }), "{error}");
    assert!(connection.run(Script::as_root("go on", "true")).await.expect("the connection lives on").ok());
}

#[tokio::test]
async fn a_deadline() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let script = Script::as_root("install packages", "sleep 5").timeout(Duration::from_millis(200));
    let error = connection.run(script).await.expect_err("late");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    "install packages" did not end on db1 (root@ADDRESS:PORT) within 0.2 s; it may still be running there
      [xnat::ssh::deadline] see what it is doing with `ssh -p PORT root@ADDRESS ps -ef --forest`, and run again when it is done
    "#);
    assert!(connection.run(Script::as_root("go on", "true")).await.expect("the connection lives on").ok());
}

#[tokio::test]
async fn a_connection_that_dies() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let mut proxy = Proxy::to(server.port).await;
    let connection = Arc::new(bench.connect(&bench.host(proxy.port)).await.expect("connected"));
    let mark = bench.path("started");
    let text = format!("touch {}; sleep 30", mark.display());
    let running = tokio::spawn({
        let connection = connection.clone();
        async move { connection.run(Script::as_root("wait", text)).await }
    });
    until(|| mark.exists()).await;
    proxy.cut();
    let error = running.await.expect("no panic").expect_err("lost");
    assert!(matches!(error, TransportError::Lost { .. }) && error.retryable(), "{error}");
    let error = connection.run(Script::as_root("again", "true")).await.expect_err("still lost");
    insta::assert_snapshot!(shown(&error, bench.home.path()), @r#"
    the connection to db1 (root@ADDRESS:PORT) was lost during "again": the host closed it
      [xnat::ssh::lost] run the same command again: what is done already is not done twice
    "#);
    let error = connection.open("127.0.0.1", 1).await.expect_err("lost");
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
}

/// Wait for a condition; the test's own deadline is nextest's.
async fn until(condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_script_cut_in_the_middle_runs_nothing() {
    let bench = Bench::new();
    let server = Server::start(bench.setup()).await;
    let mut proxy = Proxy::to(server.port).await;
    let connection = bench.connect(&bench.host(proxy.port)).await.expect("connected");
    let mark = bench.path("ran");
    // More than the window of the channel, so that it cannot all be under way when the wire is cut.
    let text = format!("touch {}\n: {}", mark.display(), quote::heredoc_base64(&vec![7; 30_000_000]));
    let running = tokio::spawn(async move { connection.run(Script::as_root("write", text)).await });
    until(|| !server.commands().is_empty()).await;
    proxy.cut();
    let error = running.await.expect("no panic").expect_err("lost");
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    // The shell at the other end has its end of file now; give it the time to do something wrong.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!mark.exists());
}

async fn say(stream: &mut Box<dyn Stream>, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("written");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.expect("an answer");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn streams_to_ports_as_the_host_sees_them() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let (port, _echo) = echo().await;
    let mut stream = connection.open("127.0.0.1", port).await.expect("open");
    assert_eq!(say(&mut stream, "hello").await, "hello");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let error = connection.open("127.0.0.1", free).await.expect_err("refused");
    assert!(matches!(error, TransportError::NobodyListens { .. }) && error.retryable(), "{error}");
}

#[tokio::test]
async fn round_trips_are_waves() {
    let bench = Bench::new();
    let (_server, connection) = connected(&bench).await;
    let (port, _echo) = echo().await;
    let connection: Arc<dyn Transport> = Arc::new(connection);
    assert_eq!(connection.round_trips(), 0);
    connection.run(Script::as_root("facts", "true")).await.expect("ran");
    assert_eq!(connection.round_trips(), 1);
    let talk = |text: &'static str| {
        let connection = connection.clone();
        async move {
            let mut stream = connection.open("127.0.0.1", port).await.expect("open");
            (say(&mut stream, text).await, stream)
        }
    };
    let kept = futures::future::join_all([talk("one"), talk("two"), talk("three")]).await;
    assert_eq!(connection.round_trips(), 2);
    connection.run(Script::as_root("probe", "true")).await.expect("ran");
    assert_eq!(connection.round_trips(), 3, "streams kept open do not hide what comes after");
    drop(kept);
}

#[tokio::test]
async fn a_script_can_be_talked_to_until_its_stream_is_dropped() {
    let bench = Bench::new();
    let (server, connection) = connected(&bench).await;
    let gone = bench.path("gone");
    let text = format!("echo hello\ncat\necho bye >{}", gone.display());
    let mut stream = connection.pipe(Script::as_root("talk", text)).await.expect("begun");
    stream.write_all(b"one\ntwo\n").await.expect("written");
    let mut said = vec![0; "hello\none\ntwo\n".len()];
    stream.read_exact(&mut said).await.expect("read");
    assert_eq!(String::from_utf8_lossy(&said), "hello\none\ntwo\n");
    assert!(!gone.exists());
    drop(stream);
    for _ in 0..500 {
        if gone.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(gone.exists(), "the script saw its input end");
    assert_eq!(server.commands(), ["sh -s"]);
}
