# What runs on a host of a cluster that somebody else has made. Runs after probe.sh in the same shell and changes nothing.
# Set beforehand: parameters (those of PostgreSQL this program has values for). What a line means is decided in seen.rs.
# No password leaves the host: look.py and the filters below leave them out.
unit() { # PROCESS: the systemd unit it belongs to
    first "/proc/$1/cgroup"
    line=${line##*/}
    case $line in *.service) echo "$2=$line" ;; esac
}

# etcd's options and variables, all in the form of variables, the options last since they win. A file makes etcd ignore both.
etcd_settings() {
    tr '\0' '\n' <"/proc/$1/environ" | grep '^ETCD_' | grep -vi password
    tr '\0' '\n' <"/proc/$1/cmdline" | awk '
        function say(name, value) { gsub("-", "_", name); print "ETCD_" toupper(name) "=" value }
        NR == 1 { next }
        /^-/ {
            if (name != "") say(name, "true")
            sub(/^--?/, ""); at = index($0, "=")
            if (at) { say(substr($0, 1, at - 1), substr($0, at + 1)); name = "" } else name = $0
            next
        }
        { if (name != "") say(name, $0); name = "" }
        END { if (name != "") say(name, "true") }'
}

etcd() {
    unit "$1" etcd_unit
    etcd_settings "$1" | {
        url= file= certificate= key= authority=
        while IFS= read -r line; do
            echo "etcd_setting=$line"
            case $line in
                ETCD_ADVERTISE_CLIENT_URLS=*) url=${line#*=} ;;
                ETCD_CONFIG_FILE=*) file=${line#*=} ;;
                ETCD_CERT_FILE=*) certificate=${line#*=} ;;
                ETCD_KEY_FILE=*) key=${line#*=} ;;
                ETCD_TRUSTED_CA_FILE=*) authority=${line#*=} ;;
            esac
        done
        if [ -n "$file" ]; then
            grep -vi password "$file" | while IFS= read -r line; do echo "etcd_file=|$line"; done
        elif [ -n "$url" ] && command -v etcdctl >/dev/null 2>&1; then
            set -- --endpoints="${url%%,*}" --command-timeout=4s
            [ -z "$authority" ] || set -- "$@" --cacert="$authority"
            [ -z "$certificate" ] || set -- "$@" --cert="$certificate" --key="$key"
            ETCDCTL_API=3 timeout 6 etcdctl "$@" member list 2>/dev/null </dev/null |
                while IFS= read -r line; do echo "etcd_member=$line"; done
        fi
    }
}

# Lines of its configuration, without whatever holds a password.
haproxy_lines() {
    grep -viE 'auth|password|userlist|^[[:space:]]*user[[:space:]]' | while IFS= read -r line; do echo "haproxy_line=$line"; done
}

# The files HAProxy was started with.
haproxy() {
    unit "$1" haproxy_unit
    tr '\0' '\n' <"/proc/$1/cmdline" | {
        previous=
        while IFS= read -r word; do
            [ "$previous" != -f ] || if [ -d "$word" ]; then cat "$word"/*.cfg; else cat "$word"; fi
            previous=$word
        done
    } | haproxy_lines
}

python=python3
etcd= haproxy=
for file in /proc/[0-9]*/comm; do
    first "$file"
    pid=${file#/proc/}
    pid=${pid%/comm}
    case $line in
        etcd) [ -n "$etcd" ] || { etcd=$pid; etcd "$pid"; } ;;
        haproxy) [ -n "$haproxy" ] || { haproxy=$pid; haproxy "$pid"; } ;;
        # The Python that runs Patroni, perhaps one of its own, has what reads its files.
        patroni)
            word=$(tr '\0' '\n' <"/proc/$pid/cmdline" | head -n 1)
            case $word in /*python*) python=$word ;; esac
            ;;
    esac
done 2>/dev/null
# One that does not run would be started with these.
if [ -z "$haproxy" ] && systemctl is-enabled -q haproxy 2>/dev/null; then
    echo "haproxy_stopped=1"
    cat /etc/haproxy/*.cfg 2>/dev/null | haproxy_lines
fi
# What else this program may have put here.
first /etc/apt/apt.conf.d/90xnat-proxy
[ -n "$line" ] && sed -n 's/^Acquire::http::Proxy "\(.*\)";$/proxy=\1/p' /etc/apt/apt.conf.d/90xnat-proxy
[ -e /etc/apt/sources.list.d/xnat.sources ] && echo "repositories=1"
[ -r /etc/xnat-provision/firewall.nft ] && while IFS= read -r line; do echo "firewall=$line"; done </etc/xnat-provision/firewall.nft
