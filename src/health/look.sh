# What a host says of its disks and its clock. Changes nothing. Set beforehand: cluster, etcd (its data directory, or
# nothing). The clock is read first and last, so that what lies between does not count.
LC_ALL=C
export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "begun=$(date +%s.%N)"
if [ -r /run/systemd/container ]; then
    echo "container=1"
else
    # the kernel's own word, whichever program sets the clock
    echo "synchronised=$(timeout 5 timedatectl show -p NTPSynchronized --value 2>/dev/null)"
fi
for path in / /var/lib/postgresql/*/"$cluster" /var/lib/postgresql/*/"$cluster"/pg_wal ${etcd:+"$etcd"}; do
    [ -d "$path" ] || continue
    # a file system that hangs must not hang us
    echo "disk=$path $(timeout 5 df -B1 --output=size,used,avail,itotal,iused,target "$path" 2>/dev/null | tail -n 1)"
done
echo "ended=$(date +%s.%N)"
