//! Certificates a run has exchanged are shown by the services, whatever the files hold: Patroni looks at its files again
//! in its next round only, and who goes on before that may find a member that does not know the coming authority.

use std::time::Duration;

use super::Scope;
use crate::cluster::Gather;
use crate::cluster::answer::Answer;
use crate::cluster::shown::{self, Shown};
use crate::digest::sha256;
use crate::engine::Cancel;
use crate::engine::wait::{Wait, WaitError};
use crate::pki::{Pki, read};
use crate::report::Reporter;

/// Patroni's round is as long as `loop_wait`, and waits for PostgreSQL in between.
const ROUNDS: u32 = 6;

/// What is compared.
#[derive(Clone, Copy)]
pub struct Exchanged<'a> {
    pub gather: Gather<'a>,
    pub pki: &'a Pki,
    pub scope: &'a Scope,
}

impl Exchanged<'_> {
    /// Wait until every service in scope shows the certificate it has been given.
    pub async fn is_shown(&self, reporter: &Reporter, cancel: &Cancel) -> Result<(), WaitError> {
        let wait = Wait {
            what: "services to show their new certificates".to_owned(),
            deadline: Duration::from_secs(30)
                + Duration::from_secs(self.gather.inventory.patroni.loop_wait.into()) * ROUNDS,
            interval: Duration::from_millis(500),
            help: "see which do not: `xnat-provision certs status`; then run the same command again".to_owned(),
        };
        wait.until(reporter, cancel, || self.look()).await
    }

    async fn look(&self) -> Result<(), String> {
        let shown = shown::all(&self.gather).await;
        let in_scope = shown.iter().filter(|shown| self.scope.includes(&shown.host));
        let behind: Vec<String> = in_scope.filter_map(|shown| self.difference(shown)).collect();
        if behind.is_empty() { Ok(()) } else { Err(behind.join(", ")) }
    }

    fn difference(&self, shown: &Shown) -> Option<String> {
        let place = format!("{} on {}", shown.purpose, shown.host);
        let kept = self.pki.pair(&shown.host, shown.purpose)?;
        match &shown.answer {
            Answer::Known(certificate) => {
                let kept = read::certificate(&kept.certificate, "it").ok()?;
                (sha256(&kept.der) != certificate.digest).then(|| format!("{place} shows another one"))
            }
            Answer::Down(why) | Answer::Unknown(why) => Some(format!("{place}: {why}")),
        }
    }
}
