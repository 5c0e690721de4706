#!/bin/sh
# Makes the Debian package, the same bytes wherever its source lies: packaging/deb.sh [TARGET]. Prints where it is.
set -eu
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
target=${1:-$host}

# The time of everything in the package: that of the commit, where nobody has said another. As in build.rs, only a
# repository of our own counts.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
	if [ -e .git ]; then
		SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
	elif grep -q '^[^$]' packaging/commit; then
		SOURCE_DATE_EPOCH=$(cut -d' ' -f3 packaging/commit)
	else
		echo "Neither a repository nor an archive of one: say in SOURCE_DATE_EPOCH which time things in the package have" >&2
		exit 2
	fi
fi
export SOURCE_DATE_EPOCH

umask 022
packaging/build.sh "$target" >/dev/null
# What the program says of itself, by one that runs here.
program=$(packaging/build.sh "$host")
made=target/package
rm -rf $made
mkdir -p $made
"$program" help man --to $made/man >/dev/null
gzip -9n $made/man/*
"$program" completions bash >$made/completions.bash
"$program" completions zsh >$made/completions.zsh
"$program" completions fish >$made/completions.fish
"$program" schema >$made/inventory.schema.json
gzip -9cn CHANGELOG.md >$made/changelog.gz
# Links to what lies elsewhere in the package, or is not in it.
package() {
	sed -E -e 's#\]\(inventory/#](examples/#g; s#^(\[example\.toml\]: )inventory/#\1examples/#' \
		-e 's#\]\(CHANGELOG\.md\)#](changelog.gz)#g; s#\]\(LICENSE\)#](copyright)#g; s#^(\[LICENSE\]: )LICENSE#\1copyright#' \
		-e 's#\[([^]]*)\]\((Cargo\.toml|CONTRIBUTING\.md|(tests|benches)/README\.md)\)#\1#g' \
		-e 's#\[([^]]*)\]\[tests/README\.md\]#\1#g; s#\[(tests/README\.md)\]([^:(]|$)#\1\2#g; /^\[tests\/README\.md\]: /d' "$1"
}
package README.md >$made/README.md
package ARCHITECTURE.md >$made/ARCHITECTURE.md
package THIRD-PARTY.md >$made/THIRD-PARTY.md
# the book's list of chapters leads to pages that only mdBook makes
mkdir $made/docs
cp docs/*.md $made/docs/
rm $made/docs/SUMMARY.md

# Debian's form of the changelog has what cargo-deb's metadata have, and the time.
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)
cat >$made/changelog.Debian <<END
xnat-provision ($version-1) unstable; urgency=medium

  * What has changed is in /usr/share/doc/xnat-provision/changelog.gz.

 -- $maintainer  $(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)
END

# cargo has stripped it already; here it would take another machine's strip.
cargo deb --quiet --locked --no-build --no-strip --target "$target" --output target/debian/
