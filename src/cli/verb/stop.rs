//! `stop` and `start`: the whole cluster, in the right order. The hosts' files stay as they are.

use super::{Afterwards, Common, Deed, Intent, NotNow};
use crate::cli::session::Session;
use crate::cli::{Failure, Globals};
use crate::cluster::{ClusterView, Member};
use crate::error::Exit;
use crate::names::HostName;
use crate::quote;
use crate::workflow::Operation;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "HAProxy stops first, then the replicas, then the leader, etcd last; each PostgreSQL is shut down cleanly. The services stay enabled: a host that boots starts its own.\n\nExit status: 0 done, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, 130 interrupted."
)]
pub struct StopArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "etcd starts first, then the PostgreSQL that led last, the others, and HAProxy. What runs already is left alone.\n\nExit status: 0 done and healthy, 1 failed, 2 a mistake in the inventory, 3 no host could be reached, 4 it cannot be done now, or it is done and the cluster is not healthy, 130 interrupted."
)]
pub struct StartArgs {
    #[command(flatten)]
    common: Common,
}

pub async fn stop(args: StopArgs, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Stop, &args.common, globals).await
}

pub async fn start(args: StartArgs, globals: &Globals) -> Result<Exit, Failure> {
    super::run(Start, &args.common, globals).await
}

struct Stop;

impl Deed for Stop {
    const COMMAND: &'static str = "stop";
    const AFTERWARDS: Afterwards = Afterwards::Nothing;
    type Aim = ();

    fn intend(&self, view: &ClusterView, session: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        let inventory = quote::path(&session.inventory.path);
        if view.paused.known() == Some(&true) {
            let reason = "the cluster is in maintenance mode, in which Patroni leaves PostgreSQL running when it stops";
            return Err(NotNow::new(reason, format!("`xnat-provision resume {inventory}` ends it")));
        }
        if let Some(host) = out_of_reach(view).find(|host| is_listed(view, host)) {
            let reason = format!("{host} cannot be reached and is a member: it would take over when the others stop");
            return Err(NotNow::new(
                reason,
                "make it reachable, or switch it off; Patroni forgets it within half a minute",
            ));
        }
        let question = format!(
            "Stop the cluster {} (HAProxy, the replicas, the leader, etcd)? Nobody can read or write until `start`.",
            view.cluster
        );
        Ok(Intent { aim: (), risk: None, question })
    }

    async fn perform(&self, (): Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(operation.stop_cluster().await?)
    }
}

struct Start;

impl Deed for Start {
    const COMMAND: &'static str = "start";
    type Aim = ();

    fn intend(&self, view: &ClusterView, _: &Session) -> Result<Intent<Self::Aim>, NotNow> {
        if all_run(view) {
            return Err("all of it runs".to_owned().into());
        }
        let missing: Vec<&str> = out_of_reach(view).map(HostName::as_str).collect();
        let risk = (!missing.is_empty()).then(|| {
            format!(
                "if {} led last, the cluster starts without what only that member has, and it is lost",
                missing.join(" or ")
            )
        });
        let question = format!(
            "Start the cluster {} (etcd, the PostgreSQL that led last, the others, HAProxy)? What runs already is left alone.",
            view.cluster
        );
        Ok(Intent { aim: (), risk, question })
    }

    async fn perform(&self, (): Self::Aim, operation: &Operation<'_>) -> Result<Vec<String>, Failure> {
        Ok(operation.start_cluster(&[]).await?)
    }
}

fn all_run(view: &ClusterView) -> bool {
    let member = |member: &Member| member.patroni.known().is_some() && member.server.known().is_some();
    view.etcd.iter().all(|seen| seen.answer.known().is_some())
        && view.members.iter().filter(|member| member.in_inventory).all(member)
        && view.haproxy.iter().all(|seen| seen.answer.known().is_some())
}

fn out_of_reach(view: &ClusterView) -> impl Iterator<Item = &HostName> {
    let ours = view.members.iter().filter(|member| member.in_inventory);
    ours.map(|member| &member.host).filter(|host| view.unreachable.contains_key(host))
}

fn is_listed(view: &ClusterView, host: &HostName) -> bool {
    view.members.iter().any(|member| &member.host == host && member.listed.is_some())
}
