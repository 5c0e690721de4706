//! A PostgreSQL that is none of ours, as its superuser: over the socket on its machine, as whoever owns the socket, also
//! into a container; or over the network as the leader sees it. Nothing is installed there.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls};

use super::socket::{self, COPY, SOCKET};
use super::{SqlError, begin};
use crate::cluster::http::{Place, refused};
use crate::cluster::shown::whoever_it_is;
use crate::inventory::model::Escalate;
use crate::inventory::{Reach, Source};
use crate::names::HostName;
use crate::quote::sh;
use crate::secret::Secret;
use crate::transport::{PATIENCE, Script, Stream, Transport};

/// Root can go anywhere, and who is let in without a password is the socket's owner: the directory is entered as the one,
/// and the connection made as the other. That is so in a container too, whose users this machine may not know.
const DIAL: &str = r#"
$| = 1;
my ($root, $directory, $socket) = @ARGV;
$root eq "" or chroot $root or print("only root can enter a container: $!\n"), exit;
chdir $directory or print("none\n"), exit;
my @found = stat $socket or print("none\n"), exit;
if ($> == 0) { $) = "$found[5] $found[5]"; $> = $found[4]; }
dial($socket);
"#;

/// Where the data and its WAL are, without links: in a container they lead from its own root. WAL may be elsewhere; before
/// version 10 it is called otherwise.
const WHERE: &str = r#"
use Cwd;
my ($root, $data) = @ARGV;
$root eq "" or chroot $root or exit 1;
for my $part (".", "pg_wal", "pg_xlog") { print getcwd, "\n" if chdir "$data/$part" }
"#;

/// As few as every connection allows at once, less one for a script that is run beside.
const AT_ONCE: usize = 3;

/// A name is wanted for TLS, and not looked at.
const NOBODY: &str = "source.invalid";

/// As `libpq` has it: TLS did not come about, or a rule there lets nobody in that way. A wrong password is wrong in either.
fn may_do_plainly(error: &SqlError) -> bool {
    let rejected = Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    match error {
        SqlError::Login { source, .. } => source.code().is_none() || source.code() == rejected,
        SqlError::Silent { .. } => true,
        _ => false,
    }
}

pub struct Foreign<'a> {
    source: &'a Source,
    way: Way,
}

enum Way {
    /// More connections are made when more sessions are wanted than one allows.
    Ssh(Mutex<Vec<Line>>),
    /// From the first of these that answers.
    Network { from: Vec<Arc<dyn Transport>>, password: Secret },
}

struct Line {
    transport: Arc<dyn Transport>,
    places: Arc<Semaphore>,
}

impl Line {
    fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl<'a> Foreign<'a> {
    /// Through a connection to its machine.
    pub fn over_ssh(source: &'a Source, machine: Arc<dyn Transport>) -> Self {
        Self { source, way: Way::Ssh(Mutex::new(vec![Line::new(machine)])) }
    }

    /// As it is seen from other machines: the first one, as long as that answers.
    pub fn over_network(source: &'a Source, from: Vec<Arc<dyn Transport>>, password: Secret) -> Self {
        Self { source, way: Way::Network { from, password } }
    }

    pub fn reach(&self) -> Reach {
        self.source.reach
    }

    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// None over a socket.
    pub fn password(&self) -> Option<&Secret> {
        match &self.way {
            Way::Network { password, .. } => Some(password),
            Way::Ssh(_) => None,
        }
    }

    fn place(&self) -> Place {
        let host = HostName::new(&self.source.machine.address);
        Place { service: "PostgreSQL", unit: "postgresql", host, port: self.source.port }
    }

    /// Bytes to and from the server, before anybody has logged in.
    pub async fn open(&self) -> Result<Box<dyn Stream>, SqlError> {
        match &self.way {
            Way::Ssh(lines) => {
                let (transport, permit) = self.line(lines).await?;
                let script = self.script();
                let stream = socket::through(transport.as_ref(), script, self.place()).await?;
                Ok(Box::new(Held { stream, _place: permit }))
            }
            Way::Network { from, .. } => {
                let mut first = None;
                for transport in from {
                    match self.opened_from(transport).await {
                        Err(error @ (SqlError::Open { .. } | SqlError::NoConnection { .. })) => {
                            first.get_or_insert(error);
                        }
                        done => return done.map_err(|error| first.unwrap_or(error)),
                    }
                }
                Err(first.unwrap_or_else(|| SqlError::Refused { place: self.place() }))
            }
        }
    }

    async fn opened_from(&self, transport: &Arc<dyn Transport>) -> Result<Box<dyn Stream>, SqlError> {
        let (address, port, place) = (self.source.machine.address.as_str(), self.source.port, self.place());
        match tokio::time::timeout(transport.patience(), transport.open(address, port)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) if refused(&source) => Err(SqlError::Refused { place }),
            Ok(Err(source)) => Err(SqlError::Open { place, source: Box::new(source) }),
            Err(_) => Err(SqlError::NoConnection { place, after: transport.patience() }),
        }
    }

    /// The same over a connection that nothing else goes through: what is not read there keeps all others in it waiting, and
    /// a program may read from one stream only when it has another.
    pub async fn open_alone(&self) -> Result<Alone, SqlError> {
        let Way::Ssh(lines) = &self.way else { return Ok(Alone { stream: self.open().await?, transport: None }) };
        let first = lines.lock().await.first().expect("there is the first connection").transport.clone();
        let transport = self.another(&first).await?;
        let stream = socket::through(transport.as_ref(), self.script(), self.place()).await?;
        Ok(Alone { stream, transport: Some(transport) })
    }

    async fn another(&self, like: &Arc<dyn Transport>) -> Result<Arc<dyn Transport>, SqlError> {
        like.again().await.map_err(|error| SqlError::Open { place: self.place(), source: Box::new(error) })
    }

    /// Log in to a database. The session ends when the client is dropped.
    pub async fn connect(&self, database: &str) -> Result<Client, SqlError> {
        let mut config = Config::new();
        config.dbname(database).application_name("xnat-provision").user(&self.source.user).ssl_mode(SslMode::Disable);
        let Way::Network { password, .. } = &self.way else { return self.plainly(&config).await };
        config.password(password.expose());
        match self.encrypted(config.clone()).await {
            Err(first) if may_do_plainly(&first) => self.plainly(&config).await.or(Err(first)),
            done => done,
        }
    }

    async fn plainly(&self, config: &Config) -> Result<Client, SqlError> {
        begin(config, self.open().await?, NoTls, (self.place(), PATIENCE)).await
    }

    /// If the server can, which is all that `pg_dump` asks for.
    async fn encrypted(&self, mut config: Config) -> Result<Client, SqlError> {
        let Ok(mut tls) = whoever_it_is() else { return self.plainly(&config).await };
        config.ssl_mode(SslMode::Prefer);
        let Ok(tls) = MakeTlsConnect::<Box<dyn Stream>>::make_tls_connect(&mut tls, NOBODY);
        begin(&config, self.open().await?, tls, (self.place(), PATIENCE)).await
    }

    /// A connection with a place left.
    async fn line(&self, lines: &Mutex<Vec<Line>>) -> Result<(Arc<dyn Transport>, OwnedSemaphorePermit), SqlError> {
        let mut lines = lines.lock().await;
        for line in lines.iter() {
            if let Ok(permit) = line.places.clone().try_acquire_owned() {
                return Ok((line.transport.clone(), permit));
            }
        }
        let first = &lines.first().expect("there is the first connection").transport;
        let line = Line::new(self.another(first).await?);
        let permit = line.places.clone().try_acquire_owned().expect("nobody has taken any");
        let transport = line.transport.clone();
        lines.push(line);
        Ok((transport, permit))
    }

    fn script(&self) -> Script {
        let Source { socket, port, .. } = self.source;
        let name = format!(".s.PGSQL.{port}");
        let text = format!(
            "{}exec perl -e {} \"$root\" {} {}",
            self.root(),
            sh(&[SOCKET, DIAL, COPY].concat()),
            sh(socket),
            sh(&name)
        );
        self.on_its_machine("talk to the source's PostgreSQL", text)
    }

    /// `root`, as the machine has it: empty, or that of the container. When there is none that is said.
    fn root(&self) -> String {
        let Source { container, engine, .. } = self.source;
        match container {
            None => "root=\n".to_owned(),
            Some(name) => format!(
                "pid=$({engine} inspect --type container --format '{{{{.State.Pid}}}}' {name} 2>/dev/null) && [ \"$pid\" -gt 0 ] \
                 || {{ echo none; exit; }}\nroot=/proc/$pid/root\n",
                engine = engine.name(),
                name = sh(name),
            ),
        }
    }

    fn on_its_machine(&self, title: &str, text: String) -> Script {
        if let Some(user) = &self.source.sudo_as {
            return Script::as_login(title, format!("exec sudo -n -u {} -- sh -c {}\n", sh(user), sh(&text)));
        }
        match self.source.machine.ssh.escalate {
            Escalate::None => Script::as_login(title, text),
            Escalate::Sudo => Script::as_root(title, text),
        }
    }

    /// Bytes that are free where it has its data; none when its machine cannot be asked.
    pub async fn free(&self, data: &str) -> Option<u64> {
        let Way::Ssh(lines) = &self.way else { return None };
        let (transport, _place) = self.line(lines).await.ok()?;
        let text = format!(
            "{}perl -e {} \"$root\" {} | while read -r it; do df -kP \"$root$it\" | tail -n 1; done\n",
            self.root(),
            sh(WHERE),
            sh(data)
        );
        let said = transport.run(self.on_its_machine("look for space on the source", text)).await.ok()?;
        let kilobytes = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
        let free: Option<Vec<u64>> = said.stdout.lines().map(kilobytes).collect();
        Some(free?.into_iter().min()?.saturating_mul(1024))
    }

    /// The connections made here; the first is somebody else's.
    pub async fn close(&self) {
        if let Way::Ssh(lines) = &self.way {
            for line in lines.lock().await.drain(..).skip(1) {
                line.transport.close().await;
            }
        }
    }
}

/// A stream with the connection that is its alone.
pub struct Alone {
    pub stream: Box<dyn Stream>,
    transport: Option<Arc<dyn Transport>>,
}

impl Alone {
    pub async fn close(self) {
        if let Some(transport) = self.transport {
            transport.close().await;
        }
    }
}

/// A stream that keeps its place until it ends.
struct Held {
    stream: Box<dyn Stream>,
    _place: OwnedSemaphorePermit,
}

mod io {
    use std::io::Result;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Held;

    impl AsyncRead for Held {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Held {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, buf)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
