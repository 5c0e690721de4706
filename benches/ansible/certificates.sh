#!/bin/sh
# certificates.sh DIRECTORY: an authority, and a certificate for each line "NAME SUBJECT-ALT-NAMES" of standard input.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
new="openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc"
$new -keyout ca-key.pem -out ca.pem -days 3650 -subj "/CN=authority" \
  -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
while read -r name names; do
  $new -CA ca.pem -CAkey ca-key.pem -keyout "$name-key.pem" -out "$name.pem" -days 365 -subj "/CN=$name" \
    -addext "subjectAltName=$names" -addext basicConstraints=critical,CA:FALSE \
    -addext keyUsage=critical,digitalSignature -addext extendedKeyUsage=serverAuth,clientAuth
done
touch complete
