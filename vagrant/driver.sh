#!/bin/sh
# driver.sh IMAGE: prints the driver for XNAT_VM_DRIVER: kvm where a machine that begins from this disk gets as far as the
# first words of its kernel with it, otherwise qemu, which emulates the processor. That /dev/kvm is there and opens says
# little: it may be one whose machines stand still.
set -eu
said=$(timeout 30 qemu-system-x86_64 -accel kvm -m 512 -display none -nodefaults -serial stdio -monitor none \
  -drive "file=$1,if=virtio,format=qcow2,snapshot=on" </dev/null 2>/dev/null | grep --max-count=1 --text 'Linux version' || true)
case $said in
*'Linux version'*) echo kvm ;;
*) echo qemu ;;
esac
