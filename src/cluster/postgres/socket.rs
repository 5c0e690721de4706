//! The superuser comes in over the local socket only, as the system's user `postgres` and without a password. From here
//! that is a script on the host which hands bytes on between its own input and output and the socket.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::{Login, SUPERUSER, SqlError};
use crate::cluster::http::Place;
use crate::quote::sh;
use crate::transport::{Script, Stream, Transport};

/// Where Debian and our settings have it.
const DIRECTORY: &str = "/var/run/postgresql";
/// How long the host may take to begin: where it allows one session at a time, others come first.
const BEGINNING: Duration = Duration::from_secs(15);
/// Longer than anything the script says before the session begins.
const LONGEST: usize = 200;

const DIAL: &str = r#"
$| = 1;
dial($ARGV[0]);
"#;

/// `dial PATH`: connects `$server`. AF_UNIX and SOCK_STREAM as numbers: loading the module that knows them takes three
/// times as long as all the rest.
pub(super) const SOCKET: &str = r#"
sub dial {
    socket($server, 1, 1, 0) or exit 1;
    connect($server, pack('S a108', 1, $_[0])) or print("none\n"), exit;
}
"#;

/// Each direction is a process of its own, so that neither waits for the other. perl-base and util-linux are essential
/// packages: they are everywhere.
pub(super) const COPY: &str = r#"
print "ready\n";
sub copy {
    my ($from, $to) = @_;
    while (my $length = sysread $from, my $bytes, 65536) {
        for (my $done = 0; $done < $length;) {
            $done += syswrite($to, $bytes, $length - $done, $done) || return;
        }
    }
}
defined(my $child = fork) or exit 1;
if (!$child) { copy($server, *STDOUT); kill TERM => getppid; exit }
copy(*STDIN, $server);
shutdown $server, 1;
waitpid $child, 0;
"#;

/// A stream to the server's socket.
pub(super) async fn open(transport: &dyn Transport, login: &Login<'_>) -> Result<Box<dyn Stream>, SqlError> {
    let script = Script::as_root("talk to PostgreSQL", script(login.port));
    through(transport, script, login.place()).await
}

/// A stream through a relay that says `ready` first, or `none` when nobody listens.
pub(super) async fn through(
    transport: &dyn Transport,
    script: Script,
    place: Place,
) -> Result<Box<dyn Stream>, SqlError> {
    let mut stream = match transport.pipe(script.timeout(BEGINNING)).await {
        Ok(stream) => stream,
        Err(source) => return Err(SqlError::Open { place, source: Box::new(source) }),
    };
    match tokio::time::timeout(transport.patience(), first_line(&mut stream)).await {
        Ok(Ok(line)) if line == "ready" => Ok(stream),
        Ok(Ok(line)) if line == "none" => Err(SqlError::Refused { place }),
        Ok(Ok(line)) => Err(SqlError::Relay { place, said: line }),
        Ok(Err(source)) => Err(SqlError::Relay { place, said: source.to_string() }),
        Err(_) => Err(SqlError::NoConnection { place, after: transport.patience() }),
    }
}

fn script(port: u16) -> String {
    let socket = sh(&format!("{DIRECTORY}/.s.PGSQL.{port}"));
    format!(
        "if ! [ -S {socket} ]; then echo none; exit; fi\n\
         exec setpriv --reuid={SUPERUSER} --regid={SUPERUSER} --init-groups perl -e {relay} {socket}",
        relay = sh(&[SOCKET, DIAL, COPY].concat()),
    )
}

async fn first_line(stream: &mut Box<dyn Stream>) -> std::io::Result<String> {
    let mut line = Vec::new();
    while line.len() < LONGEST {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    /// The relay alone, as it runs on a host: both directions, more than a pipe holds, and an end at either side.
    #[test]
    fn bytes_go_both_ways_until_either_side_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("read to its end");
            stream.write_all(&all).expect("sent back");
            all.len()
        });
        let mut relay = Command::new("perl");
        relay.arg("-e").arg([SOCKET, DIAL, COPY].concat()).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut relay = relay.spawn().expect("perl is everywhere");
        let sent = vec![b'x'; 1 << 20];
        relay.stdin.take().expect("a pipe").write_all(&sent).expect("written");
        let output = relay.wait_with_output().expect("it ends");
        assert_eq!(server.join().expect("no panic"), sent.len());
        assert_eq!(output.stdout.strip_prefix(b"ready\n"), Some(sent.as_slice()));
    }

    #[test]
    fn without_a_server_it_says_so() {
        let output = Command::new("perl")
            .arg("-e")
            .arg([SOCKET, DIAL, COPY].concat())
            .arg("/nowhere")
            .output()
            .expect("perl is everywhere");
        assert_eq!(output.stdout, b"none\n");
    }
}
