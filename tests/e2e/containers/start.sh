#!/bin/sh
# start.sh ROOT LAYERS MOUNTS COMMAND…: the inside of a container, as the first process of its own namespaces.
# ROOT becomes what the LAYERS hold, not to be written to; MOUNTS has lines `bind SOURCE TARGET` and `tmpfs OPTIONS TARGET`.
set -eu
root=$1 layers=$2 mounts=$3
shift 3
# The network is plugged in from outside.
echo up
read -r go
mount --make-rprivate /
mount -t overlay -o "lowerdir=$layers" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=0755 dev "$root/dev"
for device in full null random tty urandom zero; do
  : >"$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
while read -r kind what target; do
  case $kind in
    bind) mount --bind "$what" "$root$target" ;;
    tmpfs) mount -t tmpfs -o "$what" tmpfs "$root$target" ;;
  esac
done <"$mounts"
exec chroot "$root" "$@" </dev/null
