#!/bin/sh
# libvirt.sh COMMAND…: runs a command with a libvirt daemon to talk to. Where one answers already (that of systemd), that
# one is used. Otherwise, as in a container, one is started for the command, by hand, and ended after it. As root then.
set -eu
export LIBVIRT_DEFAULT_URI=qemu:///system

answers() { timeout 5 virsh version >/dev/null 2>&1; }

if answers; then exec "$@"; fi

# The daemon leaves its chains in the packet filter, empty, when its last network has gone.
remove_chains() {
  for iptables in iptables ip6tables; do
    for table in filter nat mangle; do
      "$iptables" --wait 10 -t "$table" -S | grep LIBVIRT_ | sed -n \
        -e 's/^-A \([A-Z]* -j LIBVIRT_.*\)/-D \1/p' -e 's/^-N \(.*\)/-X \1/p' | sort |
        while read -r change; do "$iptables" --wait 10 -t "$table" $change; done # words, not one text
    done
  done
}

work=$(mktemp -d)
daemons=
end() {
  status=$?
  trap '' INT TERM HUP
  for pid in $daemons; do
    kill "$pid" || true # it may have ended by itself
    wait "$pid" || true
  done
  remove_chains || true # what was done with the daemon counts
  [ "$status" != 125 ] || cat "$work"/*.log >&2
  rm -rf -- "$work"
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT TERM HUP

# Nobody asks polkit where there is no message bus: who may open the socket, which is root, may talk.
cat >"$work/libvirtd.conf" <<'END'
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
END
# Machines run as root: a /dev/kvm that only root may open has the daemon ask QEMU what it can do over and over otherwise.
# They also get at boxes in a home directory that nobody else may look into.
cat >"$work/qemu.conf" <<'END'
user = "root"
group = "root"
END
# Each in a session of its own: what a terminal's Ctrl-C ends must not take the daemons with it before the machines are gone.
setsid virtlogd >"$work/virtlogd.log" 2>&1 &
daemons="$!"
# Only the daemon sees its qemu.conf there: mounts of its own.
setsid unshare --mount sh -c 'mount --bind "$1/qemu.conf" /etc/libvirt/qemu.conf && exec libvirtd --config "$1/libvirtd.conf"' \
  sh "$work" >"$work/libvirtd.log" 2>&1 &
daemons="$! $daemons"

tries=0
until answers; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo "libvirtd was started and does not answer:" >&2; exit 125; }
  sleep 1
done
"$@"
