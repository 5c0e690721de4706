# What only a host can tell of a cluster that is not well. Runs after probe.sh in the same shell and changes nothing. Set
# beforehand: cluster, port, paths (whose file systems matter), names (what the inventory calls hosts). Whatever may hang on
# a sick host has a time limit.
systemctl show -p Id,LoadState,ActiveState etcd.service patroni.service haproxy.service 2>/dev/null |
    while IFS= read -r line; do echo "unit=$line"; done

# State T: a process that was stopped by a signal. Its kernel goes on taking connections for it.
for file in /proc/[0-9]*/stat; do
    line=
    { IFS= read -r line <"$file"; } 2>/dev/null
    case $line in *') T '* | *') t '*) ;; *) continue ;; esac
    process=${line#*\(}
    process=${process%\)*}
    case $process in etcd | patroni | haproxy | postgres) echo "stopped=${line%% *} $process" ;; esac
done

# What a drill has done lasts until this timer ends it, which does not outlive its machine.
systemctl is-active --quiet xnat-drill-undo.timer 2>/dev/null && echo drill=xnat-drill-undo.timer is active
ls /var/lib/postgresql/*/xnat-drill-full.* 2>/dev/null | while IFS= read -r file; do echo "drill=$file fills the disk"; done

for path in $paths; do
    [ -d "$path" ] || continue
    echo "file_system=$path $(timeout 5 df -k --output=size,avail,itotal,iavail "$path" 2>/dev/null | tail -n 1)"
done

for dir in /var/lib/postgresql/*/"$cluster"; do
    [ -e "$dir/global/pg_control" ] || continue
    major=${dir%/*}
    timeout 5 "/usr/lib/postgresql/${major##*/}/bin/pg_controldata" "$dir" 2>/dev/null |
        while IFS= read -r line; do echo "control=$line"; done
done
if [ -S "/var/run/postgresql/.s.PGSQL.$port" ]; then
    cd /
    timeout 4 setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq -F ' ' -p "$port" -d postgres -c "
        SELECT slot_name, active, coalesce(wal_status, '-'), coalesce(pg_wal_lsn_diff(
                   CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                   restart_lsn), 0)::bigint
          FROM pg_replication_slots" 2>/dev/null </dev/null | while IFS= read -r line; do echo "slot=$line"; done
fi

for name in $names; do
    found=$(timeout 4 getent ahostsv4 -- "$name" 2>/dev/null | while read -r address kind rest; do
        case $kind in STREAM) printf ' %s' "$address" ;; esac
    done)
    echo "resolves=$name$found"
done
