# What apt could install. Without the cache files it would write, since nothing is to be changed; a copy of the one that is
# there saves a second or more.
policy() {
    cache=
    if caches=$(mktemp -d 2>/dev/null); then
        cp /var/cache/apt/srcpkgcache.bin "$caches/" 2>/dev/null && cache=$caches/srcpkgcache.bin
    fi
    apt-cache -o Dir::Cache::pkgcache= -o "Dir::Cache::srcpkgcache=$cache" policy -- "$@" 2>/dev/null </dev/null
    [ -z "$caches" ] || rm -rf "$caches"
}
