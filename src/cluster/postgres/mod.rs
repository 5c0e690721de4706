//! PostgreSQL through a stream of a host's connection, with tokio-postgres: as superuser over its socket (`socket`), as
//! the application over the network. `server` reads what a member says of
//! itself, `objects` is what the database should hold, `excess` sees roles that can do more, `settings` judges parameter changes, `activity` sees what is under way, `altered` what somebody set with ALTER SYSTEM, `vitals` what wears out; `foreign` is a server that is none of ours. Nothing is ever dropped.

pub mod activity;
pub mod altered;
pub mod excess;
pub mod foreign;
mod inside;
pub mod objects;
pub mod scram;
pub mod server;
pub mod settings;
mod socket;
pub mod vitals;

pub use crate::quote::{identifier, literal};
pub use inside::{Inside, administrator, look};
pub use settings::{
    ConfigChange, Order, config_diff, needs_restart, order, patch, unasked_parameters, unasked_settings,
};

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls};

use super::answer::Answer;
use super::http::{Place, refused};
use super::tls::Tls;
use crate::approval::Overtaken;
use crate::error::{Exit, Fails, one_line};
use crate::names::HostName;
use crate::secret::Secret;
use crate::transport::{Stream, Transport, TransportError};

/// The superuser, as Debian and Patroni call it.
pub const SUPERUSER: &str = "postgres";

/// Where and as whom to log in.
#[derive(Clone)]
pub struct Login<'a> {
    pub host: HostName,
    pub port: u16,
    pub way: Way<'a>,
    pub database: &'a str,
}

/// How a server is reached, and as whom.
#[derive(Clone)]
pub enum Way<'a> {
    /// As superuser, over the local socket.
    Socket,
    /// With a password.
    Network {
        /// The address the host itself is to connect to.
        address: &'a str,
        user: &'a str,
        password: &'a Secret,
        /// None only in a cluster without TLS.
        tls: Option<Tls>,
    },
}

impl Login<'_> {
    fn place(&self) -> Place {
        Place { service: "PostgreSQL", unit: "patroni", host: self.host.clone(), port: self.port }
    }
}

/// Log in. The session ends when the client is dropped.
pub async fn connect(transport: &dyn Transport, login: &Login<'_>) -> Result<Client, SqlError> {
    let patience = transport.patience();
    match &login.way {
        Way::Socket => over(socket::open(transport, login).await?, login, patience).await,
        Way::Network { address, .. } => {
            let place = login.place();
            let stream = match timeout(patience, transport.open(address, login.port)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(source)) if refused(&source) => return Err(SqlError::Refused { place }),
                Ok(Err(source)) => return Err(SqlError::Open { place, source: Box::new(source) }),
                Err(_) => return Err(SqlError::NoConnection { place, after: patience }),
            };
            over(stream, login, patience).await
        }
    }
}

/// The same over a stream that leads there.
pub async fn over(stream: Box<dyn Stream>, login: &Login<'_>, patience: Duration) -> Result<Client, SqlError> {
    let place = login.place();
    let mut config = Config::new();
    config.dbname(login.database).application_name("xnat-provision");
    match &login.way {
        Way::Socket => {
            config.user(SUPERUSER).ssl_mode(SslMode::Disable);
            begin(&config, stream, NoTls, (place, patience)).await
        }
        Way::Network { address, user, password, tls } => {
            config.user(*user).password(password.expose());
            let Some(tls) = tls else {
                config.ssl_mode(SslMode::Disable);
                return begin(&config, stream, NoTls, (place, patience)).await;
            };
            config.ssl_mode(SslMode::Require);
            let Ok(tls) = MakeTlsConnect::<Box<dyn Stream>>::make_tls_connect(&mut tls.postgres(), address);
            begin(&config, stream, tls, (place, patience)).await
        }
    }
}

async fn begin<T>(
    config: &Config,
    stream: Box<dyn Stream>,
    tls: T,
    (place, patience): (Place, Duration),
) -> Result<Client, SqlError>
where
    T: TlsConnect<Box<dyn Stream>>,
    T::Stream: Send + 'static,
{
    match timeout(patience, config.connect_raw(stream, tls)).await {
        Ok(Ok((client, connection))) => {
            // It ends with the client; an error of its own reaches the client's next query.
            tokio::spawn(connection);
            Ok(client)
        }
        Ok(Err(source)) => {
            Err(SqlError::Login { place, user: config.get_user().unwrap_or_default().to_owned(), source })
        }
        Err(_) => Err(SqlError::Silent { place }),
    }
}

/// How long one question may take.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Bound a query's time.
pub(crate) async fn within<T>(
    limit: Duration,
    place: &Place,
    what: &str,
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, SqlError> {
    match tokio::time::timeout(limit, query).await {
        Ok(result) => result.map_err(|source| SqlError::Query { place: place.clone(), what: what.to_owned(), source }),
        Err(_) => Err(SqlError::Silent { place: place.clone() }),
    }
}

/// Why PostgreSQL could not be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SqlError {
    #[error("nothing listens on port {} of {}", place.port, place.host)]
    #[diagnostic(code(xnat::postgres::refused), help("see what it does: `ssh {} journalctl -u {} -n 50`", place.host, place.unit))]
    Refused { place: Place },
    #[error("cannot connect to {place}")]
    #[diagnostic(code(xnat::postgres::connect), help("see whether the host answers at all: `ssh {} uptime`", place.host))]
    Open { place: Place, source: Box<TransportError> },
    #[error("cannot connect to {place} within {} s", after.as_secs())]
    #[diagnostic(code(xnat::postgres::no_connection), help("see whether the host answers at all: `ssh {} uptime`", place.host))]
    NoConnection { place: Place, after: Duration },
    #[error("cannot reach the socket of {place} as the system's user postgres: {said:?}")]
    #[diagnostic(code(xnat::postgres::relay), help("see whether it works by hand: `ssh {} sudo -u postgres psql -c \"'select 1'\"`", place.host))]
    Relay { place: Place, said: String },
    #[error("{place} does not answer in time")]
    #[diagnostic(code(xnat::postgres::silent), help("see what it is busy with: `ssh {} sudo -u postgres psql -c \"'select * from pg_stat_activity'\"`", place.host))]
    Silent { place: Place },
    #[error("{place} did not let {user} in")]
    #[diagnostic(code(xnat::postgres::login), help("read its log: `ssh {} journalctl -u {} -n 50`", place.host, place.unit))]
    Login { place: Place, user: String, source: tokio_postgres::Error },
    #[error("cannot {what} on {place}")]
    #[diagnostic(code(xnat::postgres::query), help("{}", query_help(source, place)))]
    Query { place: Place, what: String, source: tokio_postgres::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Overtaken(#[from] Overtaken),
}

impl SqlError {
    /// There is no such database.
    pub fn is_no_database(&self) -> bool {
        matches!(self, Self::Login { source, .. } if source.code() == Some(&SqlState::INVALID_CATALOG_NAME))
    }

    /// As an answer: see [`super::http::CallError::into_answer`].
    pub fn into_answer<T>(self) -> Answer<T> {
        match self {
            Self::Open { .. } | Self::NoConnection { .. } => Answer::Unknown(one_line(&self)),
            // The server stands and says no: our password is wrong, or there is a rule missing. That is not "down".
            Self::Login { ref source, .. } if denied(source) => Answer::Unknown(one_line(&self)),
            _ => Answer::Down(one_line(&self)),
        }
    }
}

fn query_help(error: &tokio_postgres::Error, place: &Place) -> String {
    if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) {
        // What CREATE EXTENSION says when its files are not there.
        return "install its package on every PostgreSQL host: `apt-cache search postgresql | grep NAME`".to_owned();
    }
    format!("read its log: `ssh {} journalctl -u {} -n 50`", place.host, place.unit)
}

/// SQLSTATE class 28: invalid authorization.
fn denied(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("28"))
}

impl Fails for SqlError {
    fn exit(&self) -> Exit {
        match self {
            Self::Open { .. } | Self::NoConnection { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

impl<T> From<Result<T, SqlError>> for Answer<T> {
    fn from(result: Result<T, SqlError>) -> Self {
        result.map_or_else(SqlError::into_answer, Answer::Known)
    }
}
