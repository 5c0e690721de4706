#!/bin/sh
# test.sh PROGRAM BOX: vagrant/demo.sh with machines of this box, under the libvirt that answers. Afterwards nothing of
# them may be left. As root.
set -eu
program=$1
box=$2
cd "$(dirname "$0")"
name=xnat-debian
export LIBVIRT_DEFAULT_URI=qemu:///system VAGRANT_DEFAULT_PROVIDER=libvirt
export XNAT_VM_BOX=$name XNAT_VM_TOPOLOGY="${XNAT_VM_TOPOLOGY:-colocated}"
VAGRANT_HOME=$(dirname "$box")/home
export VAGRANT_HOME

left() { # KIND: what there is of ours
  case $1 in
  machines) virsh list --all --name | grep '^xnat-' ;;
  disks) virsh vol-list default | awk '$1 ~ /^xnat-/ { print $1 }' | grep . ;;
  esac || true # grep's word for none
}

forget_box() { # libvirt's copy of it, which vagrant leaves
  left disks | while read -r disk; do virsh --quiet vol-delete --pool default "$disk"; done
}

[ -z "$(left machines)" ] || { echo "machines are in the way:" "$(left machines)" >&2; exit 1; }
vagrant box add --force --name "$name" --provider libvirt "$box"
if [ -z "${XNAT_VM_DRIVER:-}" ]; then
  XNAT_VM_DRIVER=$(./driver.sh "$(dirname "$box")"/home/boxes/$name/0/libvirt/box.img)
  export XNAT_VM_DRIVER
fi
echo "driver: $XNAT_VM_DRIVER"

passed=1
./demo.sh "$program" || passed=0
if [ -n "$(left machines)" ] || [ -n "$(left disks | grep -v "^$name" || true)" ] || [ -e .vagrant/xnat ]; then
  echo "left behind:" "$(left machines)" "$(left disks)" "$(ls -d .vagrant/xnat 2>/dev/null || true)" >&2
  passed=0
fi
forget_box
echo "$passed passed, $((1 - passed)) failed"
[ "$passed" = 1 ]
