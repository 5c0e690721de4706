//! Each fault as what is run on its hosts, and how it ends. What lasts is ended by a timer that is set before it begins.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::log::Log;
use super::{DrillError, Exercise};
use crate::approval::Approved;
use crate::drill::Fault;
use crate::engine::wait::Wait;
use crate::engine::{Fleet, Host as _};
use crate::error::one_line;
use crate::inventory::{Component, Host};
use crate::names::HostName;
use crate::quote;
use crate::resource::Action;
use crate::workflow::Operation;

/// A lasting fault ends by itself so long after the drill would have ended it.
const GRACE: Duration = Duration::from_secs(120);
const TIMER: &str = "xnat-drill-undo";
/// A machine goes down so many seconds after the order, without ending or writing anything, as when the power fails.
const SOON: u64 = 3;
/// Somebody has to walk to the machine.
const BY_HAND: Duration = Duration::from_secs(1800);
const ANSWER: Duration = Duration::from_secs(4);

/// What a drill that was killed has left on a host, which the timer would end: nothing, or it is ended now.
/// A timer does not outlive its machine, and a full disk does.
pub(super) const LEFT: &str = "systemctl is-active --quiet xnat-drill-undo.timer && echo left
ls /var/lib/postgresql/*/xnat-drill-full.* >/dev/null 2>&1 && echo left
true
";
pub(super) const END: &str = "systemctl start xnat-drill-undo.service 2>/dev/null
systemctl stop xnat-drill-undo.timer 2>/dev/null
rm -f /var/lib/postgresql/*/xnat-drill-full.*";

/// Have a host run what does `what`.
pub(super) async fn run(
    (fleet, approved): (&Fleet, &Approved),
    name: &HostName,
    (what, command): (&str, &str),
) -> Result<(), DrillError> {
    let failed = |reason| DrillError::Inflict { what: what.to_owned(), host: name.clone(), reason };
    let host = fleet.host(name).ok_or_else(|| failed("it cannot be reached".to_owned()))?;
    let performed = host.perform(approved, &[Action::RunCommand { run: command.to_owned() }]).await;
    let performed = performed.map_err(|error| failed(one_line(&error)))?;
    performed.failure.map_or(Ok(()), |failure| Err(failed(failure.output)))
}

const CLOCK: &str = "/run/xnat-drill-clock";
/// Whatever has set the clock right meanwhile, it is right then too.
const CLOCK_RIGHT: &str = "[ ! -e /run/xnat-drill-clock ] || { python3 -c 'import time
with open(\"/run/xnat-drill-clock\") as note:
    time.clock_settime(time.CLOCK_REALTIME, float(note.read()) + time.clock_gettime(time.CLOCK_BOOTTIME))' \\
&& rm -f /run/xnat-drill-clock; } || exit 1";

pub(super) struct Infliction<'a> {
    pub exercise: &'a Exercise<'a>,
    pub log: &'a Log<'a>,
}

impl Infliction<'_> {
    pub async fn begin(&self) -> Result<(), DrillError> {
        let targets = self.exercise.targets;
        let names: Vec<&str> = targets.struck.iter().map(HostName::as_str).collect();
        self.log
            .tell(format!("{} on {}: {}", self.exercise.fault, names.join(", "), self.exercise.fault.injection()))
            .await;
        // what is to be measured begins with the order, not when its hosts have carried it out
        self.log.mark(|seen, now| seen.injected = now);
        match (self.exercise.fault, &targets.successor) {
            (Fault::Switchover, Some(to)) => {
                self.exercise.operation.hand_over(&targets.leader, to).await?;
            }
            (Fault::PowerOff, _) => {
                for host in &targets.struck {
                    self.power_off(host).await?;
                }
            }
            _ => {
                for host in &targets.struck {
                    self.run(host, &self.injection(host)).await?;
                }
            }
        }
        Ok(())
    }

    pub async fn undo(&self) -> Result<(), DrillError> {
        self.log.tell(format!("{} is undone", self.exercise.fault)).await;
        for host in &self.exercise.targets.struck {
            match self.exercise.fault {
                Fault::PowerOff if self.exercise.power.has(host) => self.exercise.power.on(host).await?,
                Fault::PowerOff => self.wait_for_a_hand(host).await?,
                _ => {
                    self.run(host, &format!("{}\nsystemctl stop {TIMER}.timer 2>/dev/null || true", self.undoing()))
                        .await?
                }
            }
        }
        Ok(())
    }

    /// A lock ends with its machine, and is not to be missed.
    async fn power_off(&self, host: &HostName) -> Result<(), DrillError> {
        let Exercise { power, operation, .. } = self.exercise;
        if power.has(host) {
            operation.fleet.release(host).await;
            return Ok(power.off(host).await?);
        }
        let ordered = Instant::now();
        self.run(
            host,
            &format!("systemd-run --quiet --collect sh -c 'sleep {SOON}; exec poweroff -ff --no-sync --no-wtmp'"),
        )
        .await?;
        operation.fleet.release(host).await;
        sleep(Duration::from_secs(SOON).saturating_sub(ordered.elapsed())).await;
        self.log.mark(|seen, now| seen.injected = now);
        Ok(())
    }

    /// Somebody has to press the button.
    async fn wait_for_a_hand(&self, host: &HostName) -> Result<(), DrillError> {
        let Operation { gather, reporter, cancel, .. } = &self.exercise.operation;
        let machine = gather.inventory.hosts.iter().find(|it| it.name == *host);
        if cancel.is_cancelled() {
            self.log.tell(format!("SWITCH {host} ON: the drill was interrupted, and does not wait for it")).await;
            return Ok(());
        }
        self.log.tell(format!("SWITCH {host} ON NOW: the drill waits for it")).await;
        let wait = Wait {
            what: format!("{host} to be switched on and to answer"),
            deadline: BY_HAND,
            interval: Duration::from_secs(1),
            help: format!("switch {host} on: Patroni and etcd on it start by themselves"),
        };
        let connector = self.exercise.connector;
        let answers = || async {
            let machine = machine.ok_or_else(|| "it is not in the inventory".to_owned())?;
            let connected = timeout(ANSWER, connector.connect(machine)).await;
            connected.map_err(|_| "it does not answer".to_owned())?.map(drop).map_err(|error| one_line(&error))
        };
        Ok(wait.until(reporter, cancel, answers).await?)
    }

    async fn run(&self, host: &HostName, command: &str) -> Result<(), DrillError> {
        let Operation { fleet, approved, .. } = &self.exercise.operation;
        run((fleet, approved), host, (self.exercise.fault.name(), command)).await
    }

    fn injection(&self, host: &HostName) -> String {
        let postmaster = self.postmaster();
        let patroni = "$(systemctl show -P MainPID patroni.service)";
        let now = match self.exercise.fault {
            Fault::KillPostgres => format!("kill -KILL {postmaster}"),
            Fault::KillPatroni => format!("kill -KILL {patroni}"),
            Fault::KillBoth | Fault::Replica => format!("kill -KILL {patroni} {postmaster}"),
            Fault::StopPatroni => format!("kill -STOP {patroni}"),
            Fault::StopPostgres => format!("kill -STOP {postmaster}"),
            Fault::Haproxy => "systemctl kill --signal=KILL haproxy.service".to_owned(),
            Fault::EtcdLeader => "systemctl kill --signal=KILL etcd.service".to_owned(),
            Fault::EtcdQuorum => "systemctl stop etcd.service".to_owned(),
            Fault::DiskFull => self.fill(),
            Fault::ClockBack => set_clock("-"),
            Fault::ClockAhead => set_clock("+"),
            _ => self.cut(host),
        };
        if self.exercise.fault.lasts() { format!("set -e\n{}\n{now}", self.timer()) } else { format!("set -e\n{now}") }
    }

    fn timer(&self) -> String {
        let longest = (self.exercise.lasts_at_most() + GRACE).as_secs();
        format!(
            "systemctl stop {TIMER}.timer {TIMER}.service 2>/dev/null || true\n\
             systemd-run --quiet --collect --unit={TIMER} --on-active={longest}s sh -c {}",
            quote::sh(&self.undoing())
        )
    }

    fn undoing(&self) -> String {
        match self.exercise.fault {
            Fault::StopPatroni => "kill -CONT $(systemctl show -P MainPID patroni.service)".to_owned(),
            Fault::StopPostgres => {
                format!("kill -CONT {} || true", self.postmaster())
            }
            Fault::EtcdQuorum => "systemctl start etcd.service".to_owned(),
            Fault::DiskFull => "rm -f /var/lib/postgresql/*/xnat-drill-full.*".to_owned(),
            Fault::ClockBack | Fault::ClockAhead => CLOCK_RIGHT.to_owned(),
            _ => "nft delete table inet xnat_drill 2>/dev/null || true".to_owned(),
        }
    }

    /// Of whichever version.
    fn postmaster(&self) -> String {
        let cluster = quote::sh(&self.exercise.operation.gather.inventory.cluster);
        format!("$(cat /var/lib/postgresql/*/{cluster}/postmaster.pid | head -n 1)")
    }

    /// Some file systems want a part of what is free for themselves, so it is asked for again and again.
    fn fill(&self) -> String {
        let cluster = quote::sh(&self.exercise.operation.gather.inventory.cluster);
        format!(
            "data=$(dirname /var/lib/postgresql/*/{cluster}/postmaster.pid)
full=$(dirname \"$data\")/xnat-drill-full
left() {{ df --output=avail -B1 \"$data\" | tail -n 1; }}
for part in 1 2 3 4 5 6 7 8; do
  free=$(left)
  [ \"$free\" -ge 65536 ] || break
  fallocate -l \"$free\" \"$full.$part\" 2>/dev/null || fallocate -l \"$((free / 16 * 15))\" \"$full.$part\" || true
done
[ \"$(left)\" -lt 4194304 ] || {{ echo \"the disk could not be filled: $(left) bytes are left\"; exit 1; }}"
        )
    }

    /// A table of its own, before whatever else filters. This program's connection is spared: without it nobody could see.
    fn cut(&self, host: &HostName) -> String {
        let inventory = self.exercise.operation.gather.inventory;
        let others = |component| {
            let all = inventory.with(component).filter(|other| &other.name != host);
            all.map(|other: &Host| other.address.clone()).collect::<Vec<_>>().join(", ")
        };
        let (postgres, rest) = (inventory.postgresql.port, inventory.patroni.rest_port);
        let rules = match self.exercise.fault {
            // without its peers a member on this host has no quorum
            Fault::CutFromEtcd => {
                between(&others(Component::Etcd), &[inventory.etcd.client_port, inventory.etcd.peer_port])
            }
            Fault::CutFromReplicas => between(&others(Component::Postgres), &[postgres, rest]),
            Fault::CutFromHaproxy => between(&others(Component::Haproxy), &[postgres, rest]),
            _ => vec![
                "iif lo accept".to_owned(),
                "oif lo accept".to_owned(),
                "tcp dport ssh accept".to_owned(),
                "tcp sport ssh accept".to_owned(),
                "drop".to_owned(),
            ],
        };
        let lines: Vec<String> = rules.iter().map(|rule| format!("    {rule}")).collect();
        let chain = |hook: &str| {
            format!("  chain {hook} {{\n    type filter hook {hook} priority -300;\n{}\n  }}", lines.join("\n"))
        };
        let table = format!("table inet xnat_drill {{\n{}\n{}\n}}\n", chain("input"), chain("output"));
        format!(
            "command -v nft >/dev/null || {{ echo 'it needs nftables: apt-get install nftables'; exit 1; }}\nnft -f - <<'XP_RULES'\n{table}XP_RULES"
        )
    }
}

/// How far it is from a clock nobody sets is written down first.
fn set_clock(sign: &str) -> String {
    format!(
        "python3 - <<'XP_CLOCK'
import time
now = time.clock_gettime(time.CLOCK_REALTIME)
with open('{CLOCK}', 'w') as note:
    note.write(repr(now - time.clock_gettime(time.CLOCK_BOOTTIME)))
time.clock_settime(time.CLOCK_REALTIME, now {sign} 3600)
XP_CLOCK"
    )
}

fn between(addresses: &str, ports: &[u16]) -> Vec<String> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let ports = ports.join(", ");
    let mut rules = Vec::new();
    for direction in ["saddr", "daddr"] {
        for side in ["dport", "sport"] {
            rules.push(format!("ip {direction} {{ {addresses} }} tcp {side} {{ {ports} }} drop"));
        }
    }
    rules
}
