//! Readers leave a replica before it goes down: every HAProxy sends new ones elsewhere, and those who are there may finish,
//! for a while. A run that is cut off in between leaves the replica drained; `status` shows that and `apply` mends it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::operation::{Operation, OperationError};
use crate::cluster::haproxy::{REPLICAS, Server};
use crate::cluster::{self, ClusterView, Gather, Seen};
use crate::engine::Host as _;
use crate::names::HostName;
use crate::quote;
use crate::resource::Action;

const UNIT: &str = "haproxy.service";
/// HAProxy's words: no new clients; and as its checks say.
const DRAIN: &str = "drain";
const READY: &str = "ready";
/// How long readers may take to finish. A pool's connections stay for hours: whoever is left is cut, and connects again.
const FINISHING: Duration = Duration::from_secs(10);

/// How often HAProxy is asked whether it did it, and told once more.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(500);

/// A server of one HAProxy that takes no new clients, since somebody said so.
pub struct Drained {
    pub balancer: HostName,
    server: Server,
}

impl Drained {
    /// What sending clients there again comes to.
    pub fn again(&self) -> String {
        let Server { section, name, .. } = &self.server;
        format!("HAProxy on {} sends clients to {name} ({section}) again", self.balancer)
    }
}

/// All of them, be it by a run that was cut off or by hand.
pub fn drained(view: &ClusterView) -> Vec<Drained> {
    let all =
        view.haproxy.iter().flat_map(|seen| seen.answer.known().into_iter().flatten().map(move |one| (seen, one)));
    let held = all.filter(|(_, server)| server.is_held_back());
    held.map(|(seen, server)| Drained { balancer: seen.host.clone(), server: server.clone() }).collect()
}

impl Operation<'_> {
    /// Do that to a replica which no reader notices who is not there already.
    pub async fn without_readers<T, E>(
        &self,
        replica: &HostName,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E>
    where
        E: From<OperationError>,
    {
        self.send_readers_away(replica).await?;
        let worked = work.await;
        let back = self.let_readers_in(replica).await;
        let value = worked?;
        back?;
        Ok(value)
    }

    /// They may finish what they are at.
    pub(super) async fn send_readers_away(&self, replica: &HostName) -> Result<(), OperationError> {
        self.set_state(replica, DRAIN).await?;
        let gone = async |gather: &Gather<'_>| {
            let view = cluster::gather(gather).await;
            match readers(&view, replica) {
                0 => Ok(()),
                left => Err(format!("{left} of them are connected")),
            }
        };
        self.wait_patiently(format!("readers to leave {replica}"), FINISHING, gone).await
    }

    /// HAProxy's checks decide again.
    pub async fn let_readers_in(&self, replica: &HostName) -> Result<(), OperationError> {
        self.set_state(replica, READY).await
    }

    /// Every HAProxy is told once it is heard, and again while it is seen not to do it: a replica would stay without
    /// readers. Of one that stays silent nobody reads, and `status` says so.
    async fn set_state(&self, replica: &HostName, state: &str) -> Result<(), OperationError> {
        let mut told = BTreeSet::new();
        let mut left = Ok(());
        for _ in 0..TRIES {
            let view = cluster::gather(&self.gather).await;
            let reached: Vec<_> = view.haproxy.iter().filter(|seen| self.fleet.host(&seen.host).is_some()).collect();
            let mut done = reached.iter().all(|seen| seen.answer.known().is_some());
            left = Ok(());
            for (seen, server) in reached.iter().flat_map(|seen| servers(seen, replica).map(move |one| (seen, one))) {
                let held_back = server.is_held_back() && state == READY;
                if told.contains(&seen.host) && !held_back {
                    continue;
                }
                done &= !held_back;
                match self.tell_haproxy(&seen.host, &commands(server, state)).await {
                    Ok(()) => drop(told.insert(seen.host.clone())),
                    // it may be reloading, and the others have to hear of it all the same
                    Err(error) => left = Err(error),
                }
            }
            if done && left.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN).await;
        }
        left
    }

    pub async fn send_clients_to(&self, held: &Drained) -> Result<(), OperationError> {
        self.tell_haproxy(&held.balancer, &commands(&held.server, READY)).await
    }

    /// Commands at its socket, each until HAProxy's own list says that it is so: statistics call a server that fails its
    /// checks DOWN, be it drained or not, and right after a restart a command has been seen to come to nothing.
    async fn tell_haproxy(&self, balancer: &HostName, commands: &[String]) -> Result<(), OperationError> {
        let Some(host) = self.fleet.host(balancer).filter(|_| !commands.is_empty()) else { return Ok(()) };
        let run = format!("perl -e {} -- {}", quote::sh(AT_SOCKET), quote::sh_all(commands));
        let performed = host.perform(self.approved, &[Action::RunCommand { run }]).await?;
        let failed =
            |reason| OperationError::Unit { unit: UNIT, host: balancer.clone(), done: "told what to do", reason };
        performed.failure.map_or(Ok(()), |failure| Err(failed(failure.output)))
    }
}

/// Bits of `srv_admin_state`: 1 is "maintenance by somebody", 8 is "drained by somebody".
const AT_SOCKET: &str = r#"sub ask {
  socket(my $haproxy, 1, 1, 0) or die "no socket: $!\n";
  connect($haproxy, pack("S a108", 1, "/run/haproxy/admin.sock")) or die "it does not answer: $!\n";
  syswrite $haproxy, "$_[0]\n";
  return join "", <$haproxy>;
}
COMMAND: for my $command (@ARGV) {
  my ($section, $server, $state) = $command =~ m{^set server (.*)/(.*) state (\w+)$} or die "$command?\n";
  for (1 .. 20) {
    my $answer = ask($command);
    die "$command: $answer" if $answer =~ /\S/;
    my ($line) = grep { $_->[1] eq $section && $_->[3] eq $server } map { [split] } split /\n/, ask("show servers state $section");
    die "$command: it knows no such server\n" unless $line;
    my $held = $line->[6] & 9;
    next COMMAND if $state eq "drain" ? $held : !$held;
    select undef, undef, undef, 0.1;
  }
  die "$command: it does not do it\n";
}"#;

fn commands(server: &Server, state: &str) -> Vec<String> {
    server.names().iter().map(|name| format!("set server {}/{name} state {state}", server.section)).collect()
}

/// The replica, where that HAProxy sends readers.
fn servers<'a>(seen: &'a Seen<Vec<Server>>, replica: &HostName) -> impl Iterator<Item = &'a Server> {
    let all = seen.answer.known().into_iter().flatten();
    all.filter(move |server| server.section == REPLICAS && server.name == replica.as_str())
}

fn readers(view: &ClusterView, replica: &HostName) -> u64 {
    view.haproxy.iter().flat_map(|seen| servers(seen, replica)).map(|server| server.sessions).sum()
}
