//! `drill schedule`, on a host of the lab: this machine may have no systemd. It gets what a controller has.

use std::fs;
use std::path::PathBuf;

use crate::harness::BINARY;
use crate::site::Site;

const CONTROLLER: &str = "lb1";

pub fn a_scheduled_drill_is_done_and_one_that_fails_is_seen(site: &Site) {
    settle(site);
    let ours = |words: &str| site.lab.ssh(CONTROLLER, &format!("xnat-provision {words} inventory.toml"));
    let unit = format!("xnat-provision-drill-{}", site.lab.name());
    let drill = || site.lab.ssh(CONTROLLER, &format!("systemctl start {unit}.service"));

    let refused = ours("drill schedule --on 'every now and then'").expect(2);
    assert!(refused.stderr.contains("systemd does not know when"), "{}", refused.stderr);
    ours("drill schedule --on 'Sun 04:30' --fault power-off").expect(2);
    let done = ours("drill schedule --on 'Sun 04:30' --fault haproxy").expect(0).stdout;
    assert!(done.contains("Next elapse") && done.contains(&unit), "{done}");
    site.lab
        .ssh(CONTROLLER, &format!("systemctl is-active {unit}.timer && systemctl is-enabled {unit}.timer"))
        .expect(0);

    drill().expect(0);
    let status = ours("status").expect(0).stdout;
    assert!(!status.contains("the last drill"), "{status}");
    site.lab.ssh("db1", "systemctl stop etcd").expect(0);
    let failed = drill();
    site.lab.ssh("db1", "systemctl start etcd").expect(0);
    assert_ne!(failed.status, 0, "no drill of a cluster that is not well");
    site.leader();
    let status = ours("status").expect(0).stdout;
    assert!(status.contains("notice") && status.contains("the last drill (haproxy, "), "{status}");
    assert!(status.contains("the cluster is not healthy"), "why: {status}");
    let history = ours("drill history").expect(0).stdout;
    assert!(history.contains("passed") && history.contains("not done"), "{history}");
    let health = ours("health").stdout;
    assert!(health.lines().any(|line| line.trim_start().starts_with("warning") && line.contains("drill")), "{health}");

    ours("drill schedule --remove").expect(0);
    site.lab
        .ssh(CONTROLLER, &format!("! ls /etc/systemd/system/{unit}.* && ! systemctl is-active {unit}.timer"))
        .expect(0);
    assert!(ours("drill schedule --remove").expect(0).stdout.contains("There is no timer"));
}

/// The program, the keys of the lab where they are here, and the inventory and its secrets at home.
fn settle(site: &Site) {
    let root = site.lab.directory().join("hosts").join(CONTROLLER).join("root");
    fs::copy(BINARY, root.join("usr/local/bin/xnat-provision")).expect("copied");
    let keys = fs::read_dir(site.lab.directory()).expect("it is there").flatten().map(|entry| entry.path());
    let keys = keys.filter(|path| path.is_file()).map(|path| {
        let there = root.join(path.strip_prefix("/").expect("an absolute path"));
        (path, there)
    });
    let home = |path: PathBuf| (path.clone(), root.join("root").join(path.file_name().expect("a file")));
    for (file, there) in keys.chain([home(site.inventory()), home(site.secrets())]) {
        fs::create_dir_all(there.parent().expect("it is in a directory")).expect("made");
        fs::copy(file, there).expect("copied");
    }
}
