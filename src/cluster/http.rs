//! One HTTP request over one stream of a host's connection. Knows nothing of what is asked.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::tls::{Greeted, Tls, TlsError};
use crate::approval::Overtaken;
use crate::error::{Exit, Fails, one_line};
use crate::names::HostName;
use crate::secret::Secret;
use crate::transport::{Stream, Transport, TransportError};

/// A service that begins anew is there again after that.
const AGAIN: Duration = Duration::from_millis(500);
/// No answer of ours is anywhere near this; it keeps a wrong port from filling the memory.
const LARGEST_BODY: usize = 4 << 20;

/// How to speak to a service.
#[derive(Clone, Debug)]
pub enum Scheme {
    Plain,
    /// With TLS; and plainly to one that does not know it yet, which a cluster being converted has. The stream ends on
    /// the host itself, inside the SSH connection, so nobody between us and the service can make it seem so.
    Tls(Tls),
    /// It may want to see a certificate, and there is none at hand.
    NoCertificate,
}

/// Which service, on which host, at which port. For error texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As people call it: `Patroni`.
    pub service: &'static str,
    /// As systemd calls it: `patroni`.
    pub unit: &'static str,
    pub host: HostName,
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} (port {})", self.service, self.host, self.port)
    }
}

/// A service that speaks HTTP.
pub struct Http<'a> {
    pub transport: &'a dyn Transport,
    pub place: Place,
    /// The address the host itself is to connect to.
    pub address: &'a str,
    pub scheme: Scheme,
    /// Basic authentication: user and password.
    pub login: Option<(&'a str, &'a Secret)>,
}

/// Status and body, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Whether it came encrypted.
    pub tls: bool,
    pub status: u16,
    pub body: String,
}

impl Http<'_> {
    /// A question may be asked again: Patroni breaks off what it is answering when it takes up another certificate.
    pub async fn get(&self, path: &str) -> Result<Reply, CallError> {
        match self.call(Method::GET, path, None).await {
            Err(CallError::Exchange { .. }) => {
                tokio::time::sleep(AGAIN).await;
                self.call(Method::GET, path, None).await
            }
            answer => answer,
        }
    }

    /// Send one request and read the whole answer. Dropping the future closes the stream.
    pub async fn call(&self, method: Method, path: &str, body: Option<&serde_json::Value>) -> Result<Reply, CallError> {
        let request = self.request(method, path, body)?;
        let stream = self.open().await?;
        let tls = match &self.scheme {
            Scheme::Plain => return self.exchange(stream, request).await,
            Scheme::NoCertificate => return Err(CallError::NoCertificate { place: self.place.clone() }),
            Scheme::Tls(tls) => tls,
        };
        match tls.greet(stream, self.address, self.transport.patience()).await {
            Ok(Greeted::Tls(stream)) => Ok(Reply { tls: true, ..self.exchange(stream, request).await? }),
            Ok(Greeted::Plain) => self.exchange(self.open().await?, request).await,
            Err(TlsError::Stranger(source)) => Err(CallError::Stranger { place: self.place.clone(), source }),
            Err(source) => Err(CallError::Handshake { place: self.place.clone(), source }),
        }
    }

    async fn open(&self) -> Result<Box<dyn Stream>, CallError> {
        match tokio::time::timeout(self.transport.patience(), self.transport.open(self.address, self.place.port)).await
        {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) if refused(&source) => Err(CallError::Refused { place: self.place.clone() }),
            Ok(Err(source)) => Err(CallError::Open { place: self.place.clone(), source: Box::new(source) }),
            Err(_) => Err(CallError::NoConnection { place: self.place.clone(), after: self.transport.patience() }),
        }
    }

    async fn exchange(&self, stream: impl Stream, request: Request<Full<Bytes>>) -> Result<Reply, CallError> {
        match tokio::time::timeout(self.transport.patience(), exchange(stream, request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(source)) => Err(CallError::Exchange { place: self.place.clone(), source }),
            Err(_) => Err(CallError::Silent { place: self.place.clone(), after: self.transport.patience() }),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let fail = |source| CallError::Request { place: self.place.clone(), source };
        let bytes = body.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, authority(self.address, self.place.port))
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .map_err(fail)?;
        if let Some((user, password)) = self.login {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(|e| fail(e.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// The body as JSON when the status is 2xx, otherwise what was answered as an error.
    pub fn json<T: DeserializeOwned>(&self, reply: &Reply) -> Result<T, CallError> {
        self.accepted(reply)?;
        serde_json::from_str(&reply.body).map_err(|source| CallError::Format { place: self.place.clone(), source })
    }

    pub fn accepted(&self, reply: &Reply) -> Result<(), CallError> {
        if (200..300).contains(&reply.status) {
            return Ok(());
        }
        let body: String = reply.body.trim().chars().take(300).collect();
        Err(CallError::Status { place: self.place.clone(), status: reply.status, body })
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn authority(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

async fn exchange(stream: impl Stream, request: Request<Full<Bytes>>) -> Result<Reply, ExchangeError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let ask = async move {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await.map_err(ExchangeError::Body)?;
        Ok(Reply { tls: false, status, body: String::from_utf8_lossy(&body.to_bytes()).into_owned() })
    };
    // The connection's own error, if any, is the one `ask` gets too.
    let (reply, _) = tokio::join!(ask, connection);
    reply
}

/// What can go wrong once the stream stands.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("the HTTP exchange failed")]
    Hyper(#[from] hyper::Error),
    #[error("the answer could not be read to its end")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a question got no usable answer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CallError {
    #[error("nothing listens on port {} of {}", place.port, place.host)]
    #[diagnostic(code(xnat::cluster::refused), help("look at the service: `ssh {} systemctl status {}`", place.host, place.unit))]
    Refused { place: Place },
    #[error("cannot connect to {place}")]
    #[diagnostic(code(xnat::cluster::connect), help("see whether the host answers at all: `ssh {} uptime`", place.host))]
    Open { place: Place, source: Box<TransportError> },
    #[error("cannot connect to {place} within {} s", after.as_secs())]
    #[diagnostic(code(xnat::cluster::no_connection), help("see whether the host answers at all: `ssh {} uptime`", place.host))]
    NoConnection { place: Place, after: Duration },
    #[error("{place} does not answer within {} s", after.as_secs())]
    #[diagnostic(code(xnat::cluster::silent), help("read its log: `ssh {} journalctl -u {} -n 50`", place.host, place.unit))]
    Silent { place: Place, after: Duration },
    #[error("{place} broke off its answer")]
    #[diagnostic(code(xnat::cluster::exchange), help("read its log: `ssh {} journalctl -u {} -n 50`", place.host, place.unit))]
    Exchange { place: Place, source: ExchangeError },
    #[error("{place} shows a certificate that no authority in our vault has signed")]
    #[diagnostic(code(xnat::cluster::stranger), help("bring back the vault that the last apply used"))]
    Stranger { place: Place, source: std::io::Error },
    #[error("no TLS connection to {place}")]
    #[diagnostic(code(xnat::cluster::handshake), help("read its log: `ssh {} journalctl -u {} -n 50`", place.host, place.unit))]
    Handshake { place: Place, source: TlsError },
    #[error("there is no certificate at hand to ask {place} with")]
    #[diagnostic(code(xnat::cluster::no_certificate), help("bring back the vault that the last apply used"))]
    NoCertificate { place: Place },
    #[error("{place} answered {status}: {body}")]
    #[diagnostic(code(xnat::cluster::status), help("read its log: `ssh {} journalctl -u {} -n 50`", place.host, place.unit))]
    Status { place: Place, status: u16, body: String },
    #[error("cannot understand what {place} answered")]
    #[diagnostic(code(xnat::cluster::format), help("see which program listens there: `ssh {} ss -ltnp 'sport = :{}'`", place.host, place.port))]
    Format { place: Place, source: serde_json::Error },
    #[error("cannot understand the statistics of {place}")]
    #[diagnostic(code(xnat::cluster::statistics), help("see which program listens there: `ssh {} ss -ltnp 'sport = :{}'`", place.host, place.port))]
    Statistics { place: Place, source: csv::Error },
    #[error("cannot make a request for {place}")]
    #[diagnostic(code(xnat::cluster::request), help("check the address of {} in the inventory", place.host))]
    Request { place: Place, source: hyper::http::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Overtaken(#[from] Overtaken),
}

impl CallError {
    /// It shows a certificate of an authority that is not ours.
    pub fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger { .. })
    }

    /// As an answer: no connection to the host means that nothing is known of the service.
    pub fn into_answer<T>(self) -> Answer<T> {
        match self {
            Self::Open { .. } | Self::NoConnection { .. } | Self::Request { .. } => Answer::Unknown(one_line(&self)),
            // It is there, and we are not the ones it talks to.
            Self::Stranger { .. } | Self::NoCertificate { .. } => Answer::Unknown(one_line(&self)),
            _ => Answer::Down(one_line(&self)),
        }
    }
}

impl Fails for CallError {
    fn exit(&self) -> Exit {
        match self {
            Self::Open { .. } | Self::NoConnection { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

/// The host itself found nobody listening there, which says something of the service and not of the connection. A
/// forbidden forwarding is not that.
pub(crate) fn refused(error: &TransportError) -> bool {
    matches!(error, TransportError::NobodyListens { .. })
}

impl<T> From<Result<T, CallError>> for Answer<T> {
    fn from(result: Result<T, CallError>) -> Self {
        result.map_or_else(CallError::into_answer, Answer::Known)
    }
}
