//! Faults, and how they are undone.

use std::process::Child;

use super::point::{Fault, Point, Start};
use crate::site::Site;

/// A fault that is there until it is undone.
pub struct Struck<'a> {
    point: &'a Point,
}

/// All connections of sshd but this one.
const CUT: &str = "mine=$(echo $SSH_CONNECTION | cut -d' ' -f2)
ss -Htnp state established '( sport = :22 )' | grep -v \":$mine \" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u | xargs -r kill -9";

impl<'a> Struck<'a> {
    pub fn strike(site: &Site, point: &'a Point, run: &mut Child) -> Self {
        match &point.fault {
            // a run that has ended cannot be killed, and need not be
            Fault::Kill => run.kill().expect("it is ours"),
            Fault::Ssh(host) => drop(site.lab.ssh(host, CUT).expect(0)),
            Fault::Power(host) => drop(site.lab.command(&["fault", host, "kill"]).expect(0)),
            Fault::Partition(host, _) => drop(site.lab.command(&["fault", host, "partition"]).expect(0)),
            Fault::Disk(host, path) if point.start == Start::Living => {
                drop(site.lab.ssh(host, &cover(path)).expect(0));
            }
            Fault::Disk(host, path) => {
                let full = "$(( $(df -Pk . | tail -n 1 | tr -s ' ' | cut -d' ' -f3) + 64 ))k";
                drop(site.lab.ssh(host, &format!("cd {path} && mount -o remount,size={full} {path}")).expect(0));
            }
        }
        Self { point }
    }

    pub fn undo(self, site: &Site) {
        match &self.point.fault {
            Fault::Kill | Fault::Ssh(_) => {}
            Fault::Power(host) => drop(site.lab.command(&["fault", host, "start"]).expect(0)),
            Fault::Partition(host, length) => {
                // The length of the fault is the fault.
                std::thread::sleep(*length);
                site.lab.command(&["fault", host, "heal"]).expect(0);
            }
            Fault::Disk(host, path) if self.point.start == Start::Living => {
                site.lab.ssh(host, &format!("umount -l {path}")).expect(0);
            }
            Fault::Disk(host, path) => drop(site.lab.ssh(host, &format!("mount -o remount,size=4G {path}")).expect(0)),
        }
    }
}

/// The same files in a file system that has no room for any more.
fn cover(path: &str) -> String {
    format!(
        "set -e; copy=$(mktemp -d); cp -a {path}/. $copy; mount -t tmpfs -o size=256k,mode=$(stat -c %a {path}) none {path}
chown --reference=$copy {path}; cp -a $copy/. {path}; rm -r $copy
dd if=/dev/zero of={path}/full bs=4k 2>/dev/null || test -s {path}/full"
    )
}

/// A disk of its own where one is to be filled, before anything is on it.
pub fn prepare(site: &Site, point: &Point) {
    if let Fault::Disk(host, path) = &point.fault {
        let own = "set -- $(stat -c '%u %g %a' .)";
        let mount = format!("mount -t tmpfs -o size=4G,uid=$1,gid=$2,mode=$3 none {path}");
        site.lab.ssh(host, &format!("mkdir -p {path} && cd {path} && {own} && {mount}")).expect(0);
    }
}

/// Everything but the packages is gone, and the passwords too.
pub fn wipe(site: &Site) {
    let wipe = "systemctl disable -q --now haproxy patroni etcd
for path in /var/lib/postgresql /var/lib/etcd /etc/patroni; do ! mountpoint -q $path || umount $path; done
cd /etc/systemd/system && rm -rf etcd.service patroni.service.d haproxy.service.d
rm -rf /etc/etcd /etc/patroni/* /etc/haproxy/* /usr/local/lib/xnat-provision /run/xnat-provision
rm -rf /var/lib/etcd/* /var/lib/postgresql/[0-9]*
systemctl daemon-reload";
    for host in site.hosts("etcd") {
        site.lab.ssh(&host, wipe).expect(0);
    }
    std::fs::remove_file(site.secrets()).expect("the first apply wrote it");
}
