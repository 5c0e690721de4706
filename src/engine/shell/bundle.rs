//! apt on a host with the packages of a bundle and nothing else: no other source, no network, and nothing of the host's own
//! sources is changed.

use crate::quote;

/// Where a bundle's packages lie on a host, by their digests, with their index.
pub const STORE: &str = "/var/cache/xnat-provision/bundle";

/// Makes `$root` a source of packages with this index. It is checked already, so apt need not.
pub fn set_up(index: &str) -> String {
    format!(
        r#"mkdir -p "$root/lists" && chmod 755 "$root" "$root/lists" || exit
base64 -d >"$root/Packages" {index}
[ "$(stat -c %s "$root/Packages")" = {length} ] || exit
printf 'deb [trusted=yes] file:%s ./\n' "$root" >"$root/sources.list" || exit
cat >"$root/apt.conf" <<XP_CONF || exit
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$root/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Install-Recommends "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
XP_CONF
"#,
        index = quote::heredoc_base64(index.as_bytes()),
        length = index.len()
    )
}

/// The same in the place packages are installed from.
pub fn prepare(index: &str) -> String {
    format!("umask 022\nroot={STORE}\n{}", set_up(index))
}

/// What of a bundle is on the host: whole packages, parts of some, and the space there is. A line each.
pub const STORED: &str = r#"umask 022
mkdir -p /var/cache/xnat-provision/bundle && cd /var/cache/xnat-provision/bundle || exit
for file in *.deb; do
  [ -e "$file" ] && printf '%s  %s\n' "${file%.deb}" "$file"
done >.sums
[ ! -s .sums ] || sha256sum -c .sums 2>/dev/null | sed -n 's/^\(.*\)\.deb: OK$/H \1/p; s/^\(.*\)\.deb: FAILED.*/B \1/p' | while read -r letter digest; do
  # what a power cut has spoilt is fetched again
  if [ "$letter" = B ]; then rm -f "$digest.deb"; else echo "H $digest"; fi
done
rm -f .sums
for file in .*.part; do
  [ -e "$file" ] || continue
  digest=${file%.part}
  echo "P ${digest#.} $(stat -c %s "$file")"
done
df -Pk . | { read -r line; read -r device blocks used free rest; echo "S $free"; }
echo end
"#;

/// Takes packages from standard input: a line with digest, offset and length, then so many bytes. A part that was cut off
/// stays, for the next to go on from.
pub const RECEIVE: &str = r#"umask 022
cd /var/cache/xnat-provision/bundle || exit
echo ready
while read -r digest offset length; do
  if [ "$digest" = end ]; then sync; echo end; exit; fi
  part=.$digest.part
  # less is there than was thought: from the beginning then
  if [ "$offset" -gt 0 ] && [ "$(stat -c %s "$part" 2>/dev/null || echo 0)" -lt "$offset" ]; then
    head -c "$length" >/dev/null
    rm -f "$part"
    echo "bad $digest"
    continue
  fi
  said=$( { truncate -s "$offset" "$part" && head -c "$length" >>"$part"; } 2>&1 ) || { echo "failed $said"; exit 1; }
  [ "$(stat -c %s "$part")" -eq $((offset + length)) ] || exit 1
  if echo "$digest  $part" | sha256sum -c --status; then
    mv -f "$part" "$digest.deb" && echo "good $digest"
  else
    rm -f "$part"
    echo "bad $digest"
  fi
done
"#;

/// Hosts give packages to each other: one serves what it has, the others fetch it. `verb` is `seed ADDRESS` or `pull`.
pub fn relay(verb: &str, address: &str) -> String {
    let words = format!("{verb} {STORE} {}", quote::sh(address));
    format!("program=$(cat <<'XP_PERL'\n{RELAY}XP_PERL\n)\necho ready\nexec perl -e \"$program\" {words}\n")
}

const RELAY: &str = include_str!("../relay.pl");

/// What was carried goes, when it is installed; the index stays, which says where everything came from.
pub const CLEAR: &str = "rm -f /var/cache/xnat-provision/bundle/*.deb /var/cache/xnat-provision/bundle/.*.part\n";
