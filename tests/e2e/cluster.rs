//! The main job, on every topology and release the README promises: bare hosts, one `apply`, a working cluster.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;
use xnat_provision::quote::sh;

use crate::poison::{Poison, Sampler, Seen};
use crate::site::Site;

#[test]
fn three_members_and_a_haproxy_on_debian_13_as_root() {
    let site = Site::bare("trixie", (&["--hosts", "4", "--suite", "trixie"], "root"));
    site.poison();
    plan_changes_nothing(&site);
    let sampler = Sampler::start();
    let applied = site.run(&["apply", "--yes"]).expect(0);
    let seen = sampler.stop();
    no_secret_is_seen(&site, &seen, &[applied.stdout, applied.stderr]);
    works_as_a_client_sees_it(&site);
    is_left_alone_by_a_second_apply(&site);
    changing_one_value_changes_only_that(&site);
    limits_that_take_two_runs_are_refused(&site);
    saved_plans_are_kept_or_refused(&site);
    what_was_set_by_hand_is_put_back(&site);
    status_takes_the_screen_and_gives_it_back(&site);
    status_tells_the_truth(&site);
    a_dead_host_can_be_left_out(&site);
}

#[test]
fn three_members_and_a_haproxy_on_debian_12_with_a_sudo_password() {
    let site = Site::bare("bookworm", (&["--hosts", "4", "--suite", "bookworm"], "operator"));
    whole_job(&site);
}

#[test]
fn everything_on_three_hosts_on_debian_13_with_sudo() {
    whole_job(&Site::new("colo13", (&["--hosts", "3", "--suite", "trixie"], "admin")));
}

#[test]
fn everything_on_three_hosts_on_debian_12_as_root() {
    whole_job(&Site::new("colo12", (&["--hosts", "3", "--suite", "bookworm"], "root")));
}

#[test]
fn every_component_on_its_own_hosts_on_debian_12_with_sudo() {
    whole_job(&Site::new("split12", (&["--inventory", "inventory/split.toml", "--suite", "bookworm"], "admin")));
}

#[test]
fn every_component_on_its_own_hosts_on_debian_13_as_root() {
    whole_job(&Site::new("split13", (&["--inventory", "inventory/split.toml", "--suite", "trixie"], "root")));
}

#[test]
fn one_host_for_development_on_debian_13() {
    development("trixie");
}

#[test]
fn one_host_for_development_on_debian_12() {
    development("bookworm");
}

fn development(suite: &str) {
    let site = Site::bare(&format!("single-{suite}"), (&["--hosts", "1", "--suite", suite], "root"));
    let applied = site.run(&["apply", "--yes"]).expect(0);
    assert!(applied.stderr.contains("warning"), "one host is worth a warning:\n{}", applied.stderr);
    works_as_a_client_sees_it(&site);
    is_left_alone_by_a_second_apply(&site);
    a_sites_own_role_is_applied(&site);
}

/// A role of the site's own, from a directory beside the inventory; the built-in ones are left as they are.
fn a_sites_own_role_is_applied(site: &Site) {
    let roles = site.file("assets/roles");
    std::fs::create_dir_all(&roles).expect("made");
    let role = "title = \"Greet\"\n[[resource]]\nfile = { path = \"/etc/motd\", content = \"{{ cluster }} on {{ host.name }}\\n\" }\n";
    std::fs::write(roles.join("greeting.toml"), role).expect("written");
    let text = site.read().replacen("\"haproxy\"]", "\"haproxy\", \"greeting\"]", 1);
    site.write(&format!("assets = \"assets\"\n{text}"));
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("Apply the site's own roles"), "{}", planned.stdout);
    assert!(planned.stderr.contains("plan: 1 change on 1 host"), "{}", planned.stderr);
    site.run(&["apply", "--yes"]).expect(0);
    let motd = site.lab.ssh("db1", "cat /etc/motd").expect(0).stdout;
    assert_eq!(motd, format!("{} on db1\n", site.lab.name()));
    site.run(&["plan"]).expect(0);
}

/// What every topology must do.
fn whole_job(site: &Site) {
    site.run(&["apply", "--yes"]).expect(0);
    works_as_a_client_sees_it(site);
    is_left_alone_by_a_second_apply(site);
}

/// Every file of a host with its time and owner, but for what changes by itself or by logging in.
fn files(site: &Site, host: &str) -> String {
    let prune = "-path /proc -o -path /sys -o -path /run -o -path /dev -o -path /tmp -o -path /var/log \
                 -o -path /var/lib/systemd -o -path /root/.cache -o -path /root/.ssh";
    let list = "-printf '%p %y %s %T@ %m %u %g\\n'";
    site.lab.ssh(host, &format!("find / -xdev \\( {prune} \\) -prune -o {list} | sort")).expect(0).stdout
}

fn plan_changes_nothing(site: &Site) {
    let hosts = site.hosts("etcd");
    let before: Vec<String> = hosts.iter().map(|host| files(site, host)).collect();
    let planned = site.run(&["plan"]).expect(5);
    for word in ["package patroni: install", "form a new etcd cluster of db1, db2, db3", "create database xnat"] {
        assert!(planned.stdout.contains(word), "the plan does not say {word:?}:\n{}", planned.stdout);
    }
    let after: Vec<String> = hosts.iter().map(|host| files(site, host)).collect();
    for (host, (before, after)) in hosts.iter().zip(before.iter().zip(&after)) {
        let changed: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
        assert!(before == after, "plan changed {host}: {changed:#?}");
    }
}

fn works_as_a_client_sees_it(site: &Site) {
    let (primary, replica) =
        (site.number("/inventory/haproxy/primary_port"), site.number("/inventory/haproxy/replica_port"));
    site.psql(primary, "CREATE TABLE proof (n int); INSERT INTO proof VALUES (42)").expect(0);
    let members = site.hosts("postgres").len();
    let read = || site.psql(replica, "SELECT n, pg_is_in_recovery() FROM proof");
    let wanted = if members > 1 { "42|t\n" } else { "42|f\n" };
    // a replica may be a moment behind
    let arrived = (0..50).map(|_| read()).find(|read| read.status == 0 && read.stdout == wanted);
    assert!(arrived.is_some(), "the row did not arrive on the replica port: {:?}", read());
    site.psql(primary, "DROP TABLE proof").expect(0);
}

/// Events of a run, from `--json`.
fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("every line is an event")).collect()
}

/// How often etcd and PostgreSQL wrote down that a client did not behave.
fn complaints(site: &Site) -> Vec<String> {
    let counted = "journalctl -u etcd | grep -c 'provide a certificate'
                   cat /var/log/postgresql/*.log | grep -c 'could not receive data from client'; true";
    site.hosts("postgres").iter().map(|host| site.lab.ssh(host, counted).expect(0).stdout).collect()
}

fn is_left_alone_by_a_second_apply(site: &Site) {
    let complained = complaints(site);
    let again = site.run(&["apply", "--yes", "--json"]).expect(0);
    assert_eq!(complaints(site), complained, "looking leaves no traces in logs");
    let events = events(&again.stdout);
    let of_kind = |kind: &str| events.iter().filter(|event| event["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of_kind("change_applied").len(), 0, "{}", again.stdout);
    assert_eq!(of_kind("plan_made")[0]["changes"], 0, "{}", again.stdout);
    let mut connections: BTreeMap<&str, usize> = BTreeMap::new();
    for event in of_kind("connected") {
        *connections.entry(event["host"].as_str().expect("a host")).or_default() += 1;
    }
    assert!(connections.values().all(|count| *count == 1), "one connection per host: {connections:?}");
    for event in of_kind("disconnected") {
        let trips = event["round_trips"].as_u64().expect("a number");
        assert!((1..=3).contains(&trips), "{}: {trips} round trips for nothing to do", event["host"]);
    }
    assert_eq!(of_kind("disconnected").len(), connections.len());
    let planned = site.run(&["plan"]).expect(0);
    assert!(planned.stdout.contains("Nothing to change"), "{}", planned.stdout);
}

fn changing_one_value_changes_only_that(site: &Site) {
    let original = site.read();
    site.append("[haproxy]\nmaxconn = 900");
    let planned = site.run(&["plan", "--json"]).expect(5);
    let plan: Value = serde_json::from_str(&planned.stdout).expect("plan --json prints JSON");
    let changes: Vec<String> = plan["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .flat_map(|stage| stage["hosts"].as_object().expect("hosts").iter())
        .flat_map(|(host, changes)| changes.as_array().expect("changes").iter().map(move |c| (host, c)))
        .map(|(host, change)| format!("{host}: {}: {}", change["resource"], change["summary"]).replace('"', ""))
        .collect();
    assert_eq!(
        changes,
        [
            "lb1: file /etc/haproxy/haproxy.cfg: update",
            "lb1: unit haproxy.service: reload: /etc/haproxy/haproxy.cfg changed"
        ]
    );
    let shown = site.run(&["plan"]).expect(5);
    assert!(
        shown.stdout.contains("-    maxconn 1000") && shown.stdout.contains("+    maxconn 900"),
        "{}",
        shown.stdout
    );
    site.run(&["apply", "--yes"]).expect(0);
    site.run(&["plan"]).expect(0);

    // What all members share goes to the DCS and to nobody's files.
    site.append("[postgresql]\nparameters = { work_mem = \"8MB\" }");
    let planned = site.run(&["plan"]).expect(5);
    assert!(planned.stdout.contains("postgresql.parameters.work_mem: "), "{}", planned.stdout);
    assert!(!planned.stdout.contains(" file "), "{}", planned.stdout);
    site.run(&["apply", "--yes"]).expect(0);
    let primary = site.number("/inventory/haproxy/primary_port");
    let shown = || site.psql(primary, "SHOW work_mem").stdout;
    assert!((0..50).any(|_| shown() == "8MB\n"), "work_mem is {}", shown());
    site.write(&original);
    site.append("[haproxy]\nmaxconn = 900\n[postgresql]\nparameters = { work_mem = \"8MB\" }");
    site.run(&["plan"]).expect(0);
}

fn limits_that_take_two_runs_are_refused(site: &Site) {
    let original = site.read();
    site.write(
        &original.replace("work_mem = \"8MB\"", "work_mem = \"8MB\", max_connections = 333, max_wal_senders = 7"),
    );
    let refused = site.run(&["apply", "--yes"]).expect(1);
    assert!(refused.stderr.contains("would interrupt the running database"), "{}", refused.stderr);
    assert!(refused.stderr.contains("max_connections"), "{}", refused.stderr);
    // what is taken out of the inventory is not silently kept
    site.write(&original.replace("work_mem = \"8MB\"", ""));
    let kept = site.run(&["plan"]).expect(0);
    assert!(kept.stderr.contains("work_mem = 8MB, which the inventory does not say"), "{}", kept.stderr);
    site.write(&original);
    site.run(&["plan"]).expect(0);
}

fn saved_plans_are_kept_or_refused(site: &Site) {
    let saved = site.file("saved.json");
    let saved = saved.to_str().expect("UTF-8");
    let original = site.read();
    site.write(&original.replace("maxconn = 900", "maxconn = 800"));
    site.run(&["plan", "--out", saved]).expect(5);
    site.write(&original.replace("maxconn = 900", "maxconn = 700"));
    let moved = site.run(&["apply", "--yes", "--plan", saved]).expect(1);
    assert!(moved.stderr.contains("reality moved"), "{}", moved.stderr);
    site.write(&original.replace("maxconn = 900", "maxconn = 800"));
    site.run(&["apply", "--yes", "--plan", saved]).expect(0);
    let again = site.run(&["apply", "--yes", "--plan", saved]).expect(1);
    assert!(again.stderr.contains("reality moved"), "{}", again.stderr);
}

fn status_tells_the_truth(site: &Site) {
    let healthy = site.run(&["status"]).expect(0);
    assert!(healthy.stdout.starts_with("healthy: leader db"), "{}", healthy.stdout);
    site.lab.ssh("db3", "systemctl stop patroni").expect(0);
    let broken = || site.run(&["status", "--json"]);
    let seen = (0..100).map(|_| broken()).find(|ran| ran.status == 4);
    assert!(seen.is_some(), "a stopped replica is not healthy: {:?}", broken());
    site.lab.ssh("db3", "systemctl start patroni").expect(0);
    assert!((0..100).any(|_| broken().status == 0), "it is back: {:?}", broken());
    site.lab.command(&["fault", "db3", "kill"]).expect(0);
    let gone = site.run(&["status"]).expect(4);
    assert!(gone.stdout.contains("db3"), "{}", gone.stdout);
}

/// ALTER SYSTEM wins over what Patroni writes, so it is told and taken back; what only a restart takes back, by one in turn.
fn what_was_set_by_hand_is_put_back(site: &Site) {
    let replica = site.hosts("postgres").into_iter().find(|host| *host != site.leader()).expect("a replica");
    let set = "ALTER SYSTEM SET work_mem = '48MB'; ALTER SYSTEM SET shared_buffers = '200MB'";
    for sql in set.split("; ") {
        site.lab.ssh(&replica, &format!("runuser -u postgres -- psql -XAtqc {}", sh(sql))).expect(0);
    }
    let told = site.run(&["status"]).expect(0);
    assert!(told.stdout.contains(&format!("ALTER SYSTEM on {replica} has set shared_buffers")), "{}", told.stdout);
    let planned = site.run(&["plan"]).expect(5);
    for word in [&format!("reset what ALTER SYSTEM has set on {replica}"), "work_mem = 48MB", "shared_buffers = 200MB"]
    {
        assert!(planned.stdout.contains(word), "the plan does not say {word:?}:\n{}", planned.stdout);
    }
    site.run(&["apply", "--yes"]).expect(0);
    let shown = "runuser -u postgres -- psql -XAtqc 'SHOW work_mem' -c 'SHOW shared_buffers'";
    assert_eq!(site.lab.ssh(&replica, shown).expect(0).stdout, "8MB\n256MB\n", "as the inventory says");
    site.run(&["plan"]).expect(0);
}

/// It shows the leader until a key or a signal ends it, and then the terminal is as it was.
fn status_takes_the_screen_and_gives_it_back(site: &Site) {
    let leader = site.leader();
    let key = |child: &mut Child| {
        child.stdin.as_mut().expect("piped").write_all(b"q").expect("it reads");
    };
    let signal = |_: &mut Child| {
        let pid = std::fs::read_to_string(site.terminal_pid()).expect("it wrote its number");
        let sent = Command::new("kill").arg(pid.trim()).status().expect("kill runs");
        assert!(sent.success(), "it runs still");
    };
    for end in [&key as &dyn Fn(&mut Child), &signal] {
        let mut watch = site.in_terminal((100, 30), &["status", "--watch=1"]);
        let mut output = watch.stdout.take().expect("piped");
        let mut shown = Vec::new();
        let begun = Instant::now();
        // it is drawn twice a second, so this does not wait for ever
        while !String::from_utf8_lossy(&shown).contains("Events") {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", String::from_utf8_lossy(&shown));
            let mut chunk = [0; 4096];
            let read = output.read(&mut chunk).expect("it can be read");
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&chunk[..read]);
        }
        end(&mut watch);
        output.read_to_end(&mut shown).expect("it ends");
        watch.wait().expect("it was started");
        let shown = String::from_utf8_lossy(&shown);
        let (_, screen) = shown.split_once("\x1b[?1049h").expect("the alternate screen");
        let (screen, after) = screen.split_once("\x1b[?1049l").expect("and back");
        assert!(screen.contains(&leader) && screen.contains("streaming"), "{screen}");
        assert!(after.contains(&format!("healthy: leader {leader}")) && after.contains("exit 0"), "{after}");
        assert!(["isig icanon", " echo "].iter().all(|mode| after.contains(mode)), "{after}");
        assert!(shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l"), "the cursor is seen again: {shown}");
    }
}

/// One host is dead: the others can be worked on when it is left out, and the end says that not all is well.
fn a_dead_host_can_be_left_out(site: &Site) {
    site.write(&site.read().replace("maxconn = 800", "maxconn = 700"));
    site.run(&["apply", "--yes"]).expect(3);
    let limited = site.run(&["apply", "--yes", "--limit", "lb1"]).expect(4);
    assert!(limited.stderr.contains("changed unit haproxy.service: reload"), "{}", limited.stderr);
    assert!(limited.stdout.contains("Verified: wrote through lb1"), "{}", limited.stdout);
    site.run(&["plan", "--limit", "lb1"]).expect(0);
}

/// Nowhere: not in command lines or environments, not in what was printed, not in the journals here or there, not in logs,
/// temporary files or shell histories; only in the files that services read.
fn no_secret_is_seen(site: &Site, seen: &Seen, printed: &[String]) {
    assert!(seen.command_lines.iter().any(|line| line.contains("/usr/bin/patroni")), "the hosts' processes were seen");
    let poison = Poison::of(site);
    let planned = site.run(&["plan", "--json"]).expect(0);
    let status = site.run(&["status", "--json"]).expect(0);
    let mut places = seen.places();
    places.push(("the journals".to_owned(), crate::poison::all_text(&site.state())));
    let printed = printed.iter().chain([&planned.stdout, &planned.stderr, &status.stdout]);
    places.extend(printed.map(|text| ("the output".to_owned(), text.clone())));
    places.extend(what_a_leaking_host_makes_of_errors(site));
    places.push(("a bundle".to_owned(), what_a_bundle_makes_of_it(site)));
    let nothing = std::collections::BTreeSet::new();
    assert_eq!(poison.found(&places), nothing);
    for host in ["db1", "db2", "db3", "lb1"] {
        let files = poison.files(site, host);
        let stray: Vec<&String> =
            files.iter().filter(|file| !SECRET_FILES.iter().any(|part| file.contains(part))).collect();
        assert!(stray.is_empty(), "{host} has secrets in {stray:?}");
        assert!(!files.is_empty(), "{host} was looked at");
        let listed: Vec<&str> = files.iter().map(String::as_str).collect();
        let open = site.lab.ssh(host, &format!("find {} -perm /o=rwx", listed.join(" "))).expect(0).stdout;
        assert_eq!(open, "", "others can read secrets on {host}");
    }
    planted_leaks_are_seen(site, &poison);
}

/// Somebody has written a password into a file that is none for secrets.
fn what_a_bundle_makes_of_it(site: &Site) -> String {
    let leak = "/etc/systemd/system/haproxy.service.d/zz-site.conf";
    let (_, password) = &site.poisons()[0];
    site.lab.ssh("lb1", &format!("echo '# {password}' >{leak}")).expect(0);
    let (archive, unpacked) = (site.file("bundle.tar.gz"), site.file("bundle"));
    let (to, into) = (archive.display().to_string(), unpacked.display().to_string());
    site.run(&["support-bundle", "--output", &to]).expect(0);
    site.lab.ssh("lb1", &format!("rm {leak}")).expect(0);
    std::fs::create_dir(&unpacked).expect("made");
    let tar = std::process::Command::new("tar").args(["-xzf", &to, "-C", &into, "--strip-components=1"]).status();
    assert!(tar.expect("tar runs").success());
    let text = crate::poison::all_text(&unpacked);
    for part in ["hosts/db1/patroni-cluster.json", "hosts/lb1/haproxy.csv", "hosts/db1/etcd-status.json", "status.json"]
    {
        assert!(unpacked.join(part).exists(), "it has no {part}: {}", crate::poison::all_text(&unpacked));
    }
    let shown = std::fs::read_to_string(unpacked.join(format!("hosts/lb1/files{leak}"))).expect("it is there");
    assert_eq!(shown, "# ***\n");
    text
}

/// Where secrets rest on a host.
const SECRET_FILES: [&str; 4] = ["/etc/patroni/", "/etc/etcd/tls/", "/etc/haproxy/", "/var/lib/postgresql/"];

/// A command of the site's own role prints the file with the passwords and fails, so what it printed is shown.
fn what_a_leaking_host_makes_of_errors(site: &Site) -> Vec<(String, String)> {
    let before = site.read();
    let roles = site.file("leaking/roles");
    std::fs::create_dir_all(&roles).expect("made");
    let leak =
        "cat /etc/patroni/*/40-secrets.yml /etc/patroni/tls/*key.pem >&2; base64 /etc/patroni/*/40-secrets.yml; exit 1";
    let role = format!(
        "title = \"Leak\"\n[[resource]]\ncommand = {{ run = \"{leak}\", unless = \"false\", why = \"it leaks\" }}\n"
    );
    std::fs::write(roles.join("leak.toml"), role).expect("written");
    site.write(&format!("assets = \"leaking\"\n{}", before.replacen("\"postgres\"]", "\"postgres\", \"leak\"]", 1)));
    let failed = site.run(&["apply", "--yes"]).expect(1);
    assert!(failed.stderr.contains("***"), "what the command printed is shown, masked:\n{}", failed.stderr);
    let json = site.run(&["apply", "--yes", "--json"]).expect(1);
    site.write(&before);
    let outputs = [failed.stdout + " ", failed.stderr, json.stdout, json.stderr + " "];
    let mut places: Vec<_> = outputs.map(|text| ("an error".to_owned(), text)).into();
    places.push(("the journal of a failure".to_owned(), crate::poison::all_text(&site.state())));
    places
}

/// Whatever a secret leaks into, it is found there.
fn planted_leaks_are_seen(site: &Site, poison: &Poison) {
    let before = poison.files(site, "lb1");
    let secret = &site.poisons()[4].1;
    let plant = format!(
        "logger planted {secret}; echo {secret} | base64 >/tmp/planted; echo 'psql {secret}' >>/root/.bash_history; \
         echo {secret} >/var/log/planted.log; echo {secret} >/run/planted; sync"
    );
    site.lab.ssh("lb1", &plant).expect(0);
    let found = poison.files(site, "lb1");
    for place in ["/tmp/planted", "/root/.bash_history", "/var/log/planted.log", "/run/planted", "the journal"] {
        assert!(found.contains(place), "{place}: {found:?}");
    }
    assert!(!before.contains("the journal"));
    let sampler = Sampler::start();
    site.lab.ssh("lb1", &format!("PLANTED={secret} sh -c 'sleep 1; : {secret}'")).expect(0);
    let seen = poison.found(&sampler.stop().places());
    assert_eq!(seen.len(), 2, "a command line and an environment: {seen:?}");
    site.lab.ssh("lb1", "rm /tmp/planted /root/.bash_history /var/log/planted.log /run/planted").expect(0);
}
