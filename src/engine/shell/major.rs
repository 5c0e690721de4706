//! What is asked of a host in an upgrade to another major version of PostgreSQL. The work itself is done by a program of
//! its own there (`templates/patroni/major-upgrade.py.j2`).

use crate::quote;

/// The cluster's data directories, by major version, and how far an upgrade has come: a line each.
pub fn data_dirs(cluster: &str) -> String {
    format!(
        "for dir in /var/lib/postgresql/*/{cluster}; do
  [ -e \"$dir/PG_VERSION\" ] || continue
  read -r major <\"$dir/PG_VERSION\"
  held=no; [ ! -e \"$dir/xnat-upgrade\" ] || held=yes
  led=no; [ ! -e \"$dir/global/pg_control.old\" ] || led=yes
  echo \"$major $held $led\"
done
",
        cluster = quote::sh(cluster)
    )
}

/// A step of the upgrade on this host, with something to read.
pub fn member(verb: &str, from: u32, role: &str, input: &[String]) -> String {
    let place = "cd /var/lib/postgresql && exec runuser -u postgres -- /usr/local/lib/xnat-provision/major-upgrade";
    let command = format!("{place} {verb} {from} {role}");
    if input.is_empty() {
        return command + "\n";
    }
    // lines of JSON, none of which can be the end
    let lines: String = input.iter().map(|line| format!("{line}\n")).collect();
    format!("{command} <<'XNAT_END'\n{lines}XNAT_END\n")
}

pub const TIDY: &str = "rm -f /usr/local/lib/xnat-provision/major-upgrade\n";
