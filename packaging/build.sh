#!/bin/sh
# Builds the program for others, the same bytes wherever its source lies: packaging/build.sh [TARGET]. Prints where it is.
# What else the bytes depend on is in docs/packaging.md.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd -P)
target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
home=${CARGO_HOME:-$HOME/.cargo}

# The sources of all crates have to be there before their directory has a name.
cargo fetch --quiet --locked

# Messages of panics and C's __FILE__ have paths of this machine in them. Cargo names the registry's directory after the server;
# what compilers see of it may be where a link leads to.
map="$here=/xnat-provision"
for registry in "$home"/registry/src/*/; do
	registry=${registry%/}
	real=$(readlink -f "$registry")
	map="$map $registry=/crates"
	[ "$real" = "$registry" ] || map="$map $real=/crates"
done
[ -z "${CARGO_TARGET_DIR:-}" ] || map="$map $CARGO_TARGET_DIR=/xnat-provision/target"
flags=
for one in $map; do
	flags="$flags${flags:+, }\"--remap-path-prefix=$one\""
	CFLAGS="${CFLAGS:+$CFLAGS }-ffile-prefix-map=$one"
done
export CFLAGS
# One crate takes more than that: packaging/steady.sh.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' HUP INT TERM
export STEADY="$scratch/steady.so" RUSTC_WRAPPER="$here/packaging/steady.sh"
cc -shared -fPIC -O2 -o "$STEADY" packaging/steady.c
# Either would take the place of the flags of .cargo/config.toml, which these are added to.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
cargo build --quiet --release --locked --target "$target" --config "target.$target.rustflags=[$flags]" >&2
echo "${CARGO_TARGET_DIR:-$here/target}/$target/release/xnat-provision"
