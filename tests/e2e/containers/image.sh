#!/bin/sh
# image.sh DIRECTORY: a root file system as templates/image/Dockerfile.j2 would build it, for all components together.
# Its users have the Dockerfile's numbers; what the Dockerfile copies is laid over it by the test.
set -eu
target=$1
rm -rf -- "$target" "$target.part"
mkdir -p -- "$(dirname -- "$target")"
# The mirror, and what it takes to reach it, are this machine's; its logins are needed on the way and do not stay.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
  awk '$3 == "Debian" && $4 == "Debian" && $2 !~ /-/ { print $1; exit }')
[ -n "$mirror" ] || { echo "apt has no archive of Debian among its sources: apt-get update?" >&2; exit 1; }
set --
while read -r line; do
  set -- "$@" --aptopt="${line%;}"
done <<END
$(apt-config dump | grep -E '^Acquire::(https?::|Retries|Check-Valid-Until|Check-Date|Max-ValidTime)' | grep -v '"";$')
END
mmdebstrap "$@" --quiet --mode=root --format=directory --variant=minbase \
  --setup-hook='mkdir -p "$1"/etc/apt/auth.conf.d
    for login in /etc/apt/auth.conf.d/*; do [ ! -f "$login" ] || cp "$login" "$1"/etc/apt/auth.conf.d/; done' \
  --customize-hook='mkdir -p "$1"/etc/postgresql-common
    echo "create_main_cluster = false" >"$1"/etc/postgresql-common/createcluster.conf' \
  --chrooted-customize-hook='set -e
    useradd --system --user-group --uid 701 --no-create-home --home-dir /var/lib/etcd --shell /usr/sbin/nologin etcd
    useradd --system --user-group --uid 702 --no-create-home --home-dir /var/lib/postgresql --shell /bin/bash postgres
    useradd --system --user-group --uid 703 --no-create-home --home-dir /var/lib/haproxy --shell /usr/sbin/nologin haproxy
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      curl etcd-client etcd-server haproxy patroni postgresql-17 python3-etcd' \
  --customize-hook='rm -f "$1"/etc/apt/auth.conf.d/*' \
  trixie "$target.part" "deb $mirror trixie main"
mv -- "$target.part" "$target"
