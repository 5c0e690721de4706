//! Newer packages than the archive has.

use crate::site::Site;

/// The archive has but one version of most packages, so the host gets a repository of its own with a copy of each in a
/// higher one.
const REPOSITORY: &str = r#"set -e
rm -rf /srv/newer; mkdir -p /srv/newer; cd /srv/newer
for name in PACKAGES; do
  apt-get download -qq "$name"
  dpkg-deb -R "${name}"_*.deb tree
  rm "${name}"_*.deb
  sed -i 's/^Version: .*/&+newer1/' tree/DEBIAN/control
  dpkg-deb -Znone -b tree "$name.deb" >/dev/null
  rm -r tree
  dpkg-deb -f "$name.deb" >>Packages
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$name.deb" "$(stat -c %s "$name.deb")" \
    "$(sha256sum "$name.deb" | cut -d ' ' -f 1)" >>Packages
done
echo 'deb [trusted=yes] file:/srv/newer ./' >/etc/apt/sources.list.d/newer.list
"#;

/// Let a host have newer ones of these.
#[track_caller]
pub fn offer(site: &Site, host: &str, packages: &[&str]) {
    site.lab.ssh(host, &REPOSITORY.replace("PACKAGES", &packages.join(" "))).expect(0);
}
