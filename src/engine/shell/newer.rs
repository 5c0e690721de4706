//! The script that asks a host for newer versions of packages. apt refreshes and reads lists of its own in a temporary
//! directory, so the answer is of today and nothing on the host is changed.

use std::time::Duration;

use crate::quote;
use crate::resource::PackageWanted;

/// Package lists may come over a slow line from a far mirror.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// `#clear`: what others have hung behind an update (indexers, notifiers) is not ours to start.
const BEGIN: &str = r#"export LC_ALL=C DEBIAN_FRONTEND=noninteractive
temp=$(mktemp -d /var/tmp/xnat-newer.XXXXXX) || exit
trap 'rm -rf -- "$temp"' EXIT
chmod 755 "$temp"
cp -a /var/lib/apt/lists "$temp/lists"
cat >"$temp/apt.conf" <<XP_CONF
Dir::State::lists "$temp/lists";
Dir::Cache::pkgcache "$temp/packages";
Dir::Cache::srcpkgcache "$temp/sources";
APT::Update::Error-Mode "any";
APT::Install-Recommends "false";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
XP_CONF
apt-get -c "$temp/apt.conf" -q update >"$temp/log" 2>&1 </dev/null ||
  printf 'F\t%s\n' "$(grep '^[EW]:' "$temp/log" | head -n 1)"
dpkg-query -W -f='${db:Status-Status}\t${source:Package}\t${Package}\t${db:Status-Want}\n' >"$temp/installed"
newer() { # NUMBER PACKAGES: the installed ones of the same source packages, all at once
  number=$1
  names=$(awk -F'\t' -v wanted=" $2 " '
    $1 != "installed" { next }
    NR == FNR { if (index(wanted, " " $3 " ")) source[$2] = 1; next }
    ($2 in source) && $4 != "hold" { print $3 }' "$temp/installed" "$temp/installed" | sort -u)
  set --
  for name in $names; do pin "$name"; set -- "$@" "$name$pinned"; done
  [ $# -gt 0 ] || return 0
  if ! apt-get -c "$temp/apt.conf" -s -q install --only-upgrade -- "$@" >"$temp/log" 2>&1 </dev/null; then
    printf 'E\t%s\t%s\n' "$number" "$(grep '^E:' "$temp/log" | tail -n 1)"
    return 0
  fi
  awk -v number="$number" '
    $1 == "Remv" { printf "R\t%s\t%s\n", number, $2 }
    $1 == "Inst" {
      at = 3; from = ""
      if ($3 ~ /^\[/) { from = $3; at = 4 }
      to = $at; gsub(/[][]/, "", from); gsub(/[()]/, "", to)
      printf "I\t%s\t%s\t%s\t%s\n", number, $2, to, from
    }' "$temp/log" | while IFS='	' read -r letter number name to from; do
    [ -n "$from" ] && dpkg --compare-versions "$to" lt "$from" && letter=D
    printf '%s\t%s\t%s\t%s\t%s\n' "$letter" "$number" "$name" "$to" "$from"
  done
}
"#;

/// One script for all groups; each answer has the group's number.
pub fn newer(groups: &[Vec<PackageWanted>]) -> String {
    let mut script = BEGIN.to_owned();
    script.push_str("pin() {\n  pinned=\n  case $1 in\n");
    let mut pinned: Vec<(&str, &str)> =
        groups.iter().flatten().filter_map(|it| Some((it.name.as_str(), it.version.as_deref()?))).collect();
    pinned.sort_unstable();
    pinned.dedup();
    for (name, version) in pinned {
        script.push_str(&format!("    {}) pinned={} ;;\n", quote::sh(name), quote::sh(&format!("={version}"))));
    }
    script.push_str("  esac\n}\n");
    for (number, group) in groups.iter().enumerate() {
        let names: Vec<&str> = group.iter().map(|it| it.name.as_str()).collect();
        script.push_str(&format!("newer {number} {}\n", quote::sh(&names.join(" "))));
    }
    script.push_str("echo end\n");
    script
}
