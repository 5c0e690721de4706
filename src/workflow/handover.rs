//! A planned hand-over: nobody can write from the old leader's last commit to the new one's first, and for how long that
//! was is measured.

use std::time::{Duration, Instant};

use crate::approval::Approved;
use crate::cluster::http::CallError;
use crate::cluster::pause::{self, Pause};
use crate::cluster::{self, Gather, haproxy, patroni};
use crate::engine::Cancel;
use crate::engine::wait::{Wait, WaitError};
use crate::error::{Exit, Fails};
use crate::names::HostName;
use crate::report::{Kind, Reporter, millis_since};

/// How long a hand-over may take.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HandOverError {
    #[error("cannot ask {host} to hand over: {reason}")]
    #[diagnostic(code(xnat::hand_over::leader), help("see `xnat-provision status`"))]
    Leader { host: HostName, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wait(#[from] WaitError),
}

impl Fails for HandOverError {
    fn exit(&self) -> Exit {
        match self {
            Self::Leader { .. } => Exit::Unhealthy,
            Self::Call(error) => error.exit(),
            Self::Wait(error) => error.exit(),
        }
    }
}

/// What a hand-over needs.
pub struct HandOver<'a> {
    pub gather: Gather<'a>,
    pub approved: &'a Approved,
    pub reporter: &'a Reporter,
    pub cancel: &'a Cancel,
}

impl HandOver<'_> {
    /// From the leader to that replica, which somebody has found fit; what was seen of it.
    pub async fn run(&self, from: &HostName, to: &HostName) -> Result<String, HandOverError> {
        let failed = |reason| HandOverError::Leader { host: from.clone(), reason };
        let host = self.gather.inventory.host(from).ok_or_else(|| failed("it is not in the inventory".to_owned()))?;
        let http = patroni::client(&self.gather, host).map_err(failed)?;
        let begun = Instant::now();
        let moving = async {
            patroni::switchover(&http, self.approved, to).await?;
            self.wait_for(to).await
        };
        let (moved, pause) = pause::during(&self.gather, moving).await;
        moved?;
        Ok(format!("handed over from {from} to {to}; {}", told(pause, begun.elapsed())))
    }

    async fn wait_for(&self, to: &HostName) -> Result<(), HandOverError> {
        let title = format!("wait for {to} to lead");
        let begun = Instant::now();
        self.reporter.emit(Kind::StepStarted { title: title.clone() }).await;
        let wait = Wait {
            what: format!("{to} to lead"),
            deadline: LIMIT,
            interval: Duration::from_millis(500),
            help: "see `xnat-provision status`, and the log of Patroni on both hosts".to_owned(),
        };
        wait.until(self.reporter, self.cancel, || leads(&self.gather, to)).await?;
        self.reporter.emit(Kind::StepFinished { title, millis: millis_since(begun) }).await;
        Ok(())
    }
}

pub fn told(pause: Option<Pause>, seen: Duration) -> String {
    match pause {
        Some(Pause { through, longest }) => {
            format!("nobody could write for {:.1} s (measured by writing through {through})", longest.as_secs_f64())
        }
        None => format!(
            "it took {:.1} s as seen by Patroni (there was no HAProxy to measure writes with)",
            seen.as_secs_f64()
        ),
    }
}

/// It leads and runs, and whatever HAProxy answers sends writes to it and to nobody else.
async fn leads(gather: &Gather<'_>, host: &HostName) -> Result<(), String> {
    patroni::led(gather, host).await?;
    for seen in cluster::gather(gather).await.haproxy {
        let Some(servers) = seen.answer.known() else { continue };
        let up: Vec<&str> =
            servers.iter().filter(|s| s.section == haproxy::PRIMARY && s.up).map(|s| s.name.as_str()).collect();
        if up != [host.as_str()] {
            return Err(format!(
                "HAProxy on {} sends writes to {}",
                seen.host,
                if up.is_empty() { "nobody".to_owned() } else { up.join(", ") }
            ));
        }
    }
    Ok(())
}
