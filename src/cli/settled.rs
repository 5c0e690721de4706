//! The cluster after a command has touched it: what is still on its way is waited for, so that the last word is true.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Failure;
use super::session::Session;
use crate::cluster::{self, ClusterView, Gather, Severity};
use crate::engine::wait::Wait;

/// How long what a command has touched may take to be well again: some of Patroni's rounds. A listener is made anew in the
/// round in which another certificate is taken up, and a replica tells of its new timeline in the round after the one in which
/// it has followed.
const SETTLING: Duration = Duration::from_secs(30);

/// What is wrong now and was not before is waited for, and told if it stays. What was wrong before is not waited for.
pub async fn settled(
    session: &Session,
    gather: &Gather<'_>,
    before: Option<&ClusterView>,
) -> Result<ClusterView, Failure> {
    let problems = |view: &ClusterView| -> BTreeSet<String> {
        let health = cluster::assess(view, &session.inventory);
        health.problems.into_iter().filter(|one| one.severity != Severity::Notice).map(|one| one.text).collect()
    };
    let before = before.map(&problems).unwrap_or_default();
    let looked = || async {
        let view = cluster::gather(gather).await;
        let new = problems(&view).into_iter().find(|problem| !before.contains(problem));
        new.map_or(Ok(view), Err)
    };
    let wait = Wait {
        what: "the cluster to be well again".to_owned(),
        deadline: SETTLING,
        interval: Duration::from_secs(1),
        help: String::new(),
    };
    match wait.while_patient(&session.reporter, &session.cancel, looked).await? {
        Some(view) => Ok(view),
        None => Ok(cluster::gather(gather).await),
    }
}
