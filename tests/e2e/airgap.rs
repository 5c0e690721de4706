//! Sites whose hosts reach nothing but each other: what they have goes out, one file comes in, and it becomes a cluster; a
//! second file makes it newer. Whatever is wrong with such a file is seen before a host is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use xnat_provision::bundle::{Content, Opened, Part, archive};

use crate::harness::{Ran, run};
use crate::site::Site;

#[test]
fn one_file_in_and_a_cluster_out_on_debian_13() {
    let site = Site::bare("airgap13", (&["--hosts", "3", "--suite", "trixie"], "root"));
    other_versions_than_the_archive(&site);
    cut_off(&site);
    let facts = facts_say_nothing_else(&site);
    let bundle = Bundle::build(&site, &facts);
    nothing_damaged_is_used(&site, &bundle);
    name_in_the_inventory(&site, &bundle);
    let planned = site.run(&["plan"]).expect(5).stdout;
    assert!(planned.contains("packages of the bundle: send "), "{planned}");
    what_has_arrived_is_not_sent_again(&site);
    is_as_wanted(&site);
    let version =
        |host: &str, name: &str| site.lab.ssh(host, &format!("dpkg-query -Wf '${{Version}}' {name}")).expect(0).stdout;
    assert_eq!(version("db3", "libpq5"), "99+newer", "what is newer on a host stays");
    assert_ne!(version("db2", "libpq5"), "1~older", "what is too old for the rest is replaced");
    newer_from_a_delta(&site, &bundle);
    the_program_in_it_runs_there(&site, &bundle);
}

#[test]
fn one_file_in_and_a_cluster_out_on_debian_12_with_sudo() {
    let site = Site::bare("airgap12", (&["--hosts", "3", "--suite", "bookworm"], "admin"));
    cut_off(&site);
    let facts = facts_say_nothing_else(&site);
    let bundle = Bundle::build(&site, &facts);
    let begun = Instant::now();
    site.run(&["apply", "--yes", "--bundle", &bundle.path(), "--bundle-key", &bundle.key()]).expect(0);
    println!(
        "apply from the bundle: {:.1} s; {} MiB",
        begun.elapsed().as_secs_f64(),
        fs::metadata(bundle.path()).expect("there").len() >> 20
    );
    is_as_wanted(&site);
    the_program_in_it_runs_there(&site, &bundle);
}

/// The release before those is not one that hosts may have, but a controller may.
#[test]
fn the_program_runs_on_debian_11() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    let listed = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"])
        .output()
        .expect("apt is here");
    let mirror = String::from_utf8(listed.stdout).expect("text");
    let mirror = mirror.lines().next().expect("apt has an index");
    let made = Command::new("mmdebstrap")
        .args(["--mode=root", "--format=directory", "--variant=essential", "bullseye"])
        .args([root.as_os_str(), mirror.as_ref()])
        .output()
        .expect("mmdebstrap is here");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::copy(crate::harness::BINARY, root.join("xnat-provision")).expect("copied");
    fs::write(root.join("etc/hosts"), "127.0.0.1 known.example.org\n").expect("written");
    let inventory = include_str!("../../inventory/minimal.toml");
    let inventory = inventory.replace("10.0.0.11", "known.example.org").replace("10.0.0.12", "unknown.invalid");
    fs::write(root.join("inventory.toml"), inventory).expect("written");
    let there = |words: &[&str]| {
        Ran::of(
            Command::new("chroot")
                .arg(&root)
                .arg("/xnat-provision")
                .args(words)
                .env("HOME", "/")
                .output()
                .expect("it runs"),
        )
    };
    assert!(there(&["--version"]).expect(0).stdout.starts_with("xnat-provision "));
    there(&["check", "--offline", "inventory.toml"]).expect(0);
    // names are looked up without the modules of a C library that is not there
    let told = there(&["status", "inventory.toml"]).expect(3);
    let told = told.stdout + &told.stderr;
    assert!(told.contains("unknown.invalid") && told.contains("known.example.org"), "{told}");
    let unknown = |name: &str| told.lines().any(|line| line.contains("cannot find the address") && line.contains(name));
    assert!(unknown("unknown.invalid") && !unknown("known.example.org"), "{told}");
}

struct Bundle {
    directory: PathBuf,
    facts: PathBuf,
}

impl Bundle {
    /// Made twice, to see that it is the same, and then signed.
    fn build(site: &Site, facts: &Path) -> Self {
        let directory = site.file("bundles");
        fs::create_dir(&directory).expect("made");
        let bundle = Self { directory, facts: facts.to_owned() };
        let begun = Instant::now();
        let bytes = ["one", "two"].map(|name| {
            bundle.made(name, &[]);
            fs::read(bundle.file(name)).expect("written")
        });
        println!("two builds: {:.1} s", begun.elapsed().as_secs_f64());
        assert!(bytes[0] == bytes[1], "the same facts and the same archive give the same bytes");
        for name in ["site", "other"] {
            let key = bundle.file(&format!("{name}.key"));
            let made = Command::new(crate::harness::BINARY)
                .args(["bundle", "keygen", "-o"])
                .arg(&key)
                .env("XNAT_BUNDLE_PASSWORD", "")
                .output();
            Ran::of(made.expect("it runs")).expect(0);
        }
        bundle.made("site.bundle", &["--sign", &bundle.text("site.key")]);
        run(&["bundle", "verify", "--key", &bundle.key(), &bundle.path()]).expect(0);
        bundle
    }

    fn made(&self, name: &str, more: &[&str]) {
        let facts = self.facts.display().to_string();
        run(&[&["bundle", "build", "--facts", &facts, "-o", &self.text(name)], more].concat()).expect(0);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn path(&self) -> String {
        self.text("site.bundle")
    }

    fn key(&self) -> String {
        self.text("site.pub")
    }

    fn opened(&self) -> Opened {
        Opened::check(&self.file("site.bundle"), None).expect("good")
    }
}

/// One host has a library in an older version than the packages need, another one in a newer one than there is.
fn other_versions_than_the_archive(site: &Site) {
    let with = |version: &str| {
        format!(
            "set -e; cd /tmp; export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; apt-get install -qq -y libpq5 >/dev/null
             apt-get download -qq libpq5; dpkg-deb -R libpq5_*.deb tree
             sed -i 's/^Version: .*/Version: {version}/' tree/DEBIAN/control
             dpkg-deb -Znone -b tree other.deb >/dev/null; dpkg -i --force-downgrade other.deb"
        )
    };
    site.lab.ssh("db2", &with("1~older")).expect(0);
    site.lab.ssh("db3", &with("99+newer")).expect(0);
}

/// Nothing but the lab's own subnet can be reached, by any host: not the mirror, which could be before.
fn cut_off(site: &Site) {
    let update = "apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=5 -o APT::Update::Error-Mode=any update";
    site.lab.ssh("db1", update).expect(0);
    let mirror = "apt-get indextargets --format '$(REPO_URI)' | head -n 1 | cut -d / -f 3 | cut -d : -f 1";
    let mirror =
        site.lab.ssh("db1", &format!("getent ahostsv4 $({mirror}) | head -n 1 | cut -d ' ' -f 1")).expect(0).stdout;
    let reaches = |host: &str, address: &str, port: u16| {
        let connect = format!("timeout 3 bash -c '</dev/tcp/{address}/{port}'");
        site.lab.ssh(host, &connect).status == 0
    };
    let outside = |host: &str| reaches(host, mirror.trim(), 80) || reaches(host, mirror.trim(), 443);
    assert!(outside("db1"), "the mirror at {mirror} can be reached at first");
    site.lab.command(&["air-gap", "on"]).expect(0);
    for host in site.hosts("postgres") {
        let neighbour = site.address(if host == "db1" { "db2" } else { "db1" });
        assert!(reaches(&host, &neighbour, 22), "{host} reaches its neighbour");
        assert!(!outside(&host), "{host} reaches the outside");
        assert_ne!(site.lab.ssh(&host, update).status, 0, "{host} reaches its mirror");
    }
}

fn facts_say_nothing_else(site: &Site) -> PathBuf {
    let path = site.file("site.facts");
    site.run(&["facts", "export", "--output", &path.display().to_string()]).expect(0);
    let text = fs::read_to_string(&path).expect("written");
    for host in site.hosts("postgres") {
        assert!(text.contains(&format!("\"name\": \"{host}\"")));
        assert!(!text.contains(&site.address(&host)), "no addresses");
    }
    assert!(text.len() < 1 << 20, "it is a small file: {} bytes", text.len());
    path
}

fn name_in_the_inventory(site: &Site, bundle: &Bundle) {
    site.append(&format!("[packages]\nbundle = \"{}\"\nbundle_key = \"{}\"", bundle.path(), bundle.key()));
}

fn nothing_damaged_is_used(site: &Site, bundle: &Bundle) {
    let apply = |path: &Path, key: &str| {
        site.run(&["apply", "--yes", "--bundle", &path.display().to_string(), "--bundle-key", key])
    };
    let key = bundle.key();
    let good = fs::read(bundle.path()).expect("read");
    let bad = bundle.file("bad.bundle");
    let damaged = |bytes: &[u8], says: &str| {
        fs::write(&bad, bytes).expect("written");
        let refused = apply(&bad, &key).expect(2);
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    };
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    damaged(&flipped, "is damaged");
    damaged(&good[..good.len() - 1000], "is damaged");
    damaged(b"no bundle at all", "is not a bundle");
    let refused = apply(Path::new(&bundle.path()), &bundle.text("other.pub")).expect(2);
    assert!(refused.stderr.contains("is not signed by the key it should be"), "{}", refused.stderr);
    let mut unsigned = bundle.opened();
    unsigned.manifest.target.codename = "bookworm".to_owned();
    repack(&bundle.opened(), &unsigned, &bad);
    let refused = site.run(&["apply", "--yes", "--bundle", &bad.display().to_string()]).expect(1);
    assert!(refused.stderr.contains("is for debian bookworm amd64"), "{}", refused.stderr);
    for host in site.hosts("postgres") {
        let untouched = "test ! -e /var/cache/xnat-provision && test ! -e /etc/apt/apt.conf.d/52xnat-unattended";
        site.lab.ssh(&host, untouched).expect(0);
    }
}

/// The same files under another manifest.
fn repack(from: &Opened, manifest: &Opened, to: &Path) {
    let names: BTreeSet<String> = from.manifest.files.iter().map(|file| file.path.clone()).collect();
    let mut parts = Vec::new();
    from.take(&names, |path, bytes| {
        parts.push(Part { path: path.to_owned(), content: Content::Bytes(bytes), program: false });
        Ok(())
    })
    .expect("read");
    archive::write(to, manifest.manifest.clone(), parts, None).expect("written");
}

/// The line from here is slow. The run is killed when some packages are there; those are not sent again.
fn what_has_arrived_is_not_sent_again(site: &Site) {
    slow_line(site, "100mbit");
    let mut run = site.spawn(&["apply", "--yes"]);
    let begun = Instant::now();
    while site.hosts("postgres").iter().all(|host| stored(site, host).len() < 3) {
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing arrives");
        assert!(run.try_wait().expect("it can be asked").is_none(), "it ended before it could be killed");
    }
    run.kill().expect("it runs");
    run.wait().expect("it was started here");
    let before: BTreeMap<String, BTreeSet<String>> =
        site.hosts("postgres").into_iter().map(|host| (host.clone(), stored(site, &host))).collect();
    site.append("keep_bundle = true");
    let applied = site.run(&["apply", "--yes"]).expect(0);
    assert!(
        applied.stdout.contains(" of it from db") || applied.stderr.contains(" of it from db"),
        "hosts give packages to each other: {}{}",
        applied.stdout,
        applied.stderr
    );
    for (host, packages) in before {
        let now = stored(site, &host);
        assert!(packages.is_subset(&now), "{host}: what had arrived was sent again");
    }
    site.write(&site.read().replace("keep_bundle = true", ""));
    full_speed(site);
}

/// What of a bundle is on a host, and since when: a file that is sent again has another time.
fn stored(site: &Site, host: &str) -> BTreeSet<String> {
    let list = "cd /var/cache/xnat-provision/bundle 2>/dev/null && stat -c '%n %i %Y' *.deb 2>/dev/null";
    site.lab.ssh(host, list).stdout.lines().map(str::to_owned).collect()
}

/// The bridge of the lab, from which everything goes that this machine sends to hosts.
fn bridge(site: &Site) -> String {
    let routed = Command::new("ip").args(["-o", "route", "get", &site.address("db1")]).output().expect("ip is here");
    let text = String::from_utf8(routed.stdout).expect("text");
    let mut words = text.split_whitespace().skip_while(|word| *word != "dev");
    words.nth(1).expect("a device").to_owned()
}

fn slow_line(site: &Site, rate: &str) {
    let device = bridge(site);
    let shaped = Command::new("tc")
        .args(["qdisc", "add", "dev", &device, "root", "tbf", "rate", rate, "burst", "256k", "latency", "400ms"])
        .status();
    assert!(shaped.expect("tc is here").success());
}

fn full_speed(site: &Site) {
    let shaped = Command::new("tc").args(["qdisc", "del", "dev", &bridge(site), "root"]).status();
    assert!(shaped.expect("tc is here").success());
}

fn is_as_wanted(site: &Site) {
    let status = site.run(&["status"]).expect(0).stdout;
    assert!(status.contains("healthy"), "{status}");
    for host in site.hosts("postgres") {
        let sources = site.lab.ssh(&host, "ls /etc/apt/sources.list.d").expect(0).stdout;
        assert_eq!(sources.trim(), "debian.sources", "the host's own sources are left alone");
    }
}

/// A newer etcd in a file of its own that only has what is new; and what is older is never put in place of it.
fn newer_from_a_delta(site: &Site, bundle: &Bundle) {
    let newer = newer_etcd(bundle);
    let after = site.file("after.facts");
    site.run(&["facts", "export", "--output", &after.display().to_string()]).expect(0);
    let later = Bundle { facts: after, directory: bundle.directory.clone() };
    later.made(
        "delta.bundle",
        &["--deb", &newer.display().to_string(), "--since", &bundle.path(), "--sign", &bundle.text("site.key")],
    );
    let delta = later.text("delta.bundle");
    let differ = run(&["bundle", "diff", &bundle.path(), &delta]).expect(5).stdout;
    assert!(differ.contains("+newer1"), "{differ}");
    let planned = site.run(&["upgrade", "--plan", "--bundle", &delta]).expect(5).stdout;
    assert!(planned.contains("package etcd-server: upgrade 3") && planned.contains("send 1 package"), "{planned}");
    site.run(&["upgrade", "--yes", "--bundle", &delta]).expect(0);
    let runs = "dpkg -s etcd-server | grep -q newer1 && readlink /proc/$(pidof etcd)/exe";
    let is_newer = || site.hosts("etcd").iter().all(|host| site.lab.ssh(host, runs).stdout.trim() == "/usr/bin/etcd");
    assert!(is_newer());
    for host in site.hosts("postgres") {
        assert!(stored(site, &host).is_empty(), "what was brought goes when it is installed");
    }
    let nothing = site.run(&["upgrade", "--yes"]).expect(0);
    assert!(nothing.stdout.contains("Nothing to upgrade"), "the older bundle has nothing newer: {}", nothing.stdout);
    assert!(is_newer(), "nothing is made older");
}

fn newer_etcd(bundle: &Bundle) -> PathBuf {
    let opened = bundle.opened();
    let package = opened.manifest.packages.iter().find(|package| package.name == "etcd-server").expect("it is in it");
    let (old, tree, new) = (bundle.file("old.deb"), bundle.file("tree"), bundle.file("newer.deb"));
    opened
        .take(&BTreeSet::from([package.path()]), |_, bytes| fs::write(&old, bytes).map_err(|error| error.to_string()))
        .expect("read");
    let tool = |arguments: &[&Path]| {
        let done = Command::new("dpkg-deb").args(arguments).output().expect("dpkg-deb is here");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    tool(&[Path::new("-R"), &old, &tree]);
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("there");
    let version = format!("Version: {}", package.version);
    fs::write(&control, text.replace(&version, &format!("{version}+newer1"))).expect("written");
    tool(&[Path::new("-Znone"), Path::new("-b"), &tree, &new]);
    new
}

/// Whoever has the bundle has the program.
fn the_program_in_it_runs_there(site: &Site, bundle: &Bundle) {
    let root = site.lab.directory().join("hosts/db1/root/root");
    fs::copy(bundle.path(), root.join("site.bundle")).expect("copied");
    bundle
        .opened()
        .take(&BTreeSet::from(["bin/xnat-provision".to_owned()]), |_, bytes| {
            fs::write(root.join("xnat-provision"), bytes).map_err(|error| error.to_string())
        })
        .expect("read");
    let looked = site
        .lab
        .ssh(
            "db1",
            "chmod +x xnat-provision && ./xnat-provision bundle verify site.bundle && ./xnat-provision help topics",
        )
        .expect(0);
    assert!(looked.stdout.contains("good") && looked.stdout.contains("air-gap"), "{}", looked.stdout);
}
