//! The disk of the data is full, and is not any more.

use super::{dangerous, drills};
use crate::site::Site;

pub fn a_full_disk_costs_nothing_that_was_acknowledged(site: &Site) {
    let refused = site.run(&dangerous(site, "disk-full")).expect(4);
    assert!(refused.stderr.contains("on a file system of its own"), "{}", refused.stderr);
    let leader = site.leader();
    own_disk(site, &leader);
    if site.leader() != leader {
        site.run(&["switchover", "--to", &leader, "--yes"]).expect(0);
    }
    let done = drills(&site.run(&[&dangerous(site, "disk-full")[..], &["--json"]].concat()).expect(0));
    let figures = &done[0]["runs"][0]["figures"];
    assert_eq!((figures["lost"].as_u64(), figures["two_writable"].as_u64()), (Some(0), Some(0)), "{figures}");
    let told = done[0]["runs"][0]["recording"]["errors"].to_string();
    assert!(told.contains("No space left on device"), "clients were told: {told}");
    println!("disk-full: {figures}");
    site.lab.ssh(&leader, "! ls /var/lib/postgresql/*/xnat-drill-full").expect(0);
}

/// A member's data moves to a file system of its own, of which a little is free.
pub fn own_disk(site: &Site, host: &str) {
    let data = "/var/lib/postgresql";
    let size = format!("$(( $(du -sk {data} | cut -f1) + 131072 ))k");
    let own = format!(
        "set -e; systemctl stop patroni; cp -a {data} {data}.kept
         mount -t tmpfs -o size={size},uid=$(stat -c %u {data}),gid=$(stat -c %g {data}),mode=$(stat -c %a {data}) none {data}
         cp -a {data}.kept/. {data}; rm -r {data}.kept; systemctl start patroni"
    );
    site.lab.ssh(host, &own).expect(0);
}
