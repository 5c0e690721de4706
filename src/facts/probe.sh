# What is this host? Prints key=value lines, a repeated key is a list, ending with end=1. Changes nothing.
# POSIX sh, as root. A fork costs milliseconds on a busy host, so files are read with the shell's own `read`, which is
# good for the first lines of small ones: it takes a byte at a time. What a line means is decided in parse.rs, not here.
LC_ALL=C
export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
first() { # FILE: its first line in $line, or nothing
    line=
    [ -r "$1" ] && IFS= read -r line <"$1"
    return 0
}
first /proc/sys/kernel/hostname; echo "hostname=$line"
first /proc/sys/kernel/osrelease; echo "kernel=$line"
first /etc/machine-id; echo "machine_id=$line"
first /sys/devices/system/cpu/online; echo "cpus=$line"
first /proc/1/comm; echo "init=$line"
ID= VERSION_ID= VERSION_CODENAME=
[ -r /etc/os-release ] && . /etc/os-release
echo "os=$ID"
echo "release=$VERSION_ID"
echo "codename=$VERSION_CODENAME"
if [ -r /proc/meminfo ]; then
    while read -r key value unit; do
        case $key in MemTotal:) echo "memory_kib=$value"; break ;; esac
    done </proc/meminfo
fi
if [ -O /proc/1 ]; then echo "uid=0"; else echo "uid=$(id -u)"; fi
echo "epoch=$(date +%s.%3N)"
if command -v dpkg >/dev/null 2>&1; then echo "arch=$(dpkg --print-architecture)"; fi
if command -v apt-get >/dev/null 2>&1; then echo "package_manager=apt"; fi
for file in /var/lib/dpkg/updates/[0-9]*; do
    if [ -e "$file" ]; then echo "dpkg_interrupted=1"; break; fi
done
if [ -d /run/systemd/system ]; then
    systemctl --version 2>/dev/null | { IFS= read -r line && echo "systemd=$line"; }
fi

# Free space, at the nearest directory that exists. df prints one line for each argument, in the same order.
set --
for wanted in / /tmp /var /var/lib/postgresql /var/lib/etcd; do
    there=$wanted
    while [ ! -d "$there" ]; do there=${there%/*}; [ -n "$there" ] || there=/; done
    echo "space_of=$wanted"
    set -- "$@" "$there"
done
df -Pk "$@" 2>/dev/null | while read -r device blocks used free percent mount; do
    case $blocks in *[!0-9]* | '') continue ;; esac
    echo "space=$free"
done

for file in /var/lib/postgresql/*/*/PG_VERSION; do
    [ -e "$file" ] || continue
    first "$file"
    dir=${file%/PG_VERSION}
    # what apply has set aside
    case $dir in *.unfinished-*) continue ;; esac
    echo "postgres_data=$dir $line"
    # The control file begins with the system identifier, of 64 bits, two versions, and what its server was at last:
    # stopped (1), stopping (3), recovering from a crash (4) or running (6) as a leader, or something else as a replica.
    if [ -e "$dir/global/pg_control" ]; then
        od -An -w20 -tu4 -N20 "$dir/global/pg_control" | {
            read -r low high version catalog state && echo "postgres_system=$dir $((high * 4294967296 + low))"
            case $state in [1346]) [ -e "$dir/standby.signal" ] || echo "postgres_led=$dir" ;; esac
        }
    fi
    # What a cut-off initdb or base backup left: see templates/patroni/set-aside-unfinished.sh.j2.
    [ -e "$dir/global/pg_control" ] && { [ -e "$dir/postmaster.opts" ] || [ -e "$dir/backup_label" ]; } ||
        echo "postgres_unfinished=$dir"
done
first /var/lib/xnat-provision/kept-data
if [ -n "$line" ]; then echo "postgres_kept=$line"; fi
for dir in /var/lib/etcd/member /var/lib/etcd/*/member; do
    [ -d "$dir" ] && echo "etcd_data=${dir%/member}"
done
for file in /etc/patroni/*.yml /etc/patroni/*.yaml /etc/patroni/*/*.yml /etc/patroni/*/*.yaml /etc/patroni.yml /etc/patroni.yaml; do
    [ -r "$file" ] || continue
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            scope:*) echo "patroni=$file ${line#scope:}" ;;
            namespace:*) echo "patroni_namespace=$file ${line#namespace:}" ;;
        esac
    done <"$file"
done
echo "end=1"
