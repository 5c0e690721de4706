//! Every check there is: what it looks at, why, and what to do. `CHECKS.md` is made of this, and each finding points
//! there.

use super::Severity;

/// One check. What is found is a [`super::Finding`].
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    pub id: &'static str,
    /// The worst it can find; the rule may make less of it, say on a host that is a member already.
    pub severity: Severity,
    pub about: &'static str,
    pub reason: &'static str,
    pub fix: &'static str,
}

impl Check {
    /// The last part of its id, which is also its heading in `CHECKS.md`.
    pub fn name(&self) -> &'static str {
        self.id.rsplit("::").next().unwrap_or(self.id)
    }
    /// Where more is said about it.
    pub fn anchor(&self) -> String {
        format!("CHECKS.md#{}", self.name())
    }
}

macro_rules! catalogue {
    ($($name:ident $id:literal $severity:ident $about:literal $reason:literal $fix:literal;)*) => {
        $(pub static $name: Check = Check {
            id: concat!("xnat::preflight::", $id),
            severity: Severity::$severity,
            about: $about,
            reason: $reason,
            fix: $fix,
        };)*
        /// All of them, in the order of the document.
        pub static ALL: &[&Check] = &[$(&$name),*];
    };
}

catalogue! {
    NOT_ROOT "not_root" Refuse
        "Scripts run as root."
        "Packages, units and data directories belong to root."
        "Leave `become` out of the inventory (sudo is used when the login user is not root), or log in as root.";
    UNSUPPORTED_SYSTEM "unsupported_system" Refuse
        "Distribution and release (`/etc/os-release`)."
        "Package names, paths and versions are known for Debian 12 and 13; on anything else the result would be guesswork."
        "Use a host with Debian 12 or 13.";
    UNTESTED_SYSTEM "untested_system" Warn
        "Distribution and release, Ubuntu's."
        "The packages are alike and should do, but no test runs there."
        "Rehearse on a machine that does not matter.";
    UNSUPPORTED_ARCHITECTURE "unsupported_architecture" Refuse
        "dpkg's architecture."
        "etcd supports amd64 and arm64 fully; elsewhere it refuses to start or is not tested by its makers."
        "Use a host with amd64 or arm64.";
    NO_SYSTEMD "no_systemd" Refuse
        "Process 1 is systemd."
        "Services are systemd units, and Patroni must be the one who starts PostgreSQL."
        "Use a machine, or a system container that boots systemd.";
    NO_APT "no_apt" Refuse
        "There is an apt-get."
        "Packages come with it."
        "Install it, or use another host.";
    PACKAGES_INTERRUPTED "packages_interrupted" Warn
        "No installation of packages was cut off in the middle."
        "Nothing can be installed until it is finished."
        "`dpkg --configure -a`; `check --fix` does it, and so does `apply` when it installs something.";
    HALF_INSTALLED "half_installed" Warn
        "Every package is either installed or not (dpkg's status)."
        "A package that is unpacked and not configured makes each later installation fail."
        "`dpkg --configure -a`; `check --fix` does it.";
    HELD_PACKAGE "held_package" Refuse
        "No package that is needed is on hold."
        "apt refuses to install or change what is held, in the middle of the run."
        "`apt-mark unhold PACKAGE`, or pin the version in the inventory: `[packages] pins`.";
    PACKAGE_MISSING "package_missing" Refuse
        "apt knows a version of each package that is needed (`apt-cache policy`)."
        "A source that is commented out, or an air gap, is better known before anything is changed."
        "Add the source, or a `[[packages.repository]]`; then `apt-get update`.";
    NO_PACKAGE_LISTS "no_package_lists" Advise
        "apt has lists of packages."
        "Without them it cannot be known whether the packages are to be had; `apply` fetches them first."
        "`apt-get update`.";
    KNOWN_BAD_PAIR "known_bad_pair" Warn
        "Versions of Patroni and etcd, installed or about to be."
        "Patroni before 4.1.1 loses its login to etcd 3.4.42, 3.5.28, 3.6.9 and later where etcd has users, and then demotes the leader."
        "Keep etcd below that version (`[packages] pins`), or take Patroni 4.1.1.";
    MIXED_VERSIONS "mixed_versions" Warn
        "All hosts have, or would get, the same series of etcd and of Patroni."
        "Two series side by side are meant for an upgrade and not for living in."
        "Use the same release and the same package sources on all hosts.";
    NO_SUCH_POSTGRESQL "no_such_postgresql" Refuse
        "The release has the PostgreSQL the inventory asks for."
        "Each release has one major version."
        "Leave `version` out, or add a `[[packages.repository]]` that has it.";
    NO_QUORUM "no_quorum" Refuse
        "The release's Patroni knows `synchronous = \"quorum\"`."
        "Patroni 4.0 was the first."
        "Use `synchronous = \"on\"`, or a newer Patroni.";
    LITTLE_MEMORY "little_memory" Refuse
        "Memory, for the roles of the host."
        "What does not fit is killed by the kernel, the database first."
        "Give it more memory, or fewer roles. 2 GiB is a good beginning for a database.";
    LITTLE_SPACE "little_space" Refuse
        "Free space where packages, data and temporary files go."
        "PostgreSQL and etcd stop when their disk is full."
        "Make room. On a host that is a member already this is a warning, so that `apply` can repair it.";
    FEW_INODES "few_inodes" Refuse
        "Free inodes in the same places."
        "A file system can be out of them while it has space, and says \"no space left\" all the same."
        "Remove small files: `du --inodes -xd2 / | sort -n | tail` shows where they are.";
    READ_ONLY "read_only" Refuse
        "File systems that are written to are mounted so that they can be."
        "ext4 makes itself read-only after an error of the disk."
        "See `dmesg` for the reason, mend the disk, then `mount -o remount,rw`.";
    NOEXEC "noexec" Refuse
        "Programs may be run from `/var` and `/tmp`."
        "dpkg runs the scripts of packages from /var/lib/dpkg, some installers from /tmp (a warning only)."
        "Take `noexec` out of `/etc/fstab` for it, then `mount -o remount,exec`.";
    ODD_FILE_SYSTEM "odd_file_system" Warn
        "The kind of file system the data is on."
        "What is on tmpfs is gone after a reboot; on a network file system a lock or a sync may mean nothing, and a hanging server hangs the database."
        "Put the data on a local disk.";
    SLOW_DISK "slow_disk" Warn
        "How long a small write takes to be on etcd's disk: 200 appends of 2300 bytes, each synced, as etcd's makers measure it. In `check` and before a first `apply`."
        "etcd wants 99 of 100 within 10 ms. Slower, members miss heartbeats, and the cluster elects instead of working."
        "Put etcd's data on a fast disk of its own (mounted where its data is; `[etcd] data_dir` while there is no cluster yet), not on one that backups or images share.";
    CLOCK "clock" Refuse
        "The host's clock against this machine's."
        "Leases are durations and do not mind, but certificates are not valid yet, apt refuses lists from the future, and logs cannot be read side by side."
        "`timedatectl set-ntp true`; up to a minute off is a warning only.";
    CLOCKS_APART "clocks_apart" Warn
        "The hosts' clocks against each other."
        "Replication delay is measured by both clocks, and logs of several hosts are read side by side."
        "Keep the time on all hosts from the same servers.";
    NO_TIME_SYNC "no_time_sync" Warn
        "A time service runs: systemd-timesyncd, chrony, ntpsec, ntp or openntpd. Not in containers, whose clock is the machine's."
        "A clock that nobody sets drifts by seconds a day."
        "`check --fix` enables the one that is installed; otherwise `apt-get install systemd-timesyncd`.";
    SAME_MACHINE "same_machine" Refuse
        "Machine ids differ."
        "One machine under two names is no redundancy, and copies with one id get each other's addresses."
        "Mend the addresses, or make a new id on the copy.";
    MIXED_POSTGRESQL "mixed_postgresql" Refuse
        "All PostgreSQL hosts get the same major version."
        "A replica of another major version cannot start."
        "Use the same release on all of them.";
    MIXED_ARCHITECTURE "mixed_architecture" Refuse
        "All PostgreSQL hosts have the same architecture."
        "A replica is a byte-for-byte copy."
        "Use the same architecture on all of them.";
    MIXED_COLLATION "mixed_collation" Refuse
        "All PostgreSQL hosts have the same version of the C library, unless the locale is one of the C locales."
        "Another version may sort text differently; after a failover indexes on text then miss rows."
        "Use the same release on all of them, or locale `C.UTF-8`.";
    UNKNOWN_LOCALE "unknown_locale" Refuse
        "The host can make the database's locale."
        "initdb fails without it."
        "Mend `locale` under `[database]`; `ls /usr/share/i18n/locales` shows what there is.";
    FOREIGN_ADDRESS "foreign_address" Warn
        "The inventory's address is one of the machine's own."
        "The services bind to it and tell it each other."
        "Mend `address`; behind NAT give the inner one there, and the outer one as `ssh = { host = \"…\" }`.";
    OWN_NAME "own_name" Advise
        "The host's own name resolves."
        "sudo looks it up at every call and waits when nobody answers."
        "Add it to `/etc/hosts`: `127.0.1.1 NAME`.";
    NO_LOCALHOST "no_localhost" Refuse
        "`localhost` is 127.0.0.1."
        "Programs talk to their neighbours by it."
        "Add `127.0.0.1 localhost` to `/etc/hosts`.";
    UNRESOLVED_ADDRESS "unresolved_address" Refuse
        "Addresses that are names resolve on every host, and not to the host itself."
        "etcd and Patroni would talk to themselves, or to nobody."
        "Use IP addresses in the inventory, or add the names to DNS or `/etc/hosts` on every host.";
    RESOLVED_DIFFERENTLY "resolved_differently" Warn
        "Such a name is the same address everywhere."
        "Members would disagree about who is who."
        "Mend DNS or `/etc/hosts`, or use IP addresses.";
    MIRROR_UNRESOLVED "mirror_unresolved" Warn
        "The names of apt's sources resolve, unless apt has a proxy."
        "Nothing can be downloaded otherwise."
        "Mend `/etc/resolv.conf`, or set a proxy: `[packages] proxy`.";
    BLOCKED_PORT "blocked_port" Refuse
        "Every port of every host that another needs by its roles, asked from that host. A port nobody listens on answers too."
        "No answer means a firewall between them. The cluster would come up in part, or fail at its first failover."
        "Open the ports between the hosts; [which](#ports-between-the-hosts) is at the end of this document.";
    NO_ROUTE "no_route" Refuse
        "The same, where there is no way to the other host at all."
        "The network says that it cannot be reached, or a firewall says no on its behalf."
        "Mend addresses, routes or the firewall: `ip route get ADDRESS` on the host.";
    PATH_MTU "path_mtu" Warn
        "Packets as long as the host's interface sends them get to every other host."
        "When only short ones do, connections stand and hang at the first page of data: copying a replica never ends."
        "Set the same MTU on all interfaces between them (`ip link`), or let ICMP \"fragmentation needed\" pass.";
    PORT_TAKEN "port_taken" Refuse
        "Nobody else listens on a port that is needed."
        "Our service could not start."
        "Stop the other, or choose another port in the inventory.";
    EPHEMERAL_PORTS "ephemeral_ports" Warn
        "The ports that are needed are not in the range the kernel takes for outgoing connections."
        "A connection may hold the port just when the service starts again."
        "Raise the lower end: `net.ipv4.ip_local_port_range = 32768 60999`, the kernel's default.";
    FOREIGN_POSTGRESQL "foreign_postgresql" Refuse
        "No other PostgreSQL runs on our ports."
        "It may hold somebody's data: nothing is stopped or removed by this program."
        "See what is in it. If nothing, `pg_dropcluster --stop`; if something, take another host.";
    OTHER_DATABASE "other_database" Warn
        "Other PostgreSQL data on the host."
        "It may start at boot and be in the way."
        "Disable its unit, or remove it if it is empty.";
    UNMANAGED_DATA "unmanaged_data" Refuse
        "Our data directory holds data only where our Patroni looks after it."
        "It is somebody's database, and Patroni would take it for its own or replace it."
        "Keep it under another name, or give the cluster another name.";
    OTHER_VERSION "other_version" Refuse
        "A member has the major version the inventory asks for."
        "`apply` does not upgrade a database."
        "Set `version` to what the cluster runs.";
    RENAMED "renamed" Refuse
        "A member belongs to the inventory's cluster."
        "A cluster cannot be renamed."
        "Set the name back, or use another host.";
    FOREIGN_PATRONI "foreign_patroni" Refuse
        "No Patroni of another cluster is set up here."
        "One host cannot follow two clusters."
        "Use another host, or move its configuration away.";
    FOREIGN_ETCD "foreign_etcd" Refuse
        "No other etcd runs on our ports."
        "It may hold somebody's data."
        "See who uses it; use other ports or another host.";
    OTHER_ETCD "other_etcd" Warn
        "Other etcd data on the host."
        "Debian's etcd starts on it where nobody prevents that."
        "Move it away if nobody needs it.";
    FAILED_UNITS "failed_units" Warn
        "systemd has no failed units."
        "A failed mount, network or disk check is the kind of thing to know before."
        "`systemctl status UNIT`; when it is of no use: `systemctl disable --now UNIT`, `systemctl reset-failed`.";
    MASKED_UNIT "masked_unit" Refuse
        "The units of etcd, Patroni and HAProxy are not masked."
        "A masked unit cannot be started. Somebody masked it for a reason, so it is not undone here."
        "`systemctl unmask UNIT`.";
    NEEDRESTART "needrestart" Warn
        "needrestart leaves etcd, Patroni, PostgreSQL and HAProxy alone."
        "After an update of a library it restarts the services that use it, the leader's database among them."
        "`check --fix` writes `/etc/needrestart/conf.d/xnat.conf`.";
    AUTOMATIC_REBOOT "automatic_reboot" Warn
        "unattended-upgrades does not reboot by itself."
        "Hosts that reboot at the same hour of the night are no cluster."
        "`Unattended-Upgrade::Automatic-Reboot \"false\";` in `/etc/apt/apt.conf.d/`.";
    REBOOT_REQUIRED "reboot_required" Advise
        "No reboot is due."
        "It is easier before the cluster is on it."
        "Reboot it.";
    SWAPPINESS "swappiness" Advise
        "`vm.swappiness` is 10 or less on PostgreSQL hosts. Kernel settings are not looked at in containers, which have the machine's."
        "The kernel swaps the database's memory out to keep files cached that nobody will read again."
        "`check --fix` sets it to 10.";
    OVERCOMMIT "overcommit" Warn
        "`vm.overcommit_memory` is not 1 on PostgreSQL hosts."
        "With 1 the kernel promises any amount of memory, and kills the database when it cannot keep its promise."
        "`check --fix` sets it to 0, the kernel's default; 2 is stricter still.";
    THP "thp" Advise
        "Transparent huge pages are not `always` on PostgreSQL hosts."
        "They make pauses while the kernel puts pages together, and gain a database nothing."
        "Boot with `transparent_hugepage=madvise` (in `GRUB_CMDLINE_LINUX` of `/etc/default/grub`, then `update-grub`).";
    HUGE_PAGES "huge_pages" Refuse
        "Huge pages for `shared_buffers`."
        "With `huge_pages = on` PostgreSQL does not start without enough of them; from 8 GiB on they save memory for page tables."
        "`vm.nr_hugepages` to `shared_buffers` and a tenth, divided by the page size.";
    SHARED_BUFFERS "shared_buffers" Refuse
        "`shared_buffers` against the host's memory."
        "More than 90 % cannot start; more than 60 % leaves little for sessions."
        "A quarter of the memory is usual.";
    KEEPALIVE "keepalive" Advise
        "The kernel notices within an hour that a peer is gone (`net.ipv4.tcp_keepalive_*`)."
        "PostgreSQL and HAProxy have keepalives of their own here; the kernel's are for all other connections, which by default hang for more than two hours."
        "`check --fix` sets 600 s, 30 s, 5 times.";
    OPEN_FILES "open_files" Warn
        "How many files a service may open."
        "HAProxy needs two for each session, and refuses to start when it cannot have them."
        "Raise the limit of the container or machine, or lower `maxconn` under `[haproxy]`.";
    NO_WATCHDOG "no_watchdog" Advise
        "PostgreSQL hosts have a watchdog device. Not in containers."
        "It reboots a leader whose Patroni hangs, before another is promoted."
        "`modprobe softdog`, or the machine's own; see Patroni's documentation on watchdogs.";
    SELINUX "selinux" Warn
        "SELinux does not enforce."
        "There are no rules for where Debian's packages keep what."
        "`setenforce 0`, and permissive in `/etc/selinux/config`; or write the rules.";
    APPARMOR "apparmor" Warn
        "AppArmor does not confine the services."
        "A profile that somebody wrote for another layout denies ours its directories."
        "See `aa-status`; `aa-complain PROFILE`, or add the directories to it.";
    FIREWALL "firewall" Warn
        "Whether there is a firewall on the host: nftables or iptables rules, ufw, firewalld. With `[firewall]` in the inventory, the last two are warned about."
        "This program's ports must be open between the hosts, and those for clients to the clients. What is closed between hosts is found by `blocked_port`. Where two firewalls are kept, a packet must pass both, and only one of them follows the inventory."
        "See that the ports for clients are open too. Of two firewalls leave one: `ufw disable`, `systemctl disable --now firewalld`, or no `[firewall]`.";
    SSH_FORWARDING "ssh_forwarding" Refuse
        "sshd lets TCP connections through (`AllowTcpForwarding`)."
        "etcd, Patroni and PostgreSQL are asked through the SSH connection, so that no port is open to the world."
        "`AllowTcpForwarding yes` in `/etc/ssh/sshd_config`, at least for this login.";
    SSH_SESSIONS "ssh_sessions" Warn
        "sshd allows several sessions in one connection (`MaxSessions`)."
        "Several scripts run at once through one connection."
        "`MaxSessions 10`, the default.";
    SUDO_RECORDS "sudo_records" Warn
        "sudo does not record what goes into commands (`log_input`)."
        "Scripts go over standard input, with passwords and keys in them: they would stand in the record."
        "`Defaults:USER !log_input` in `/etc/sudoers.d/` for the login user.";
    CLOCKSOURCE "clocksource" Advise
        "The kernel's clock source is a quick one."
        "With `hpet` or `acpi_pm` asking the time takes a microsecond and more, and a database asks often."
        "See the machine's firmware, or the settings of the virtual machine; `dmesg | grep -i tsc` says why the tsc is not used.";
    ENTROPY "entropy" Warn
        "The kernel has random numbers."
        "Making keys and passwords waits for them on old kernels."
        "Install haveged, or give the virtual machine a virtio-rng.";
}
