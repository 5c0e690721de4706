#!/bin/sh
# same.sh INVENTORY.toml STATE: the inventory with the playbook's passwords and certificates, on standard output. With it
# `xnat-provision plan` looks at the hosts the playbook has made, and has to find nothing to change.
set -eu
state=$(realpath "$2")
cat "$1"
printf '\n[tls]\nca_certificate = "%s/pki/ca.pem"\ncertificates = "%s/pki"\n\n[secrets]\n' "$state" "$state"
for name in superuser replication rewind rest_api application statistics; do
  printf '%s = { file = "%s/%s" }\n' "$name" "$state" "$name"
done
