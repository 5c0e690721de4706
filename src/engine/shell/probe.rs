//! Probes → one script. Every line of the answer begins with a letter and a tab; `answer` reads them.

use std::collections::BTreeSet;

use super::{GUARD, GUARD_MARK, UNPACKED};
use crate::facts::POLICY;
use crate::quote;
use crate::resource::{Probe, stamp_path, sysctl_file_path, sysctl_proc_path};

/// The largest present text sent back for a diff.
const TEXT_LIMIT: u32 = 256 * 1024;

/// The script that answers `probes`.
pub fn probes(probes: &[Probe]) -> String {
    let mut script = String::new();
    paths(probes, &mut script);
    packages(probes, &mut script);
    accounts(probes, &mut script);
    sysctls(probes, &mut script);
    units(probes, &mut script);
    unpacked(probes, &mut script);
    checks(probes, &mut script);
    script
}

fn quoted<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote::sh).collect::<Vec<_>>().join(" ")
}

/// A file is looked at as it is; a directory, or a path that only has to exist, through links: an administrator may
/// have moved the data directory to another disk.
fn paths(probes: &[Probe], script: &mut String) {
    let mut files = BTreeSet::new();
    let mut followed = BTreeSet::new();
    for probe in probes {
        match probe {
            Probe::Path { path, want: Some(_) } => files.insert(path.as_str()),
            Probe::Path { path, want: None } => followed.insert(path.as_str()),
            Probe::Unit { files: watched, .. } => {
                files.extend(watched.iter().map(String::as_str));
                true
            }
            _ => true,
        };
    }
    for (letter, option, paths) in [('S', "", &files), ('L', "-L", &followed)] {
        if !paths.is_empty() {
            let format = format!("{letter}\\t%F\\t%U\\t%G\\t%a\\t%Y\\t%n\\n");
            script.push_str(&format!(
                "stat {option} --printf={} -- {} 2>/dev/null\n",
                quote::sh(&format),
                quoted(paths.iter().copied())
            ));
        }
    }
    if !files.is_empty() {
        digests(probes, &files, script);
    }
}

/// Digests of all files by one `sha256sum`, split by the shell, whose `read` takes a byte at a time; the text of those
/// that differ from what is wanted and may be shown.
fn digests(probes: &[Probe], files: &BTreeSet<&str>, script: &mut String) {
    let mut cases = String::new();
    for probe in probes {
        if let Probe::Path { path, want: Some(want) } = probe
            && want.show
        {
            cases.push_str(&format!("    {}) want={} ;;\n", quote::sh(path), quote::sh(&want.sha256)));
        }
    }
    script.push_str(&format!(
        "IFS='\n'; set -f
for line in $(sha256sum -- {} 2>/dev/null); do
  printf 'H\\t%s\\n' \"$line\"
  sum=${{line%% *}} path=${{line#*  }} want=$sum
  case $path in
{cases}  esac
  if [ \"$want\" != \"$sum\" ]; then printf 'T\\t%s\\t' \"$path\"; head -c {TEXT_LIMIT} -- \"$path\" | base64 -w0; echo; fi
done
unset IFS; set +f
",
        quoted(files.iter().copied())
    ));
}

/// One `dpkg-query` for all; `apt-cache` only for what is not installed, since it is slow.
fn packages(probes: &[Probe], script: &mut String) {
    let names: Vec<&str> = probes
        .iter()
        .filter_map(|p| if let Probe::Package { name } = p { Some(name.as_str()) } else { None })
        .collect();
    if names.is_empty() {
        return;
    }
    script.push_str(&format!("found=$(dpkg-query -W -f='${{Package}}\\t${{Version}}\\t${{db:Status-Status}}\\t${{db:Status-Want}}\\n' -- {names} 2>/dev/null)
installed=' '
while IFS='\t' read -r name version status want; do
  [ -n \"$name\" ] || continue
  printf 'P\\t%s\\t%s\\t%s\\t%s\\n' \"$name\" \"$version\" \"$status\" \"$want\"
  [ \"$status\" = installed ] && installed=\"$installed$name \"
done <<XP_FOUND
$found
XP_FOUND
missing=
for name in {names}; do case $installed in *\" $name \"*) ;; *) missing=\"$missing $name\" ;; esac; done
if [ -n \"$missing\" ]; then
  {POLICY}  policy $missing | while read -r first second _; do
    case $first in *:) if [ \"$first\" = Candidate: ]; then printf 'C\\t%s\\t%s\\n' \"$name\" \"$second\"; elif [ -z \"$second\" ]; then name=${{first%:}}; fi ;; esac
  done
fi
if [ -e {GUARD} ]; then {{ IFS= read -r line; IFS= read -r line; }} <{GUARD}; [ \"$line\" = {mark} ] && echo G; fi
",
        names = quoted(names),
        mark = quote::sh(GUARD_MARK)));
}

fn accounts(probes: &[Probe], script: &mut String) {
    for (database, letter) in [("group", 'R'), ("passwd", 'W')] {
        let names: Vec<&str> = probes
            .iter()
            .filter_map(|probe| match probe {
                Probe::Group { name } if database == "group" => Some(name.as_str()),
                Probe::User { name } if database == "passwd" => Some(name.as_str()),
                _ => None,
            })
            .collect();
        if !names.is_empty() {
            script.push_str(&format!(
                "getent {database} {} | while IFS=: read -r name _; do printf '{letter}\\t%s\\n' \"$name\"; done\n",
                quoted(names)
            ));
        }
    }
}

/// `grep` and not the shell's `read`: that reads byte by byte, and /proc/sys answers only the first one so.
fn sysctls(probes: &[Probe], script: &mut String) {
    let keys = probes.iter().filter_map(|probe| if let Probe::Sysctl { key } = probe { Some(key) } else { None });
    let files: Vec<String> = keys.flat_map(|key| [sysctl_proc_path(key), sysctl_file_path(key)]).collect();
    if !files.is_empty() {
        let files = quoted(files.iter().map(String::as_str));
        script.push_str(&format!(
            "grep -sH '' -- {files} | while IFS= read -r line; do printf 'Y\\t%s\\n' \"$line\"; done\n"
        ));
    }
}

/// One `systemctl show` for all; it answers in the order asked, with an empty line between units.
fn units(probes: &[Probe], script: &mut String) {
    let names: Vec<&str> = probes
        .iter()
        .filter_map(|p| if let Probe::Unit { name, .. } = p { Some(name.as_str()) } else { None })
        .collect();
    if names.is_empty() {
        return;
    }
    script.push_str(&format!("systemctl show --timestamp=unix -p LoadState,UnitFileState,ActiveState,NeedDaemonReload,ExecMainStartTimestamp,NRestarts,DropInPaths -- {} | while IFS= read -r line; do printf 'U\\t%s\\n' \"$line\"; done\n",
        quoted(names.iter().copied())));
    for name in names {
        script.push_str(&format!(
            "[ -r {stamp} ] && while IFS= read -r line; do printf 'M\\t%s\\t%s\\n' {name} \"$line\"; done <{stamp}\n",
            stamp = quote::sh(&stamp_path(name)),
            name = quote::sh(name)
        ));
    }
}

/// When the packages that units run were unpacked.
fn unpacked(probes: &[Probe], script: &mut String) {
    let names: BTreeSet<&String> = probes
        .iter()
        .flat_map(|p| if let Probe::Unit { packages, .. } = p { packages.as_slice() } else { &[] })
        .collect();
    if !names.is_empty() {
        // of a package that may be there for several architectures the name has one
        let files = |name: &&String| {
            let name = quote::sh(&format!("{UNPACKED}{name}"));
            format!("{name}.list {name}:*.list")
        };
        let files = names.iter().map(files).collect::<Vec<_>>().join(" ");
        script.push_str(&format!("stat --printf='A\\t%Y\\t%n\\n' -- {files} 2>/dev/null\n"));
    }
}

fn checks(probes: &[Probe], script: &mut String) {
    for (index, probe) in probes.iter().enumerate() {
        if let Probe::Check { command } = probe {
            script.push_str(&format!(
                "if ( eval {} ) >/dev/null 2>&1 </dev/null; then printf 'K\\t{index}\\n'; fi\n",
                quote::sh(command)
            ));
        }
    }
    script.push_str("true\n");
}
