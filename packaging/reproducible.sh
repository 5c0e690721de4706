#!/bin/sh
# Makes the Debian package of the last commit twice and compares: from a clone and from an archive of the source, in
# directories of different names, with crates, time, language and rights of files elsewhere. Leaves it in target/debian.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' HUP INT TERM

commit=$(git rev-parse HEAD)

one=$scratch/one
git clone --quiet --no-local --no-checkout . "$one"
git -C "$one" checkout --quiet --detach "$commit"
first=$one/$("$one/packaging/deb.sh")

# Cargo's directory by another name, with what is in it.
two=$scratch/another/directory/with-a-longer-name
mkdir -p "$two" "$scratch/cargo"
ln -s "${CARGO_HOME:-$HOME/.cargo}"/* "$scratch/cargo"
git archive "$commit" | tar --extract --directory "$two"
umask 077
second=$two/$(CARGO_HOME=$scratch/cargo TZ=Pacific/Auckland LC_ALL=C.UTF-8 "$two/packaging/deb.sh")

sha256sum "$first" "$second"
if ! cmp "$first" "$second"; then
	# what of it differs
	for package in "$first" "$second"; do
		dpkg-deb --fsys-tarfile "$package" | tar --extract --to-command 'echo "$(sha256sum | cut -d" " -f1) $TAR_FILENAME"' >"$package.files"
	done
	diff "$first.files" "$second.files" >&2
	exit 1
fi
mkdir -p target/debian
cp "$first" target/debian/
echo "The same bytes: target/debian/$(basename "$first")"
