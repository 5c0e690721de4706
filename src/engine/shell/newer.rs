//! The script that asks a host for newer versions of packages. apt refreshes and reads lists of its own in a temporary
//! directory, so the answer is of today and nothing on the host is changed.

use std::time::Duration;

use super::bundle;
use crate::engine::newer::Question;
use crate::quote;

/// Package lists may come over a slow line from a far mirror.
pub const DEADLINE: Duration = Duration::from_secs(600);

const BEGIN: &str = r#"export LC_ALL=C DEBIAN_FRONTEND=noninteractive
temp=$(mktemp -d /var/tmp/xnat-newer.XXXXXX) || exit
trap 'rm -rf -- "$temp"' EXIT
chmod 755 "$temp"
"#;

/// `#clear`: what others have hung behind an update (indexers, notifiers) is not ours to start.
const OF_THE_HOST: &str = r#"cp -a /var/lib/apt/lists "$temp/lists"
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
"#;

/// What was sent before need not be sent again.
const OF_A_BUNDLE: &str = r#"df -Pk /var /usr | { read -r line; read -r one blocks used var rest; read -r two blocks used usr rest; printf 'S\t%s\t%s\t%s\t%s\n' "$var" "$usr" "$one" "$two"; }
for file in /var/cache/xnat-provision/bundle/*.deb; do
  [ -e "$file" ] && printf 'H\t%s\n' "$(basename "$file" .deb)"
done
"#;

const FUNCTIONS: &str = r#"apt-get -c "$temp/apt.conf" -q update >"$temp/log" 2>&1 </dev/null ||
  printf 'F\t%s\n' "$(grep '^[EW]:' "$temp/log" | head -n 1)"
dpkg-query -W -f='${db:Status-Status}\t${source:Package}\t${Package}\t${db:Status-Want}\n' >"$temp/installed"
steps() { # NUMBER FILE: what apt would do, without the packages that FILE lists
  awk -v number="$1" '
    NR == FNR { left[$1] = 1; next }
    $1 == "Remv" { printf "R\t%s\t%s\n", number, $2 }
    $1 == "Inst" && !($2 in left) {
      at = 3; from = ""
      if ($3 ~ /^\[/) { from = $3; at = 4 }
      to = $at; gsub(/[][]/, "", from); gsub(/[()]/, "", to)
      printf "I\t%s\t%s\t%s\t%s\n", number, $2, to, from
    }' "$2" "$temp/log" | while IFS='	' read -r letter number name to from; do
    [ -n "$from" ] && dpkg --compare-versions "$to" lt "$from" && letter=D
    printf '%s\t%s\t%s\t%s\t%s\n' "$letter" "$number" "$name" "$to" "$from"
  done
}
simulate() { # NUMBER ARGUMENTS
  number=$1
  shift
  apt-get -c "$temp/apt.conf" -s -q "$@" >"$temp/log" 2>&1 </dev/null && return
  printf 'E\t%s\t%s\n' "$number" "$(grep '^E:' "$temp/log" | tail -n 1)"
  return 1
}
newer() { # NUMBER PACKAGES: the installed ones of the same source packages, all at once
  names=$(awk -F'\t' -v wanted=" $2 " '
    $1 != "installed" { next }
    NR == FNR { if (index(wanted, " " $3 " ")) source[$2] = 1; next }
    ($2 in source) && $4 != "hold" { print $3 }' "$temp/installed" "$temp/installed" | sort -u)
  [ -n "$names" ] || return 0
  printf '%s\n' $names >>"$temp/ours"
  number=$1
  set --
  for name in $names; do pin "$name"; set -- "$@" "$name$pinned"; done
  simulate "$number" install --only-upgrade -- "$@" || return 0
  echo ' ' >"$temp/none"
  steps "$number" "$temp/none"
}
installed() { # NUMBER PACKAGES: what it takes to have these
  number=$1
  shift
  simulate "$number" install -- "$@" || return 0
  echo ' ' >"$temp/none"
  steps "$number" "$temp/none"
}
others() { # NUMBER PINNED: whatever else could be newer
  echo " " >>"$temp/ours"
  printf '%s\n' $2 >>"$temp/ours"
  simulate "$1" --with-new-pkgs upgrade || return 0
  steps "$1" "$temp/ours"
  awk '/^  / { if (kept) { $1 = $1; print "K\t" $0 }; next } { kept = /kept back/ }' "$temp/log"
}
uses() { # UNIT PACKAGES: those of the programs and libraries its processes have loaded, and of the modules of Python
  group=$(systemctl show -P ControlGroup -- "$1")
  [ -n "$group" ] || return 0
  # whichever version of control groups the machine has
  grep -slE "^[0-9]+:[^:]*:$group(/|\$)" /proc/[0-9]*/cgroup | while read -r file; do
    cat "${file%cgroup}maps" 2>/dev/null
  done | awk '$6 ~ /^\// && $6 !~ /^\/(dev|memfd)/ { print $6; sub(/^\/usr/, "", $6); print $6 }' | sort -u >"$temp/mapped"
  {
    # what belongs to no package is complained of
    xargs -r dpkg-query -S -- <"$temp/mapped" 2>/dev/null | sed -n '/^diversion/d; s/: .*//p' | tr -d ' ' | tr ',' '\n' | sed 's/:.*//'
    apt-cache -c "$temp/apt.conf" depends --recurse --installed --no-suggests --no-recommends --no-conflicts \
      --no-breaks --no-replaces --no-enhances -- $2 2>/dev/null | grep '^python3'
  } | sort -u | while read -r name; do printf 'U\t%s\t%s\n' "$1" "$name"; done
}
"#;

/// One script for all groups; each answer has the group's number.
pub fn newer(question: &Question) -> String {
    let source = match &question.bundle {
        None => OF_THE_HOST.to_owned(),
        Some(index) => format!("root=$temp\n{}{OF_A_BUNDLE}", bundle::set_up(index)),
    };
    let mut script = format!("{BEGIN}{source}{FUNCTIONS}");
    let groups = &question.groups;
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
    if let Some(system) = &question.system {
        script.push_str(&format!("others {} {}\n", groups.len(), quote::sh(&system.pinned.join(" "))));
        for (unit, packages) in &system.units {
            script.push_str(&format!("uses {} {}\n", quote::sh(unit), quote::sh(&packages.join(" "))));
        }
    }
    if !question.install.is_empty() {
        let number = groups.len() + usize::from(question.system.is_some());
        script.push_str(&format!("installed {number} {}\n", quote::sh_all(&question.install)));
    }
    if question.restart {
        script.push_str(super::REBOOT_DUE);
    }
    script.push_str("echo end\n");
    script
}
