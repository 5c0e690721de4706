//! Actions → one script. Each action runs in a subshell of its own and says so on standard output when it is done, so
//! that a failure is known to be the next one's. What tools print goes to standard error.

use std::time::Duration;

use super::bundle::STORE;
use super::{Fence, GUARD, GUARD_MARK, fenced};
use crate::quote;
use crate::resource::{
    Action, FIREWALL_TOOL, PackageWanted, TryRules, UnitStart, WriteFile, octal, stamp_path, sysctl_file_path,
    sysctl_proc_path,
};

const APT_LOG: &str = "/var/log/xnat-provision-apt.log";

/// How long to wait for a script of another run: as long as that may take to install packages.
const ALONE_WAIT: Duration = INSTALL_DEADLINE;

/// Packages may come over a slow line from a far mirror.
const INSTALL_DEADLINE: Duration = Duration::from_secs(1800);

/// One script at a time changes a host. One whose connection was cut goes on to the end of what it is at: it may still
/// be installing packages, and takes its guard away when it is done. What it starts does not inherit the lock. One that
/// waited may find that another run has the host by now, and then does nothing.
pub fn alone(fence: &Fence, script: &str) -> String {
    format!(
        "install -d -m 0755 /run/xnat-provision || exit
exec 9</run/xnat-provision
flock -w {seconds} 9 || {{ echo 'waited {seconds} s for another run of xnat-provision on this host' >&2; exit 75; }}
{fenced}
{script}",
        fenced = fenced(fence),
        seconds = ALONE_WAIT.as_secs()
    )
}

/// The script that performs `actions` in order and stops at the first that fails.
pub fn actions(actions: &[Action]) -> String {
    let mut script = String::from("umask 022\nexport DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1\n");
    for group in grouped(actions) {
        let body = match group {
            [first, ..] if first.installs().is_some() => install(group),
            [one, ..] => single(one),
            [] => String::new(),
        };
        script.push_str(&format!(
            "( set -e\n{body}\n) >&2 9>&-\nrc=$?; [ $rc -eq 0 ] || exit $rc\necho {}\n",
            marks(group.len())
        ));
    }
    script
}

fn marks(count: usize) -> String {
    vec!["done"; count].join(" ")
}

/// How many actions the script said it completed.
pub fn completed(actions: &[Action], stdout: &str) -> usize {
    stdout.split_whitespace().filter(|word| *word == "done").count().min(actions.len())
}

/// How long the whole script may take.
pub fn deadline(actions: &[Action]) -> Duration {
    let each = |action: &Action| match action {
        Action::StartUnit(start) | Action::RestartUnit(start) | Action::ReloadUnit(start) => start.timeout,
        Action::RunCommand { .. } => Duration::from_secs(300),
        _ => Duration::ZERO,
    };
    let installs = actions.iter().any(|action| action.installs().is_some());
    let base = if installs { INSTALL_DEADLINE } else { Duration::from_secs(60) };
    ALONE_WAIT + base + actions.iter().map(each).sum::<Duration>()
}

/// Neighbouring installations are one apt run; everything else stands alone.
fn grouped(actions: &[Action]) -> Vec<&[Action]> {
    let alike = |a: &Action, b: &Action| std::mem::discriminant(a) == std::mem::discriminant(b);
    actions.chunk_by(|a, b| a.installs().is_some() && alike(a, b)).collect()
}

fn single(action: &Action) -> String {
    match action {
        Action::MakeDirectory { path, owner, group, mode } => {
            format!(
                "install -d -o {} -g {} -m {} -- {}",
                quote::sh(owner),
                quote::sh(group),
                octal(*mode),
                quote::sh(path)
            )
        }
        Action::WriteFile(file) => write_file(file),
        Action::SetOwnership { path, owner, group, mode } => {
            let path = quote::sh(path);
            format!("chown -- {}:{} {path}\nchmod {} -- {path}", quote::sh(owner), quote::sh(group), octal(*mode))
        }
        Action::InstallPackage(_) | Action::InstallFromBundle(_) => install(std::slice::from_ref(action)),
        // what was under way may be half done, of packages nobody asked for by name
        Action::RemoveInstallGuard => {
            format!("log={APT_LOG}\n{APT}\napt dpkg --configure -a --force-confold\n{}", restore_guard())
        }
        Action::AddGroup { name } => format!("groupadd --system -- {}", quote::sh(name)),
        Action::AddUser { name, group, home, shell } => format!(
            "useradd --system --no-create-home --gid {} --home-dir {} --shell {} -- {}",
            quote::sh(group),
            quote::sh(home),
            quote::sh(shell),
            quote::sh(name)
        ),
        Action::SetSysctl { key, value } => set_sysctl(key, value),
        Action::DaemonReload => "systemctl daemon-reload".to_owned(),
        // also one that is masked until the next boot
        Action::UnmaskUnit { name } => {
            let name = quote::sh(name);
            format!("systemctl unmask --quiet -- {name}\nsystemctl unmask --quiet --runtime -- {name}")
        }
        Action::EnableUnit { name } => format!("systemctl enable --quiet -- {}", quote::sh(name)),
        Action::DisableUnit { name } => format!("systemctl disable --quiet -- {}", quote::sh(name)),
        Action::StopUnit { name } => format!("systemctl stop -- {}", quote::sh(name)),
        Action::StartUnit(start) => start_unit("start", start),
        Action::RestartUnit(start) => start_unit("restart", start),
        Action::ReloadUnit(start) => start_unit("reload", start),
        Action::RunCommand { run } => format!("sh -c {} </dev/null", quote::sh(run)),
        Action::TryRules(rules) => try_rules(rules),
        Action::ConfirmRules { .. } => format!("{FIREWALL_TOOL} confirm"),
    }
}

/// A temporary file in the same directory with the right owner and mode before the first byte is in it, synced,
/// checked by its own program, renamed, and the rename synced.
fn write_file(file: &WriteFile) -> String {
    let (directory, name) = file.path.rsplit_once('/').unwrap_or((".", &file.path));
    let directory = if directory.is_empty() { "/" } else { directory };
    let validate = match &file.validate {
        // `sh -c` gives the command $1 and $2, whatever else is in scope
        Some(command) => {
            format!("sh -c {} validate \"$temp\" {} </dev/null\n", quote::sh(command), quote::sh(&file.path))
        }
        None => String::new(),
    };
    format!(
        "dir={dir}
[ -d \"$dir\" ] || {{ echo \"there is no directory $dir for {name_plain}\"; exit 1; }}
if [ -d {path} ] && [ ! -L {path} ]; then echo {path} is a directory; exit 1; fi
rm -f -- \"$dir\"/.{name}.xnat-??????
temp=$(mktemp -- \"$dir\"/.{name}.xnat-XXXXXX)
trap 'rm -f -- \"$temp\"' EXIT
chown -- {owner}:{group} \"$temp\"
chmod {mode} -- \"$temp\"
base64 -d >\"$temp\" {body}
sync -- \"$temp\"
{validate}mv -fT -- \"$temp\" {path}
sync -- \"$dir\"",
        dir = quote::sh(directory),
        name = quote::sh(name),
        name_plain = name.replace(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c)), "?"),
        path = quote::sh(&file.path),
        owner = quote::sh(&file.owner),
        group = quote::sh(&file.group),
        mode = octal(file.mode),
        body = quote::heredoc_base64(file.content.as_bytes()),
    )
}

/// The timer that takes them back is on the host, so it does not matter what becomes of us.
fn try_rules(rules: &TryRules) -> String {
    format!(
        "temp=$(mktemp /run/xnat-provision/firewall.XXXXXX)
trap 'rm -f -- \"$temp\"' EXIT
base64 -d >\"$temp\" {body}
{FIREWALL_TOOL} try \"$temp\" {seconds}",
        body = quote::heredoc_base64(rules.content.as_bytes()),
        seconds = rules.within.as_secs(),
    )
}

/// One apt run for everything. Nothing it installs may start by itself: Debian would start a one-member etcd, HAProxy,
/// and a PostgreSQL cluster of its own. What runs already is restarted by its package as ever, but for our services, whose
/// turn comes later. apt's talk goes to a file, so that a cut connection does not kill it mid-way;
/// the next run then waits for it, and finishes what a power cut left half done.
fn install(group: &[Action]) -> String {
    let words = |wanted: &PackageWanted| match &wanted.version {
        Some(version) => quote::sh(&format!("{}={version}", wanted.name)),
        None => quote::sh(&wanted.name),
    };
    let wanted: Vec<String> = group.iter().filter_map(Action::installs).map(words).collect();
    // read last, so that nothing the host's apt is configured for comes through
    let settings = match group {
        [Action::InstallFromBundle(_), ..] => format!("-c {STORE}/apt.conf "),
        _ => String::new(),
    };
    format!(
        "log={APT_LOG}
: >\"$log\"
if [ -e {GUARD} ] && ! grep -qxF {mark} {GUARD}; then mv -f {GUARD} {GUARD}.xnat-saved; fi
printf '%s\\n' '#!/bin/sh' {mark} {deny} >{GUARD}
chmod 755 {GUARD}
unguard() {{ {restore}; }}
trap unguard EXIT
{APT}
apt dpkg --configure -a --force-confold
apt apt-get {settings}-q -o Acquire::Retries=3 update
apt apt-get {settings}-q -y -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef -o APT::Install-Recommends=false install -- {wanted}",
        mark = quote::sh(GUARD_MARK),
        deny = quote::sh(GUARD_RULE),
        restore = restore_guard(),
        wanted = wanted.join(" "),
    )
}

/// What Debian's maintainer scripts ask before they start or restart SERVICE ACTION; 101 is no.
const GUARD_RULE: &str = r#"case "$1 $2" in etcd*|patroni*|postgresql*|haproxy*|*" start") exit 101;; esac"#;

/// Run a package tool. dpkg and `apt-get update` give up at once when another holds their lock, as apt's daily timer
/// does for minutes after a boot: so it is tried again, for five minutes.
const APT: &str = r#"apt() {
  tries=300
  until "$@" >>"$log" 2>&1 </dev/null; do
    held=$(tail -n 6 "$log" | grep 'Could not get lock\|lock was locked by' | tail -n 1)
    [ -n "$held" ] || { tail -n 30 "$log"; exit 100; }
    [ $tries -gt 0 ] || { echo "waited 300 s for the package manager: $held"; exit 100; }
    tries=$((tries - 1))
    sleep 1
  done
}"#;

fn restore_guard() -> String {
    format!("rm -f {GUARD}; if [ -e {GUARD}.xnat-saved ]; then mv -f {GUARD}.xnat-saved {GUARD}; fi")
}

fn set_sysctl(key: &str, value: &str) -> String {
    format!(
        "printf '%s = %s\\n' {key} {value} >{file}\nprintf '%s\\n' {value} >{proc}",
        key = quote::sh(key),
        value = quote::sh(value),
        file = quote::sh(&sysctl_file_path(key)),
        proc = quote::sh(&sysctl_proc_path(key)),
    )
}

/// The stamp is made before the start, of what the unit is about to read, and put in place only after it.
fn start_unit(verb: &str, start: &UnitStart) -> String {
    let name = quote::sh(&start.name);
    let stamp = quote::sh(&stamp_path(&start.name));
    let files = start.files.iter().map(|file| quote::sh(file)).collect::<Vec<_>>().join(" ");
    let digests = if files.is_empty() {
        format!(": >{stamp}.new")
    } else {
        // a watched file that is absent has no line, which is what an absent file should have
        format!("sha256sum -- {files} >{stamp}.new 2>/dev/null || true")
    };
    // systemd does not notice a unit file of ours that newly stands in front of the distribution's (NeedDaemonReload
    // only looks at files it has loaded), and would start the other one. And a unit that failed too often starts again; one systemd does not know yet cannot
    // have failed, which `reset-failed` calls an error.
    let prepare = match verb {
        "reload" => String::new(),
        _ => format!("systemctl daemon-reload\nsystemctl reset-failed -- {name} 2>/dev/null || true\n"),
    };
    format!(
        "install -d -m 0755 /run/xnat-provision
{digests}
{prepare}timeout {seconds} systemctl {verb} -- {name} || {{
  rc=$?
  [ $rc -eq 124 ] && echo \"{verb} took longer than {seconds} s\"
  journalctl --no-pager -q -n 20 -o cat -u {name}
  exit $rc
}}
mv -f -- {stamp}.new {stamp}",
        seconds = start.timeout.as_secs().max(1),
    )
}

#[cfg(test)]
mod tests {
    use super::APT;

    /// The tool is a script that fails as `body` says; `sleep` is not what is tested.
    fn apt(body: &str) -> std::process::Output {
        let script = format!(
            "log=$(mktemp)\nsleep() {{ :; }}\n{APT}\n{body}\n( set -e\napt tool\n)\nrc=$?\nrm -f $log\nexit $rc"
        );
        std::process::Command::new("sh").args(["-c", &script]).output().expect("sh runs")
    }

    #[test]
    fn a_held_lock_is_waited_for_and_any_other_failure_is_not() {
        let held = "echo 'E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)' >&2";
        let output = apt(&format!("n=0; tool() {{ n=$((n + 1)); [ $n -gt 3 ] || {{ {held}; return 100; }}; }}"));
        assert!(output.status.success(), "{output:?}");
        let output = apt(&format!("tool() {{ {held}; return 100; }}"));
        assert_eq!(output.status.code(), Some(100));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with("waited 300 s for the package manager: E: Could not get lock"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let output = apt("n=0; tool() { n=$((n + 1)); echo \"try $n: no such package\"; return 100; }");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(100), &b"try 1: no such package\n"[..]));
    }
}
