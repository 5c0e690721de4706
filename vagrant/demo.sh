#!/bin/sh
# demo.sh PROGRAM: makes machines with vagrant and a cluster of them, has a drill, and destroys the machines, whatever
# happened. Its exit status is that of what failed.
set -eu
program=$1
cd "$(dirname "$0")"
inventory=${VAGRANT_DOTFILE_PATH:-.vagrant}/xnat/inventory.toml
began=$(date +%s)

step() { # TITLE COMMAND…
  printf '\n==== %s s: %s\n' "$(($(date +%s) - began))" "$1"
  shift
  printf '+ %s\n' "$*"
  "$@"
}

# Emulated machines are busy for a while after apply, and members answer late.
healthy() {
  tries=1
  until "$program" status "$inventory"; do
    tries=$((tries + 1))
    [ "$tries" -le 20 ] || return 4
    sleep 15
  done
}

destroy() {
  status=$?
  trap '' INT TERM HUP
  step 'destroy the machines' vagrant --no-tty destroy --force || [ "$status" != 0 ] || status=1
  printf '\n==== %s s: %s\n' "$(($(date +%s) - began))" "$([ "$status" = 0 ] && echo 'all well' || echo "failed ($status)")"
  exit "$status"
}
trap destroy EXIT
trap 'exit 130' INT TERM HUP

step 'make the machines' vagrant --no-tty up
step 'make them a cluster' "$program" apply --yes "$inventory"
step 'ask how it is, until it is healthy' healthy
step 'nothing is left to be done' "$program" plan "$inventory"
# What the timings promise is for processors that are there.
case ${XNAT_VM_DRIVER:-kvm} in
qemu) budget=180s ;;
*) budget= ;;
esac
step 'the leader hands over, under clients that write' \
  "$program" drill switchover --yes ${budget:+--budget-write-gap "$budget"} "$inventory"
step 'ask again' healthy
