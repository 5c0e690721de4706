# apt_reads PROGRAM WORD…: what apt knows. Without the cache files it would write, since nothing is to be changed; a copy of
# the one that is there saves half a second or more.
apt_reads() {
    cache=
    if caches=$(mktemp -d 2>/dev/null); then
        cp /var/cache/apt/srcpkgcache.bin "$caches/" 2>/dev/null && cache=$caches/srcpkgcache.bin
    fi
    program=$1; shift
    "$program" -o Dir::Cache::pkgcache= -o "Dir::Cache::srcpkgcache=$cache" "$@" 2>/dev/null </dev/null
    [ -z "$caches" ] || rm -rf "$caches"
}
# What it could install.
policy() { apt_reads apt-cache policy -- "$@"; }
