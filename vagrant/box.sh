#!/bin/sh
# box.sh BOX: builds a box for libvirt of Debian 12, with packages from where this machine's apt has them. As root.
#
# The disk boots by itself, as a box's must: SYSLINUX starts kernel and initrd from a small FAT partition. It is put
# together in files, so nothing is mounted and no loop device is needed. Of a kernel that the machine installs later
# SYSLINUX knows nothing: the box is for trying things, not for keeping.
set -eu
box=$1
suite=bookworm
size=12 # GB that a machine's disk can hold; it takes what is written to it
boot_mib=96
mbr=/usr/lib/syslinux/mbr/mbr.bin

mkdir -p -- "$(dirname -- "$box")"
work=$(mktemp -d -- "$box.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT TERM HUP

# ---- the files: what a box of vagrant's is by convention (user, password and key are everybody's: vagrant exchanges the key)

archive() { # LABEL: the first archive of Debian's among apt's sources that is called so
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    awk -v label="$1" '$3 == "Debian" && $4 == label && $2 !~ /-(updates|backports)/ { print $1; exit }'
}
main=$(archive Debian)
security=$(archive Debian-Security)
[ -n "$main" ] || { echo "apt has no archive of Debian among its sources: apt-get update?" >&2; exit 1; }
{
  echo "deb $main $suite main"
  echo "deb $main $suite-updates main"
  [ -z "$security" ] || echo "deb $security $suite-security main"
} >"$work/sources.list"
# What it takes to reach them. Logins are needed on the way and do not stay.
apt-config dump | grep -E '^Acquire::(https?::|Retries|Check-Valid-Until|Check-Date|Max-ValidTime)' | grep -v '"";$' \
  >"$work/apt.conf" || true # grep's word for none
set --
while read -r line; do
  set -- "$@" --aptopt="${line%;}"
done <"$work/apt.conf"

cat >"$work/customize" <<'END'
#!/bin/sh
set -eu
root=$1 work=$(dirname "$0")
rm -f "$root"/etc/apt/auth.conf.d/* "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/99mmdebstrap
cp "$work/sources.list" "$root"/etc/apt/sources.list
cp "$work/apt.conf" "$root"/etc/apt/apt.conf.d/90mirror
printf 'LABEL=root / ext4 defaults 0 1\n' >"$root"/etc/fstab
printf 'debian\n' >"$root"/etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 debian\n' >"$root"/etc/hosts
printf 'auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n' >"$root"/etc/network/interfaces
chroot "$root" useradd --create-home --user-group --shell /bin/bash vagrant
echo vagrant:vagrant | chroot "$root" chpasswd
echo 'vagrant ALL=(ALL:ALL) NOPASSWD: ALL' >"$root"/etc/sudoers.d/vagrant
chmod 0440 "$root"/etc/sudoers.d/vagrant
install -d -m 0700 "$root"/home/vagrant/.ssh
install -m 0600 "$work/vagrant.pub" "$root"/home/vagrant/.ssh/authorized_keys
chroot "$root" chown -R vagrant:vagrant /home/vagrant/.ssh
printf 'UseDNS no\n' >"$root"/etc/ssh/sshd_config.d/vagrant.conf
ln -sf /usr/share/zoneinfo/Etc/UTC "$root"/etc/localtime
# Every machine has keys and an identity of its own, from its first boot.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id
: >"$root"/etc/machine-id
cat >"$root"/etc/systemd/system/ssh-host-keys.service <<'UNIT'
[Unit]
Description=Make this machine's SSH host keys
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl --quiet enable ssh-host-keys.service
# Nothing of its own accord while somebody watches what a cluster does.
chroot "$root" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
END
chmod 0755 "$work/customize"
key=$(find /usr/share/vagrant /usr/share/rubygems-integration /opt/vagrant -path '*/keys/vagrant.pub' 2>/dev/null | head -n 1)
[ -n "$key" ] || { echo "vagrant's own public key (keys/vagrant.pub) is not where Debian has it: apt-get install vagrant?" >&2; exit 1; }
cp -- "$key" "$work/vagrant.pub"

echo "Debian's files" >&2
mmdebstrap "$@" --quiet --mode=root --format=directory --variant=minbase \
  --include=linux-image-cloud-amd64,initramfs-tools,systemd,systemd-sysv,dbus,libpam-systemd,ifupdown,isc-dhcp-client \
  --include=openssh-server,sudo,iproute2,ca-certificates,locales,e2fsprogs \
  --setup-hook='mkdir -p "$1"/etc/apt/auth.conf.d
    for login in /etc/apt/auth.conf.d/*; do [ ! -f "$login" ] || cp "$login" "$1"/etc/apt/auth.conf.d/; done' \
  --customize-hook="$work/customize" \
  "$suite" "$work/root" "$work/sources.list"

# ---- the disk: partition table, a FAT partition to boot from, the files --------------------------------------------------

echo "the disk" >&2
disk=$work/disk.raw
truncate --size="${size}G" "$disk"
root_start=$((1 + boot_mib))
root_mib=$((size * 1024 - root_start - 1))
sfdisk --quiet "$disk" <<END
label: dos
start=1MiB, size=${boot_mib}MiB, type=c, bootable
start=${root_start}MiB, size=${root_mib}MiB, type=83
END
dd if="$mbr" of="$disk" bs=440 count=1 conv=notrunc status=none

export MTOOLS_SKIP_CHECK=1
boot="$disk@@1M"
mformat -i "$boot" -F -T $((boot_mib * 2048)) -h 255 -s 63 -H 2048 ::
cat >"$work/syslinux.cfg" <<'END'
DEFAULT debian
PROMPT 0
LABEL debian
LINUX vmlinuz
INITRD initrd.img
APPEND root=LABEL=root ro net.ifnames=0 mitigations=off console=tty0 console=ttyS0
END
mcopy -i "$boot" "$work"/root/boot/vmlinuz-* ::vmlinuz
mcopy -i "$boot" "$work"/root/boot/initrd.img-* ::initrd.img
mcopy -i "$boot" "$work/syslinux.cfg" ::syslinux.cfg
syslinux --install --offset $((1024 * 1024)) "$disk"

mke2fs -q -F -t ext4 -L root -E "offset=$((root_start * 1024 * 1024))" -d "$work/root" "$disk" "${root_mib}M"

# ---- the box: a picture of the disk, and what it is --------------------------------------------------------------------

echo "the box" >&2
qemu-img convert -c -O qcow2 "$disk" "$work/box.img"
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %s}\n' "$size" >"$work/metadata.json"
tar --create --file "$work/box" --directory "$work" metadata.json box.img
mv -- "$work/box" "$box"
