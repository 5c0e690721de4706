//! An SSH server on loopback that runs commands with the real `sh`: what the client is tested against.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet, Sig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;

/// What the server is like.
#[derive(Clone, Default)]
pub struct Setup {
    pub host_keys: Vec<PrivateKey>,
    pub authorized: Vec<PublicKey>,
    pub password: Option<&'static str>,
    /// The answer to "Password: " asked with keyboard-interactive.
    pub interactive: Option<&'static str>,
    /// Searched before PATH for what is executed: a place for a fake sudo.
    pub programs: Option<PathBuf>,
    /// Run commands as this user.
    pub uid: Option<u32>,
    /// How many times to say that too many sessions are open.
    pub busy: usize,
    pub preferred: russh::Preferred,
}

/// What the server has seen.
#[derive(Default)]
pub struct Seen {
    pub connections: usize,
    pub commands: Vec<String>,
    pub key_algorithms: Vec<Algorithm>,
    pub passwords: Vec<String>,
}

pub struct Server {
    pub port: u16,
    pub seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

pub fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).expect("a key")
}

impl Server {
    pub async fn start(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::<Mutex<Seen>>::default();
        let mut methods = MethodSet::from(&[MethodKind::PublicKey][..]);
        setup.password.iter().for_each(|_| methods.push(MethodKind::Password));
        setup.interactive.iter().for_each(|_| methods.push(MethodKind::KeyboardInteractive));
        let config = Arc::new(server::Config {
            keys: setup.host_keys.clone(),
            methods,
            preferred: setup.preferred.clone(),
            auth_rejection_time: std::time::Duration::ZERO,
            ..server::Config::default()
        });
        let mut tasks = JoinSet::new();
        let state = seen.clone();
        tasks.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                state.lock().expect("seen").connections += 1;
                let handler = Handler { setup: setup.clone(), seen: state.clone(), channels: HashMap::new() };
                tokio::spawn(server::run_stream(config.clone(), socket, handler));
            }
        });
        Self { port, seen, _tasks: tasks }
    }

    pub fn commands(&self) -> Vec<String> {
        self.seen.lock().expect("seen").commands.clone()
    }
}

struct Handler {
    setup: Setup,
    seen: Arc<Mutex<Seen>>,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

fn verdict(yes: bool) -> Result<Auth, russh::Error> {
    Ok(if yes { Auth::Accept } else { Auth::reject() })
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        verdict(self.setup.authorized.iter().any(|key| key.key_data() == offer.public_key.key_data()))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.seen.lock().expect("seen").key_algorithms.push(key.algorithm.clone());
        verdict(self.setup.authorized.iter().any(|known| known.key_data() == key.public_key.key_data()))
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        self.seen.lock().expect("seen").passwords.push(password.to_owned());
        verdict(self.setup.password == Some(password))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut response) = response else {
            let prompts = vec![("Password: ".into(), false)].into();
            return Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts });
        };
        let answer = response.next().map(|answer| answer.to_vec());
        verdict(answer.as_deref() == self.setup.interactive.map(str::as_bytes))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(left) = self.setup.busy.checked_sub(1) {
            self.setup.busy = left;
            reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        let command = String::from_utf8_lossy(command).into_owned();
        self.seen.lock().expect("seen").commands.push(command.clone());
        if let Some(channel) = self.channels.remove(&id) {
            tokio::spawn(execute(command, channel, session.handle(), self.setup.clone()));
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let address = (host.to_owned(), u16::try_from(port).expect("a port"));
        tokio::spawn(async move {
            match TcpStream::connect(address).await {
                Err(_) => reply.reject(russh::ChannelOpenFailure::ConnectFailed).await,
                Ok(mut socket) => {
                    reply.accept().await;
                    let _ended = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut socket).await;
                }
            }
        });
        Ok(())
    }
}

/// Run a command as sshd does: by the user's shell, its status sent before its last output is.
async fn execute(command: String, channel: Channel<Msg>, handle: server::Handle, setup: Setup) {
    let id = channel.id();
    let mut child = shell(&command, &setup);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (incoming, outgoing) = channel.split();
    let feeding = tokio::spawn(feed(incoming, stdin));
    let status = async {
        let status = child.wait().await.expect("a status");
        let signal = |signal| handle.exit_signal_request(id, signal, false, String::new(), String::new());
        let _gone = match (status.code(), status.signal()) {
            (Some(code), _) => handle.exit_status_request(id, code.cast_unsigned()).await,
            (None, Some(15)) => signal(Sig::TERM).await,
            (None, _) => signal(Sig::KILL).await,
        };
    };
    tokio::join!(
        copy(stdout.expect("a pipe"), &outgoing, None),
        copy(stderr.expect("a pipe"), &outgoing, Some(1)),
        status
    );
    let _gone = (outgoing.eof().await, outgoing.close().await);
    feeding.abort();
}

fn shell(command: &str, setup: &Setup) -> Child {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {command}")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(programs) = &setup.programs {
        shell.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").expect("a PATH")));
    }
    if let Some(uid) = setup.uid {
        shell.uid(uid);
    }
    shell.spawn().expect("sh starts")
}

async fn feed(mut incoming: ChannelReadHalf, mut stdin: Option<ChildStdin>) {
    while let Some(message) = incoming.wait().await {
        match (message, &mut stdin) {
            // A child that reads no more is its own affair.
            (ChannelMsg::Data { data }, Some(pipe)) => drop(pipe.write_all(&data).await),
            (ChannelMsg::Eof | ChannelMsg::Close, _) => stdin = None,
            _ => {}
        }
    }
}

async fn copy(mut pipe: impl AsyncRead + Unpin, channel: &ChannelWriteHalf<Msg>, extended: Option<u32>) {
    let mut buffer = vec![0; 32768];
    loop {
        let n = pipe.read(&mut buffer).await.expect("readable");
        // A client that has gone reads no more.
        let _gone = match (n, extended) {
            (0, _) => return,
            (n, None) => channel.data(&buffer[..n]).await,
            (n, Some(kind)) => channel.extended_data(kind, &buffer[..n]).await,
        };
    }
}

/// Stands between client and server and can be cut, or go silent.
pub struct Proxy {
    pub port: u16,
    tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                streams.spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", target)).await.expect("connected");
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, tasks }
    }

    pub fn cut(&mut self) {
        self.tasks.abort_all();
    }
}

/// Accepts connections and says nothing: a firewall that swallows, for all a client can tell.
pub async fn silence() -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            kept.push(socket);
        }
    });
    (port, tasks)
}

/// Sends back what it gets.
pub async fn echo() -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ended = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (port, tasks)
}
