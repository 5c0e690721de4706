//! One look at the whole cluster: every service of every host asked at once. No judgement here; that is `assess`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{Answer, Seen};
use super::http::{CallError, Scheme};
use super::initialize::{self, Initialize};
use super::postgres::altered::Altered;
use super::postgres::excess::Excess;
use super::postgres::server;
use super::shown::{self, Certificate, Shown};
use super::tls::Tls;
use super::{etcd, haproxy, patroni};
use crate::inventory::{Component, Host, Inventory};
use crate::names::HostName;
use crate::transport::Transport;
use crate::vault::Secrets;

/// What is needed to ask.
#[derive(Clone, Copy)]
pub struct Gather<'a> {
    pub inventory: &'a Inventory,
    pub connections: &'a BTreeMap<HostName, Arc<dyn Transport>>,
    /// Why there is no connection to a host.
    pub unreachable: &'a BTreeMap<HostName, String>,
    /// Without them HAProxy is not asked, nor who speaks TLS.
    pub secrets: Option<&'a Secrets>,
}

impl<'a> Gather<'a> {
    /// The connection to a host, or why there is none.
    pub fn transport(&self, host: &HostName) -> Result<&'a dyn Transport, String> {
        match self.connections.get(host) {
            Some(transport) => Ok(transport.as_ref()),
            None => Err(match self.unreachable.get(host) {
                Some(reason) => format!("{host} cannot be reached: {reason}"),
                None => format!("there is no connection to {host}"),
            }),
        }
    }

    /// None without secrets, and while they have no certificates.
    pub fn tls(&self) -> Result<Option<Tls>, String> {
        self.secrets.map_or(Ok(None), |secrets| Tls::of(&secrets.pki))
    }

    /// How services are spoken to: with TLS as soon as there are certificates, be it that the services have them yet.
    pub fn scheme(&self) -> Result<Scheme, String> {
        match self.secrets {
            Some(_) => Ok(self.tls()?.map_or(Scheme::Plain, Scheme::Tls)),
            None if self.inventory.tls.enabled => Ok(Scheme::NoCertificate),
            None => Ok(Scheme::Plain),
        }
    }
}

/// What all of them said. In the order of the inventory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    pub cluster: String,
    /// Hosts without a connection, and why.
    pub unreachable: BTreeMap<HostName, String>,
    pub etcd: Vec<Seen<etcd::Member>>,
    /// Has there ever been a leader?
    pub initialized: Answer<Initialize>,
    /// In maintenance mode.
    pub paused: Answer<bool>,
    /// The configuration all members share.
    pub config: Answer<Value>,
    pub members: Vec<Member>,
    pub haproxy: Vec<Seen<Vec<haproxy::Server>>>,
    /// Hosts with a service that shows a certificate of an authority we do not know: not the cluster of our secrets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub strangers: BTreeSet<HostName>,
    /// What services show of themselves; nothing without TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Shown>,
    /// Whoever signs now, and whoever will.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<Certificate>,
}

/// A PostgreSQL host: what Patroni's cluster says of it, what its own Patroni says, what its own PostgreSQL says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub host: HostName,
    /// False for a member that Patroni knows and the inventory does not.
    pub in_inventory: bool,
    /// None when Patroni does not know it.
    pub listed: Option<patroni::Listed>,
    pub patroni: Answer<patroni::About>,
    pub server: Answer<server::Server>,
}

impl Member {
    /// It has the leader lock.
    pub fn leads(&self) -> bool {
        self.listed.as_ref().is_some_and(|l| l.role.leads())
    }
    /// It is a member and somebody else has the lock.
    pub fn follows(&self) -> bool {
        self.listed.as_ref().is_some_and(|l| !l.role.leads())
    }
}

impl ClusterView {
    /// The member with the leader lock.
    pub fn leader(&self) -> Option<&Member> {
        self.members.iter().find(|m| m.leads())
    }

    /// Does the leader's PostgreSQL say itself that it leads?
    pub fn takes_writes(&self) -> bool {
        self.leader().and_then(|leader| leader.server.known()).is_some_and(|server| !server.in_recovery)
    }

    /// Members on which somebody has set parameters with ALTER SYSTEM.
    pub fn altered(&self) -> impl Iterator<Item = (&HostName, &[Altered])> {
        let known = self.members.iter().filter_map(|member| Some((&member.host, member.server.known()?)));
        known.map(|(host, server)| (host, server.altered.as_slice())).filter(|(_, altered)| !altered.is_empty())
    }

    /// Our roles that can do more than they need, and who leads: replicas have the same ones.
    pub fn excess(&self) -> impl Iterator<Item = (&HostName, &Excess)> {
        let server = self.leader().and_then(|leader| Some((&leader.host, leader.server.known()?)));
        server.into_iter().flat_map(|(host, server)| server.excess.iter().map(move |excess| (host, excess)))
    }

    /// Did at least one Patroni tell who the members are?
    pub fn members_known(&self) -> bool {
        self.paused.known().is_some()
    }

    /// How far a replica is behind: as its leader's PostgreSQL sees it now, or else as etcd had it up to `loop_wait` ago,
    /// when a burst of writes makes every replica look behind.
    pub fn lag(&self, member: &Member) -> Option<patroni::Lag> {
        let listed = member.listed.as_ref()?.lag;
        let standbys = self.leader().and_then(|leader| leader.server.known()).map(|server| server.standbys.as_slice());
        let standby = standbys.unwrap_or_default().iter().find(|standby| standby.name == member.host.as_str());
        let now = standby.and_then(|standby| standby.lag).map(|lag| patroni::Lag::Bytes(lag.try_into().unwrap_or(0)));
        listed.and(now).or(listed)
    }

    /// Does this replica stream, as far as anybody can tell?
    pub fn streams(&self, member: &Member) -> bool {
        let about: Vec<_> = self.members.iter().filter_map(|m| m.patroni.known()).cloned().collect();
        let receives = member.server.known().is_some_and(|s| s.receiver.as_deref() == Some("streaming"));
        receives || member.listed.as_ref().is_some_and(|listed| patroni::streams(listed, &about))
    }

    /// At least one service of a host could be asked.
    pub fn heard_from(&self, host: &HostName) -> bool {
        self.etcd.iter().any(|s| &s.host == host && !s.answer.is_unknown())
            || self.members.iter().any(|m| &m.host == host && !(m.patroni.is_unknown() && m.server.is_unknown()))
            || self.haproxy.iter().any(|s| &s.host == host && !s.answer.is_unknown())
    }

    /// Nothing could be asked at all.
    pub fn is_blind(&self) -> bool {
        let etcd = self.etcd.iter().map(|s| &s.host);
        let hosts = etcd.chain(self.members.iter().map(|m| &m.host)).chain(self.haproxy.iter().map(|s| &s.host));
        !hosts.into_iter().any(|host| self.heard_from(host))
    }
}

/// Ask everybody everything, all at once: one wave of streams per host, each with its own deadline.
pub async fn gather(gather: &Gather<'_>) -> ClusterView {
    let inventory = gather.inventory;
    let etcd = join_all(inventory.with(Component::Etcd).map(|host| ask_etcd(gather, host)));
    let members = join_all(inventory.with(Component::Postgres).map(|host| ask_member(gather, host)));
    let haproxy = join_all(inventory.with(Component::Haproxy).map(|host| ask_haproxy(gather, host)));
    let (etcd, members, haproxy, certificates) = futures::join!(etcd, members, haproxy, shown::all(gather));
    let of_etcd = etcd.iter().filter(|asked| asked.stranger).map(|asked| &asked.seen.host);
    let of_patroni = members.iter().filter(|asked| asked.stranger).map(|asked| &asked.host);
    let strangers = of_etcd.chain(of_patroni).cloned().collect();
    let (etcd, initialized): (Vec<_>, Vec<_>) = etcd.into_iter().map(|asked| (asked.seen, asked.initialized)).unzip();
    let cluster = choose(&members);
    ClusterView {
        cluster: inventory.cluster.clone(),
        unreachable: gather.unreachable.clone(),
        etcd,
        initialized: first_known(initialized, "no etcd member could be asked"),
        paused: cluster.clone().map(|c| c.pause),
        config: first_known(members.iter().map(|m| m.config.clone()), "no Patroni could be asked"),
        members: merge(members, cluster.known()),
        haproxy,
        strangers,
        certificates,
        authorities: gather.secrets.map(|secrets| shown::authorities(&secrets.pki)).unwrap_or_default(),
    }
}

/// The answers of one etcd member.
struct AskedEtcd {
    seen: Seen<etcd::Member>,
    initialized: Answer<Initialize>,
    stranger: bool,
}

/// The answers of one PostgreSQL host before they are merged.
struct Asked {
    host: HostName,
    cluster: Answer<patroni::Cluster>,
    about: Answer<patroni::About>,
    config: Answer<Value>,
    stranger: bool,
    server: Answer<server::Server>,
}

async fn ask_etcd(gather: &Gather<'_>, host: &Host) -> AskedEtcd {
    let (answer, initialized, stranger) = match etcd::client(gather, host) {
        Ok(http) => {
            let (member, initialized) =
                futures::join!(etcd::ask(&http, gather.inventory), initialize::read(&http, &gather.inventory.cluster));
            let stranger = member.as_ref().is_err_and(CallError::is_stranger);
            (member.into(), initialized.into(), stranger)
        }
        Err(reason) => (Answer::Unknown(reason.clone()), Answer::Unknown(reason), false),
    };
    AskedEtcd { seen: Seen { host: host.name.clone(), answer }, initialized, stranger }
}

async fn ask_member(gather: &Gather<'_>, host: &Host) -> Asked {
    let rest = async {
        match patroni::client(gather, host) {
            Ok(http) => {
                let (cluster, about, config) =
                    futures::join!(patroni::cluster(&http), patroni::about(&http), patroni::config(&http));
                let stranger = about.as_ref().is_err_and(CallError::is_stranger);
                (cluster.into(), about.into(), config.into(), stranger)
            }
            Err(why) => (Answer::Unknown(why.clone()), Answer::Unknown(why.clone()), Answer::Unknown(why), false),
        }
    };
    let server = async {
        match gather.transport(&host.name) {
            Ok(transport) => server::ask(gather, transport, &server::superuser(gather, host)).await.into(),
            Err(why) => Answer::Unknown(why),
        }
    };
    let ((cluster, about, config, stranger), server) = futures::join!(rest, server);
    Asked { host: host.name.clone(), cluster, about, config, server, stranger }
}

async fn ask_haproxy(gather: &Gather<'_>, host: &Host) -> Seen<Vec<haproxy::Server>> {
    let client = gather.transport(&host.name).and_then(|_| haproxy::client(gather, host));
    let answer = match client {
        Ok(http) => haproxy::ask(&http).await.into(),
        Err(reason) => Answer::Unknown(reason),
    };
    Seen { host: host.name.clone(), answer }
}

/// Whose word on the cluster is taken: all read the same from etcd, but a member cut off from it remembers old news,
/// so the one that saw etcd last.
fn choose(members: &[Asked]) -> Answer<patroni::Cluster> {
    let seen = |m: &&Asked| m.about.known().and_then(|about| about.dcs_last_seen);
    let newest = members.iter().filter(|m| m.cluster.known().is_some()).max_by_key(seen);
    match newest {
        Some(member) => member.cluster.clone(),
        None => first_known(members.iter().map(|m| m.cluster.clone()), "the inventory has no PostgreSQL host"),
    }
}

/// The first value; or else the first reason, where "down" says more than "unknown".
fn first_known<T>(answers: impl IntoIterator<Item = Answer<T>>, none: &str) -> Answer<T> {
    let mut best = Answer::Unknown(none.to_owned());
    let mut rank = 0;
    for answer in answers {
        let this = match answer {
            Answer::Known(_) => 3,
            Answer::Down(_) => 2,
            Answer::Unknown(_) => 1,
        };
        if this > rank {
            (best, rank) = (answer, this);
        }
    }
    best
}

fn merge(asked: Vec<Asked>, cluster: Option<&patroni::Cluster>) -> Vec<Member> {
    let listed = cluster.map(|c| c.members.as_slice()).unwrap_or_default();
    let mut members: Vec<Member> = asked
        .into_iter()
        .map(|a| Member {
            in_inventory: true,
            listed: listed.iter().find(|l| l.name == a.host).cloned(),
            host: a.host,
            patroni: a.about,
            server: a.server,
        })
        .collect();
    let strangers: Vec<_> = listed.iter().filter(|l| members.iter().all(|m| m.host != l.name)).cloned().collect();
    members.extend(strangers.into_iter().map(|listed| Member {
        host: listed.name.clone(),
        in_inventory: false,
        listed: Some(listed),
        patroni: Answer::Unknown("not in the inventory".to_owned()),
        server: Answer::Unknown("not in the inventory".to_owned()),
    }));
    members
}
