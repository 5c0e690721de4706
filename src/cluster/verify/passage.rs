//! What new connections through one HAProxy meet now. Unlike the proof at the end of a run nobody waits for the cluster, an
//! error at one port hides nothing of the other, and others may do the same at the same time: each has a table of its own.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Check, Session, VerifyError, Wanted};
use crate::approval::Approved;
use crate::cluster::postgres::{DEADLINE, identifier, server, within};
use crate::cluster::view::Gather;
use crate::error::one_line;
use crate::inventory::Host;

/// HAProxy may need a check or two to see a hand-over, and a row some time to arrive.
const PATIENCE: Duration = Duration::from_secs(3);

/// How its tables are called; the server's time in seconds and a random number follow.
const PREFIX: &str = "xnat_health";

/// The server's time, and the tables of those who were killed: nobody needs one for an hour.
const LEFT: &str = "SELECT extract(epoch FROM now())::bigint,
       array(SELECT tablename::text FROM pg_tables
              WHERE schemaname = 'public' AND tableowner = current_user
                AND tablename ~ ('^' || $1 || '_[0-9]{1,12}_[0-9]+$')
                AND split_part(tablename, '_', 3)::bigint < extract(epoch FROM now()) - 3600)";

/// What became of a connection to each port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Not only connected to.
    pub wrote: bool,
    pub write: Result<Trip, String>,
    /// None where there is no replica.
    pub read: Option<Result<Trip, String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trip {
    /// The member behind the port.
    pub server: String,
    pub seconds: f64,
}

/// Connect to both ports; with an approval a row is written through one and read through the other.
pub async fn pass(gather: &Gather<'_>, host: &Host, approved: Option<&Approved>) -> Passage {
    let wrote = approved.is_some();
    let login = match server::application(gather, host, gather.inventory.haproxy.primary_port) {
        Ok(login) => login,
        Err(why) => return Passage { wrote, write: Err(why.clone()), read: Some(Err(why)) },
    };
    // A connection that fails has failed; one that leads to the wrong member is led elsewhere at HAProxy's next check.
    let passing = |error: &VerifyError| matches!(error, VerifyError::WrongServer { .. });
    let mut check = Check { gather, host, table: String::new(), login, patience: PATIENCE, passing };
    let start = Instant::now();
    let writer = check.begin(approved).await;
    let write = writer.as_ref().map_err(|error| one_line(error)).map(|writer| trip(&writer.server, start));
    // only what was written can arrive
    let written = writer.as_ref().ok().filter(|_| wrote);
    let read = if check.has_replicas() { Some(check.read(written).await) } else { None };
    if let Some(writer) = written {
        // what cannot be dropped now is, in an hour, by another look
        writer.execute("remove the test table", &format!("DROP TABLE IF EXISTS {}", check.table)).await.ok();
    }
    Passage { wrote, write, read }
}

fn trip(server: &str, start: Instant) -> Trip {
    Trip { server: server.to_owned(), seconds: start.elapsed().as_secs_f64() }
}

impl Check<'_> {
    /// A session with the leader, and in it a row that is written.
    async fn begin(&mut self, approved: Option<&Approved>) -> Result<Session, VerifyError> {
        let writer = self.session(Wanted::Leader).await?;
        let Some(approved) = approved else { return Ok(writer) };
        approved.still_holds()?;
        let (now, left) = within(DEADLINE, &writer.place, "see what is left", left(&writer)).await?;
        self.table = format!("public.{}", identifier(&format!("{PREFIX}_{now}_{}", rand::random::<u32>())));
        let table = &self.table;
        writer.execute("write", &format!("CREATE TABLE {table} AS SELECT now() AS at")).await?;
        for table in left {
            // another look may be doing the same at this moment
            writer.execute("tidy", &format!("DROP TABLE IF EXISTS public.{}", identifier(&table))).await.ok();
        }
        Ok(writer)
    }

    async fn read(&self, written: Option<&Session>) -> Result<Trip, String> {
        let start = Instant::now();
        let read = async {
            let reader = self.session(Wanted::Replica).await?;
            match written {
                Some(writer) => self.arrival(&reader, &writer.place).await?,
                None => {
                    within(DEADLINE, &reader.place, "read", reader.client.simple_query("SELECT 1")).await.map(drop)?
                }
            }
            Ok::<_, VerifyError>(reader.server)
        };
        let server = read.await.map_err(|error| one_line(&error))?;
        Ok(trip(&server, start))
    }
}

async fn left(writer: &Session) -> Result<(i64, Vec<String>), tokio_postgres::Error> {
    let row = writer.client.query_one(LEFT, &[&PREFIX]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
