//! Why a plan is not run.

use std::path::PathBuf;
use std::time::Duration;

use super::session::Session;
use crate::error::{Exit, Fails};
use crate::workflow::{self, Survey};

/// Why a plan is not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Refusal {
    #[error("this would interrupt the running database or etcd; nothing was changed:\n{}", list.join("\n"))]
    #[diagnostic(
        code(xnat::apply::interruption),
        help(
            "a newer version of a package is for `xnat-provision upgrade`; stopping a member and older versions are not built yet: take such changes back in the inventory; everything else can then be applied. Of the limits that a replica must not have lower than its leader (max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions, max_locks_per_transaction), first apply those that are raised, then those that are lowered"
        )
    )]
    Interruption { list: Vec<String> },
    #[error("this is not safe now; nothing was changed:\n{}", list.join("\n"))]
    #[diagnostic(code(xnat::apply::not_safe), help("mend this first: `xnat-provision status` says more"))]
    NotSafe { list: Vec<String> },
    #[error("writes would pause for longer than {} s; nothing was changed:\n{}", limit.as_secs_f64(), list.join("\n"))]
    #[diagnostic(
        code(xnat::apply::write_pause),
        help("do it when the application may wait, with a longer `--max-write-pause` or none")
    )]
    WritePause { limit: Duration, list: Vec<String> },
    #[error("the cluster runs already, and its passwords are not in {}; nothing was changed", path.display())]
    #[diagnostic(
        code(xnat::apply::lost_secrets),
        help("bring back the file {} that the first apply wrote: new passwords would lock the members out of each other", path.display())
    )]
    LostSecrets { path: PathBuf },
    #[error("the superuser's password in {} is not the one of the cluster; nothing was changed", path.display())]
    #[diagnostic(
        code(xnat::apply::other_secrets),
        help(
            "bring back the file as the last apply used it (the leader has that password too: `grep -A2 superuser /etc/patroni/xnat/40-secrets.yml`); a new one is made and set by `xnat-provision secrets rotate superuser`"
        )
    )]
    OtherSecrets { path: PathBuf },
    #[error("{} shows a certificate of an authority that is not in {}; nothing was changed", hosts.join(", "), path.display())]
    #[diagnostic(
        code(xnat::apply::other_authority),
        help(
            "bring back the file as the last apply used it: certificates of a new authority would cut the members off from each other"
        )
    )]
    OtherAuthority { hosts: Vec<String>, path: PathBuf },
}

impl Fails for Refusal {
    fn exit(&self) -> Exit {
        match self {
            Self::NotSafe { .. } | Self::WritePause { .. } => Exit::Unhealthy,
            Self::Interruption { .. }
            | Self::LostSecrets { .. }
            | Self::OtherSecrets { .. }
            | Self::OtherAuthority { .. } => Exit::Failed,
        }
    }
}

/// What stands against running the plan, found before anything is asked.
pub fn refuse(session: &Session, survey: &Survey, longest_pause: Option<Duration>) -> Result<(), Refusal> {
    // Passwords that are kept elsewhere do not bring back the authority that the members trust.
    let needed = session.secrets.is_placeholder() || session.inventory.tls.enabled;
    if needed && !session.vault.exists() && survey.started.postgres {
        return Err(Refusal::LostSecrets { path: session.vault.path() });
    }
    if survey.stranger {
        return Err(Refusal::OtherSecrets { path: session.vault.path() });
    }
    if !survey.view.strangers.is_empty() {
        let hosts = survey.view.strangers.iter().map(ToString::to_string).collect();
        return Err(Refusal::OtherAuthority { hosts, path: session.vault.path() });
    }
    let list = survey.plan.interruptions();
    if !list.is_empty() {
        return Err(Refusal::Interruption { list });
    }
    let obstacles = workflow::obstacles(survey, &session.inventory, None);
    let list: Vec<String> = obstacles.into_iter().map(|obstacle| obstacle.text).collect();
    if !list.is_empty() {
        return Err(Refusal::NotSafe { list });
    }
    match longest_pause {
        Some(limit) => refuse_pauses(survey, limit),
        None => Ok(()),
    }
}

fn refuse_pauses(survey: &Survey, limit: Duration) -> Result<(), Refusal> {
    let told = survey.plan.pauses_beyond(limit);
    let list: Vec<String> =
        told.map(|stage| format!("{}: about {} s", stage.title, stage.write_pause_seconds)).collect();
    if list.is_empty() { Ok(()) } else { Err(Refusal::WritePause { limit, list }) }
}
