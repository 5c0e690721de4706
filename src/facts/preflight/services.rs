//! What else runs on the host and meddles: units, time, restarts, sshd, sudo, firewalls.

use super::{Finding, Subject, catalogue};
use crate::facts::Examination;
use crate::inventory::Component;

/// The units each component needs to be able to start.
fn unit(component: Component) -> &'static str {
    match component {
        Component::Etcd => "etcd.service",
        Component::Postgres => "patroni.service",
        Component::Haproxy => "haproxy.service",
    }
}

pub(super) fn units(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    if !seen.failed_units.is_empty() {
        let units = seen.failed_units.join(", ");
        let help = format!(
            "see why: `systemctl status {}`; when it does not matter: `systemctl reset-failed`",
            seen.failed_units.join(" ")
        );
        found.push(subject.warn(&catalogue::FAILED_UNITS, format!("systemd has failed units: {units}"), help));
    }
    let ours = subject.host.components.iter().map(|component| unit(*component));
    let masked = ours.filter(|name| seen.units.get(*name).is_some_and(|unit| unit.load == "masked"));
    found.extend(seen.instances.iter().filter(|_| subject.has(Component::Postgres)).map(|unit| {
        let instance = unit.trim_start_matches("patroni@").trim_end_matches(".service");
        let help = format!(
            "if it is this cluster's, have it run as patroni.service first, one host after the other: `systemctl disable --now {unit} && mv /etc/patroni/{instance}.yml /etc/patroni/config.yml && systemctl enable --now patroni`. If it is another one's, use another host"
        );
        subject.refuse(&catalogue::FOREIGN_PATRONI, format!("Patroni runs as {unit}: patroni.service cannot run beside it"), help)
    }));
    found.extend(masked.map(|name| {
        let help = format!("find out who masked it and why, then `systemctl unmask {name}`");
        subject.refuse(&catalogue::MASKED_UNIT, format!("{name} is masked: it cannot be started"), help)
    }));
    found
}

/// Programs that set the clock, by their units.
const CLOCKS: [&str; 5] =
    ["systemd-timesyncd.service", "chrony.service", "ntpsec.service", "ntp.service", "openntpd.service"];

impl Examination {
    /// A program that would set the clock and does not run.
    pub fn idle_clock(&self) -> Option<&'static str> {
        let unit = |name: &&str| self.units.get(*name).is_some_and(|unit| unit.load == "loaded");
        CLOCKS.into_iter().find(unit)
    }
}

/// A container has the clock of its machine.
pub(super) fn time(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let runs = |name: &str| seen.units.get(name).is_some_and(|unit| unit.active == "active");
    if seen.container.is_some() || CLOCKS.into_iter().any(runs) {
        return Vec::new();
    }
    let help = match seen.idle_clock() {
        Some(unit) => format!("`systemctl enable --now {unit}`, or `check --fix`"),
        None => "`apt-get install systemd-timesyncd`, or chrony".to_owned(),
    };
    vec![subject.warn(&catalogue::NO_TIME_SYNC, "nothing keeps its clock right", help)]
}

/// Where this program tells needrestart what to leave alone.
pub const NEEDRESTART_FILE: &str = "/etc/needrestart/conf.d/xnat.conf";

pub(super) fn restarts(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    if seen.needrestart && seen.setting(NEEDRESTART_FILE).is_none() {
        found.push(subject.warn(
            &catalogue::NEEDRESTART,
            "needrestart may restart the database when a library is updated",
            format!("`check --fix` writes {NEEDRESTART_FILE}, which tells it to leave the cluster's services alone"),
        ));
    }
    if seen.automatic_reboot {
        found.push(subject.warn(
            &catalogue::AUTOMATIC_REBOOT,
            "unattended-upgrades reboots it when it likes to",
            "`echo 'Unattended-Upgrade::Automatic-Reboot \"false\";' >/etc/apt/apt.conf.d/99-no-reboot`",
        ));
    }
    if seen.reboot_required {
        found.push(subject.advise(
            &catalogue::REBOOT_REQUIRED,
            "it is waiting for a reboot",
            "reboot it before the cluster is on it",
        ));
    }
    found
}

pub(super) fn ssh(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let is = |name: &str, value: &str| seen.sshd.get(name).is_some_and(|set| set == value);
    let mut found = Vec::new();
    // `local` lets what we need through; `remote` does not.
    let closed = [("allowtcpforwarding", "no"), ("allowtcpforwarding", "remote"), ("disableforwarding", "yes")];
    if let Some((name, value)) = closed.into_iter().find(|(name, value)| is(name, value)) {
        found.push(subject.refuse(
            &catalogue::SSH_FORWARDING,
            format!("its sshd lets no connections through ({name} {value})"),
            "in /etc/ssh/sshd_config: `AllowTcpForwarding yes`, at least in a `Match User` for this login; then `systemctl reload ssh`",
        ));
    }
    let sessions = seen.sshd.get("maxsessions").and_then(|value| value.parse::<u32>().ok());
    if let Some(few) = sessions.filter(|sessions| *sessions < 4) {
        let message = format!("its sshd allows {few} sessions in a connection");
        found.push(subject.warn(
            &catalogue::SSH_SESSIONS,
            message,
            "in /etc/ssh/sshd_config: `MaxSessions 10`; then `systemctl reload ssh`",
        ));
    }
    found
}

pub(super) fn sudo(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let Some(line) = seen.sudo_log.first() else { return Vec::new() };
    let message = format!("sudo records what goes into commands, passwords included ({})", line.trim());
    let help = "for the login user, in /etc/sudoers.d: `Defaults:USER !log_input, !log_stdin`";
    vec![subject.warn(&catalogue::SUDO_RECORDS, message, help)]
}

pub(super) fn firewall(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut active = managers(seen);
    if subject.inventory.firewall.enabled && !active.is_empty() {
        let message =
            format!("{} is active beside the inventory's firewall: what either drops is dropped", active.join(" and "));
        let help = "leave one of the two: `ufw disable` or `systemctl disable --now firewalld`, or no [firewall] in the inventory, and open the cluster's ports in the host's own";
        return vec![subject.warn(&catalogue::FIREWALL, message, help)];
    }
    // Our own table is not news.
    let tables = seen.filters.iter().filter_map(|filter| filter.split_once(": ")).map(|(table, _)| table);
    active.extend(tables.filter(|table| !table.contains("xnat")).map(|table| format!("nftables ({table})")));
    active.dedup();
    if active.is_empty() {
        return Vec::new();
    }
    let help = "see that clients reach their ports; those between the hosts are tried here. `nft list ruleset` shows the rules";
    vec![subject.advise(&catalogue::FIREWALL, format!("it has a firewall: {}", active.join(", ")), help)]
}

/// Programs that write firewall rules of their own.
fn managers(seen: &Examination) -> Vec<String> {
    let mut active = Vec::new();
    let lines = seen.settings.get("/etc/ufw/ufw.conf");
    if lines.is_some_and(|lines| lines.iter().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))) {
        active.push("ufw".to_owned());
    }
    if seen.units.get("firewalld.service").is_some_and(|unit| unit.active == "active") {
        active.push("firewalld".to_owned());
    }
    active
}

pub(super) fn confinement(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut found = Vec::new();
    if seen.number("/sys/fs/selinux/enforce") == Some(1) {
        let help = "`setenforce 0`, and SELINUX=permissive in /etc/selinux/config";
        found.push(subject.warn(
            &catalogue::SELINUX,
            "SELinux enforces rules that are not made for these services",
            help,
        ));
    }
    let names = ["etcd", "patroni", "postgres", "haproxy"];
    let profiles = seen.settings.get("/sys/kernel/security/apparmor/profiles");
    let enforced = profiles.into_iter().flatten().filter(|line| line.ends_with("(enforce)"));
    let ours: Vec<&str> = enforced
        .map(|line| line.trim_end_matches("(enforce)").trim())
        .filter(|profile| {
            names.iter().any(|name| profile.rsplit('/').next().is_some_and(|last| last.starts_with(name)))
        })
        .collect();
    if !ours.is_empty() {
        let message = format!("AppArmor confines {}", ours.join(", "));
        let help = format!(
            "see what it denies with `aa-status` and `journalctl -k -g apparmor`; `aa-complain {}`",
            ours.join(" ")
        );
        found.push(subject.warn(&catalogue::APPARMOR, message, help));
    }
    found
}
