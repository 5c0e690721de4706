//! The faults, and what each is expected to do.

use serde::{Deserialize, Serialize};

/// Something that goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    Switchover,
    Replica,
    Haproxy,
    EtcdLeader,
    KillPatroni,
    KillPostgres,
    KillBoth,
    StopPatroni,
    StopPostgres,
    PowerOff,
    CutOff,
    CutFromEtcd,
    CutFromReplicas,
    CutFromHaproxy,
    EtcdQuorum,
    DiskFull,
    ClockBack,
    ClockAhead,
}

/// Whether another member is to lead afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moves {
    Must,
    /// Either is right.
    May,
    MustNot,
}

impl Fault {
    pub const ALL: [Self; 18] = [
        Self::Switchover,
        Self::Replica,
        Self::Haproxy,
        Self::EtcdLeader,
        Self::KillPatroni,
        Self::KillPostgres,
        Self::KillBoth,
        Self::StopPatroni,
        Self::StopPostgres,
        Self::PowerOff,
        Self::CutOff,
        Self::CutFromEtcd,
        Self::CutFromReplicas,
        Self::CutFromHaproxy,
        Self::EtcdQuorum,
        Self::DiskFull,
        Self::ClockBack,
        Self::ClockAhead,
    ];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Switchover => "switchover",
            Self::Replica => "replica",
            Self::Haproxy => "haproxy",
            Self::EtcdLeader => "etcd-leader",
            Self::KillPatroni => "kill-patroni",
            Self::KillPostgres => "kill-postgres",
            Self::KillBoth => "kill-both",
            Self::StopPatroni => "stop-patroni",
            Self::StopPostgres => "stop-postgres",
            Self::PowerOff => "power-off",
            Self::CutOff => "cut-off",
            Self::CutFromEtcd => "cut-from-etcd",
            Self::CutFromReplicas => "cut-from-replicas",
            Self::CutFromHaproxy => "cut-from-haproxy",
            Self::EtcdQuorum => "etcd-quorum",
            Self::DiskFull => "disk-full",
            Self::ClockBack => "clock-back",
            Self::ClockAhead => "clock-ahead",
        }
    }

    /// What is done.
    pub fn injection(self) -> &'static str {
        match self {
            Self::Switchover => "the leader hands over to a replica, as asked",
            Self::Replica => "SIGKILL for Patroni and PostgreSQL of one replica",
            Self::Haproxy => "SIGKILL for the HAProxy that clients are connected through",
            Self::EtcdLeader => "SIGKILL for the member that leads etcd",
            Self::KillPatroni => "SIGKILL for the leader's Patroni",
            Self::KillPostgres => "SIGKILL for the leader's PostgreSQL",
            Self::KillBoth => "SIGKILL for the leader's Patroni and PostgreSQL at once",
            Self::StopPatroni => "SIGSTOP for the leader's Patroni: it hangs",
            Self::StopPostgres => "SIGSTOP for the leader's PostgreSQL: it accepts connections and answers none",
            Self::PowerOff => "the leader's machine loses its power",
            Self::CutOff => "the network cuts the leader's machine off from everybody but this program",
            Self::CutFromEtcd => "the network cuts the leader off from all of etcd",
            Self::CutFromReplicas => "the network cuts the leader off from the replicas",
            Self::CutFromHaproxy => "the network cuts the leader off from every HAProxy",
            Self::EtcdQuorum => "etcd is stopped on a majority of its hosts",
            Self::DiskFull => "the file system of the leader's data is filled to the last byte",
            Self::ClockBack => "the clock of the leader's machine is set back by an hour",
            Self::ClockAhead => "the clock of the leader's machine is set ahead by an hour",
        }
    }

    /// What should come of it.
    pub fn effect(self) -> &'static str {
        match self {
            Self::Switchover => "another leader within seconds, nothing lost",
            Self::Replica => "writes go on, and reads through the other replicas; it comes back by itself",
            Self::Haproxy => "clients go to another HAProxy, or wait for systemd to start this one again",
            Self::EtcdLeader => "etcd elects another leader; the database does not notice",
            Self::KillPatroni => "systemd starts it again before its lease ends; writes go on",
            Self::KillPostgres => "Patroni starts it again, or a replica takes over when that takes too long",
            Self::KillBoth => "systemd and Patroni start them again before the lease ends",
            Self::StopPatroni => {
                "the liveness unit kills it and systemd starts it again before its lease ends; without that unit (or a watchdog) another member leads while PostgreSQL here still takes writes"
            }
            Self::StopPostgres => {
                "Patroni does not notice: the liveness unit kills it, and Patroni starts it again; without that unit nobody can connect until it goes on"
            }
            Self::PowerOff => "a replica takes over when the lease ends",
            Self::CutOff => "a replica takes over; the old leader demotes itself before that",
            Self::CutFromEtcd => {
                "with failsafe mode it goes on as long as it reaches all members, otherwise it demotes itself"
            }
            Self::CutFromReplicas => "writes go on (in synchronous mode only when Patroni lets them go)",
            Self::CutFromHaproxy => "clients cannot write until it is over: Patroni and etcd see nothing wrong",
            Self::EtcdQuorum => {
                "with failsafe mode the leader goes on; otherwise it becomes read-only until etcd is back"
            }
            Self::DiskFull => {
                "what needs more space fails until there is some; when WAL does, PostgreSQL ends and a replica takes over"
            }
            Self::ClockBack => {
                "the liveness unit has Patroni begin anew, and writes go on; without that unit Patroni does not renew its lease, and another member leads"
            }
            Self::ClockAhead => {
                "the liveness unit has Patroni begin anew, and writes go on; without that unit HAProxy finds no leader until Patroni's next round"
            }
        }
    }

    /// How it is undone, also when this program is killed meanwhile.
    pub fn undo(self) -> &'static str {
        match self {
            Self::Switchover => "nothing to undo",
            Self::Replica
            | Self::Haproxy
            | Self::EtcdLeader
            | Self::KillPatroni
            | Self::KillPostgres
            | Self::KillBoth => "systemd and Patroni start it again",
            Self::StopPatroni | Self::StopPostgres => "SIGCONT, by a timer on the host if need be",
            Self::PowerOff => "the machine is switched on again: of a lab by this program, else by you (--by-hand)",
            Self::CutOff | Self::CutFromEtcd | Self::CutFromReplicas | Self::CutFromHaproxy => {
                "the rules are removed, by a timer on the host if need be"
            }
            Self::EtcdQuorum => "etcd is started again, by a timer on the hosts if need be",
            Self::DiskFull => "the file that fills it is removed, by a timer on the host if need be",
            Self::ClockBack | Self::ClockAhead => {
                "the clock is set as one says that nobody has set, by a timer on the host if need be"
            }
        }
    }

    /// It costs a production cluster some seconds at most, and mends itself.
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Switchover | Self::Replica | Self::Haproxy | Self::EtcdLeader | Self::KillPatroni)
    }

    /// Who is to lead when it is over.
    pub fn moves(self) -> Moves {
        match self {
            Self::Switchover | Self::PowerOff | Self::CutOff => Moves::Must,
            Self::Replica | Self::Haproxy | Self::EtcdLeader | Self::CutFromHaproxy | Self::CutFromReplicas => {
                Moves::MustNot
            }
            _ => Moves::May,
        }
    }

    /// It lasts until it is undone, rather than being over at once.
    pub fn lasts(self) -> bool {
        matches!(
            self,
            Self::StopPatroni
                | Self::StopPostgres
                | Self::PowerOff
                | Self::CutOff
                | Self::CutFromEtcd
                | Self::CutFromReplicas
                | Self::CutFromHaproxy
                | Self::EtcdQuorum
                | Self::DiskFull
                | Self::ClockBack
                | Self::ClockAhead
        )
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
