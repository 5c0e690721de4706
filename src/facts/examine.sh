# A closer look at a host than every run needs. Appended to probe.sh, in the same shell; changes nothing. The engine
# sets beforehand: data_dirs (where etcd and PostgreSQL keep their data), packages (what would be installed), names
# (what the inventory calls hosts, where those are not addresses), locale. What a line means is decided in examine.rs.
echo "examine=begin"

# Kernel settings: grep, since the shell's read gets one byte from /proc/sys.
grep -sH '' /proc/sys/vm/swappiness /proc/sys/vm/overcommit_memory /proc/sys/net/ipv4/tcp_keepalive_time \
    /proc/sys/net/ipv4/tcp_keepalive_intvl /proc/sys/net/ipv4/tcp_keepalive_probes \
    /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/random/entropy_avail \
    /sys/kernel/mm/transparent_hugepage/enabled /sys/fs/selinux/enforce \
    /sys/devices/system/clocksource/clocksource0/current_clocksource \
    /etc/ufw/ufw.conf /sys/kernel/security/apparmor/profiles /etc/resolv.conf /etc/needrestart/conf.d/xnat.conf |
    while IFS= read -r line; do echo "setting=$line"; done
while read -r key value unit; do
    case $key in HugePages_Total: | Hugepagesize:) echo "meminfo=${key%:} $value" ;; esac
done </proc/meminfo
while read -r a b c soft hard rest; do
    case "$a $b $c" in 'Max open files') echo "open_files=$hard" ;; esac
done </proc/1/limits
first /run/systemd/container; echo "container=$line"
[ -c /dev/watchdog ] && echo "watchdog=1"
[ -e /run/reboot-required ] && echo "reboot_required=1"
[ -e /etc/needrestart/needrestart.conf ] && echo "needrestart=1"
if [ -d /usr/share/i18n/locales ]; then
    echo "locale_sources=1"
    [ -e "/usr/share/i18n/locales/$locale" ] && echo "locale_source=1"
fi

# Where data will be: inodes, kind of file system, how it is mounted. df answers in the order of its arguments.
set --
for wanted in / /tmp /var $data_dirs; do
    there=$wanted
    while [ ! -d "$there" ]; do there=${there%/*}; [ -n "$there" ] || there=/; done
    echo "disk_of=$wanted"
    set -- "$@" "$there"
done
df --output=itotal,iavail,fstype,target -- "$@" 2>/dev/null | while read -r total free kind target; do
    case $total in Inodes) continue ;; esac
    echo "disk=$total $free $kind $target"
done
while read -r device target kind options rest; do echo "mount=$target $options"; done </proc/self/mounts

systemctl list-units --plain --no-legend --state=active 'patroni@*' 2>/dev/null | while read -r unit rest; do echo "instance=$unit"; done
systemctl --failed --plain --no-legend 2>/dev/null | while read -r unit rest; do echo "failed_unit=$unit"; done
systemctl show -p Id,LoadState,ActiveState -- etcd.service patroni.service haproxy.service postgresql.service \
    systemd-timesyncd.service chrony.service ntpsec.service ntp.service openntpd.service firewalld.service 2>/dev/null |
    while IFS= read -r line; do echo "unit=$line"; done

# Packages: whatever is not simply installed, and the versions of those that matter. One that is on hold without being
# installed is only listed when it is asked for by its name.
format='${db:Status-Abbrev}|${Package}|${Version}\n'
{
    dpkg-query -W -f "$format"
    dpkg-query -W -f "$format" -- $packages
} 2>/dev/null | grep -Ev '^(ii|rc|un) \|' | sort -u | while IFS= read -r line; do echo "odd_package=$line"; done
dpkg-query -W -f "$format" -- libc6 $packages 2>/dev/null | while IFS= read -r line; do echo "package=$line"; done
for file in /var/lib/apt/lists/*_Packages*; do [ -e "$file" ] && echo "package_lists=1"; break; done
# The slowest of all, so it goes on beside the rest. What is written to a pipe line by line does not mix.
policy $packages | while read -r key value rest; do
    case $key in
        Candidate:) echo "candidate=$name $value" ;;
        *:) [ -n "$value" ] || name=${key%:} ;;
    esac
done &
apt-config shell reboot Unattended-Upgrade::Automatic-Reboot proxy Acquire::http::Proxy 2>/dev/null |
    while IFS= read -r line; do echo "apt=$line"; done

sshd -T 2>/dev/null | while IFS= read -r line; do
    case $line in allowtcpforwarding* | disableforwarding* | maxsessions* | permitopen*) echo "sshd=$line" ;; esac
done
grep -rhE '^[[:space:]]*Defaults.*[^!](log_input|log_stdin)' /etc/sudoers /etc/sudoers.d 2>/dev/null |
    while IFS= read -r line; do echo "sudo_log=$line"; done
if command -v nft >/dev/null 2>&1; then
    nft list chains 2>/dev/null | while read -r word family table rest; do
        case "$word $family $table $rest" in
            table*) name="$family $table" ;;
            *' hook input '* | *' hook output '*) echo "filter=$name: $word $family $table $rest" ;;
        esac
    done
fi

# Names. A resolver that does not answer costs its time-out, so all are asked at once.
sites=$(apt_reads apt-get indextargets --no-release-info --format '$(SITE)' 'Created-By: Packages' | while IFS= read -r site; do
    case $site in http://* | https://*) site=${site#*://}; site=${site%%/*}; site=${site##*@}; echo "${site%%:*}" ;; esac
done | sort -u)
first /proc/sys/kernel/hostname
for name in "$line" localhost $names $sites; do
    {
        found=$(timeout 4 getent ahostsv4 -- "$name" 2>/dev/null | while read -r address kind rest; do
            case $kind in STREAM) printf ' %s' "$address" ;; esac
        done)
        echo "resolves=$name$found"
    } &
done
for name in $sites; do echo "site=$name"; done
