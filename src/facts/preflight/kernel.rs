//! Settings of the kernel. A container has its machine's, so most are not looked at there.

use super::machine::{GIB, human};
use super::{Finding, Subject, catalogue};
use crate::facts::Examination;
use crate::inventory::{Component, Inventory, Scalar};

pub(super) fn memory(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    if seen.container.is_some() || !subject.has(Component::Postgres) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(value) = seen.number("/proc/sys/vm/swappiness").filter(|value| *value > 10) {
        let message = format!("vm.swappiness is {value}: the database's memory is swapped out early");
        found.push(subject.advise(
            &catalogue::SWAPPINESS,
            message,
            "set it to 10: `check --fix`, or a file in /etc/sysctl.d",
        ));
    }
    if seen.number("/proc/sys/vm/overcommit_memory") == Some(1) {
        let message = "vm.overcommit_memory is 1: the kernel promises memory it does not have";
        found.push(subject.warn(
            &catalogue::OVERCOMMIT,
            message,
            "set it to 0: `check --fix`, or to 2 in a file in /etc/sysctl.d",
        ));
    }
    if seen.setting("/sys/kernel/mm/transparent_hugepage/enabled").is_some_and(|line| line.contains("[always]")) {
        let help = "`echo madvise >/sys/kernel/mm/transparent_hugepage/enabled`, and for the next boot transparent_hugepage=madvise in GRUB_CMDLINE_LINUX of /etc/default/grub, then `update-grub`";
        found.push(subject.advise(&catalogue::THP, "transparent huge pages are always made", help));
    }
    found
}

/// What the kernel reserves must hold `shared_buffers` and a tenth for the rest of the shared memory.
pub(super) fn buffers(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    if !subject.has(Component::Postgres) {
        return Vec::new();
    }
    let buffers = shared_buffers(subject.inventory);
    let have = subject.facts.memory_kib;
    let mut found = Vec::new();
    let message = format!("shared_buffers is {}, and the host has {} of memory", human(buffers), human(have));
    let help = "lower shared_buffers under [postgresql] parameters; a quarter of the memory is usual";
    if buffers > have / 10 * 9 {
        found.push(subject.refuse(&catalogue::SHARED_BUFFERS, message, help));
    } else if buffers > have / 10 * 6 {
        found.push(subject.warn(&catalogue::SHARED_BUFFERS, message, help));
    }
    let page = seen.huge_page_kib;
    let needed = (buffers + buffers / 10).checked_div(page).unwrap_or(0);
    if page == 0 || seen.huge_pages >= needed {
        return found;
    }
    let required = text(subject.inventory, "huge_pages").is_some_and(|value| value == "on");
    let message = format!("there are {} huge pages, and shared_buffers would take {needed}", seen.huge_pages);
    let help = format!("`sysctl -w vm.nr_hugepages={needed}`, and the same in a file in /etc/sysctl.d");
    if required {
        found.push(subject.refuse(&catalogue::HUGE_PAGES, message, help));
    } else if buffers >= 8 * GIB && seen.container.is_none() {
        found.push(subject.advise(&catalogue::HUGE_PAGES, message, help));
    }
    found
}

/// In KiB; the default is that of `role::dynamic_config`.
fn shared_buffers(inventory: &Inventory) -> u64 {
    text(inventory, "shared_buffers").and_then(|size| kib(&size)).unwrap_or(256 << 10)
}

/// A parameter of the inventory; PostgreSQL does not care about case.
fn text(inventory: &Inventory, name: &str) -> Option<String> {
    let mut all = inventory.postgresql.parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    all.next().map(|(_, value)| match value {
        Scalar::Bool(value) => if *value { "on" } else { "off" }.to_owned(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(value) => value.to_lowercase(),
    })
}

/// As PostgreSQL writes sizes (here in small letters); without a unit pages of 8 KiB.
fn kib(size: &str) -> Option<u64> {
    let at = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    let (number, unit) = (size[..at].parse::<u64>().ok()?, size[at..].trim());
    match unit {
        "" => number.checked_mul(8),
        "b" => Some(number / 1024),
        "kb" => Some(number),
        "mb" => number.checked_mul(1 << 10),
        "gb" => number.checked_mul(1 << 20),
        "tb" => number.checked_mul(1 << 30),
        _ => None,
    }
}

pub(super) fn keepalive(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let value = |name: &str| seen.number(&format!("/proc/sys/net/ipv4/tcp_keepalive_{name}"));
    let (Some(time), Some(interval), Some(probes)) = (value("time"), value("intvl"), value("probes")) else {
        return Vec::new();
    };
    let seconds = time.saturating_add(interval.saturating_mul(probes));
    if seconds <= 3600 {
        return Vec::new();
    }
    let message =
        format!("the kernel takes {} min to notice that a peer is gone (net.ipv4.tcp_keepalive_*)", seconds / 60);
    let help = "set 600 s, then 30 s, 5 times: `check --fix`, or a file in /etc/sysctl.d";
    vec![subject.advise(&catalogue::KEEPALIVE, message, help)]
}

pub(super) fn limits(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    let mut needed = 4096;
    if subject.has(Component::Haproxy) {
        // two for each session, and some for itself
        needed = needed.max(u64::from(subject.inventory.haproxy.maxconn) * 2 + 300);
    }
    let Some(limit) = seen.open_files.filter(|limit| *limit < needed) else { return Vec::new() };
    let message = format!("a service may open {limit} files at most, and {needed} are needed");
    let help = "raise it where the machine or container is started (`LimitNOFILE`, `prlimit`), or lower maxconn under [haproxy]";
    vec![subject.warn(&catalogue::OPEN_FILES, message, help)]
}

pub(super) fn devices(subject: &Subject<'_>, seen: &Examination) -> Vec<Finding> {
    if seen.container.is_some() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if subject.has(Component::Postgres) && !seen.watchdog {
        let help = "`modprobe softdog && echo softdog >/etc/modules-load.d/softdog.conf`, unless the machine has one of its own";
        found.push(subject.advise(&catalogue::NO_WATCHDOG, "there is no /dev/watchdog", help));
    }
    let slow = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];
    let source = seen.setting("/sys/devices/system/clocksource/clocksource0/current_clocksource").unwrap_or_default();
    if slow.contains(&source) {
        let help = "see why with `dmesg | grep -i -e tsc -e clocksource`, and what else there is in /sys/devices/system/clocksource/clocksource0/available_clocksource";
        found.push(subject.advise(&catalogue::CLOCKSOURCE, format!("its clock source is {source}, a slow one"), help));
    }
    if let Some(bits) = seen.number("/proc/sys/kernel/random/entropy_avail").filter(|bits| *bits < 128) {
        let help = "`apt-get install haveged`, or give the virtual machine a virtio-rng";
        found.push(subject.warn(&catalogue::ENTROPY, format!("the kernel has {bits} bits of randomness left"), help));
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_read_as_postgresql_reads_them() {
        let read = ["16384", "128mb", "2gb", "1024kb", "1tb", "8 gb", "x", "99999999999tb"].map(super::kib);
        let big = 8 << 20;
        assert_eq!(
            read,
            [Some(131_072), Some(131_072), Some(2 << 20), Some(1024), Some(1 << 30), Some(big), None, None]
        );
    }
}
