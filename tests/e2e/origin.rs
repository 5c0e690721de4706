//! A PostgreSQL that is none of the cluster's, on a lab host of its own, with one of everything that a move can get wrong
//! (`tests/fixtures/migrate/xnat-like.sql`); an application that writes to it, and something that passes for XNAT.

use std::path::Path;
use std::process::Command;

use crate::harness::{Lab, Ran};
use crate::site::Site;

/// What else is written meanwhile: rows that move from part to part, or cannot be told apart; large objects; sequences.
const OTHERS: &str = "BEGIN;
INSERT INTO public.events VALUES (100000 + :i, timestamp '2020-06-01', 'login', 'x');
UPDATE public.events SET at = at + interval '300 days' WHERE id = 100000 + :i - 4;
INSERT INTO public.hashed VALUES (100000 + :i, 'h');
INSERT INTO public.no_key VALUES (:i % 5, 'w');
UPDATE public.types_float SET f8 = f8 + 0.1, f4 = f4 + 0.1::real WHERE id = 7;
UPDATE public.types_bytea SET b = coalesce(b, '') || '\\x00ff'::bytea WHERE id = 1;
UPDATE public.generated SET a = :i WHERE id = 1;
SELECT nextval('public.hibernate_sequence');
SELECT lo_from_bytea(0, 'of the writer');
COMMIT;
";

/// Triggers and rules that fire for what is replicated, too, fire for clients only.
pub const FIRE_ONCE: &str =
    "SELECT format('ALTER TABLE %s ENABLE TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger
     WHERE tgenabled IN ('A', 'R') UNION ALL
    SELECT format('ALTER TABLE %s ENABLE RULE %I', ev_class::regclass, rulename) FROM pg_rewrite
     WHERE ev_enabled IN ('A', 'R')\n\\gexec";

/// Podman as it can be on a lab host, which has no images: what the container sees are directories of the host, and a `/run`
/// of its own, to which `/var/run` leads as in any image of Debian. The test itself comes in at another socket.
const CONTAINER: &str = r#"set -e
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
    >/etc/containers/storage.conf
printf '[containers]\nkeyring = false\n[engine]\ncgroup_manager = "cgroupfs"\n' >/etc/containers/containers.conf
chmod -R a+rX /opt/pg10
install -d -o postgres /srv/pg10
runuser -u postgres -- /opt/pg10/bin/initdb -D /srv/pg10/data -A trust >/dev/null
printf "unix_socket_directories = '/run/postgresql, /srv/pg10'\nwal_level = logical\n" >>/srv/pg10/data/postgresql.conf
cd /srv
mkdir -p box/etc box/var box/usr box/opt box/srv box/tmp box/dev box/proc box/sys box/run
cp -a /bin /lib /lib64 box
cp /etc/passwd /etc/group box/etc
install -d -o postgres box/run/postgresql
ln -s /run box/var/run
podman run --detach --name xnat-db --network none --cgroups disabled --security-opt seccomp=unconfined --user postgres \
    --volume /usr:/usr:ro --volume /opt:/opt:ro --volume /srv/pg10:/srv/pg10 --rootfs /srv/box \
    /opt/pg10/bin/postgres -D /srv/pg10/data
ln -s /srv/pg10/.s.PGSQL.5432 /var/run/postgresql/
for i in $(seq 100); do runuser -u postgres -- psql -c '' && exit; sleep 0.1; done
podman logs xnat-db
exit 1
"#;

/// XNAT's, before it is told of the cluster.
const SETTINGS: &[u8] =
    b"# the caf\xe9's\r\ndatasource.url = jdbc:postgresql://localhost/xnat\ndatasource.username=xnat\nsite.name=ours\n";

/// A PostgreSQL of its own, on one host of its own.
pub struct Origin {
    pub lab: Lab,
    pub version: &'static str,
}

impl Origin {
    pub fn up(test: &str, (suite, version): (&str, &'static str)) -> Self {
        let package = format!("postgresql-{version}");
        let lab = Lab::up(test, &["--hosts", "1", "--suite", suite, "--packages", &package]);
        let origin = Self { lab, version };
        origin.shell(&format!("pg_createcluster {version} main --start"));
        origin.fill("on");
        origin
    }

    /// PostgreSQL 10, of which no release of Debian has packages, in a container that has a root of its own and no network.
    pub fn of_10(test: &str) -> Self {
        let packages = "postgresql-15,podman,crun";
        let lab = Lab::up(test, &["--hosts", "1", "--suite", "bookworm", "--packages", packages]);
        let origin = Self { lab, version: "10" };
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/postgresql-10");
        assert!(programs.join("bin/postgres").exists(), "{} is made by `make old-postgres`", programs.display());
        let root = origin.lab.directory().join("hosts/db1/root");
        let copied = Command::new("cp").arg("-r").arg(&programs).arg(root.join("opt/pg10")).status().expect("cp runs");
        assert!(copied.success());
        std::fs::write(root.join("srv/container.sh"), CONTAINER).expect("written");
        origin.shell("sh /srv/container.sh");
        origin.fill("off");
        // what is newer than that is left out
        let tables = origin.sql("xnat", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
        assert!(tables.trim().parse::<u32>().expect("a number") > 60, "{tables}");
        origin
    }

    /// With one of everything.
    fn fill(&self, stop_at_errors: &str) {
        self.sql("postgres", "CREATE ROLE xnat LOGIN PASSWORD 'of the source'");
        self.sql(
            "postgres",
            "CREATE DATABASE xnat OWNER xnat TEMPLATE template0 ENCODING UTF8 LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'",
        );
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/migrate/xnat-like.sql");
        std::fs::copy(fixture, self.lab.directory().join("hosts/db1/root/srv/xnat-like.sql")).expect("copied");
        self.shell("chmod 644 /srv/xnat-like.sql");
        self.shell(&format!(
            "sed -i 's/^.set ON_ERROR_STOP on/\\\\set ON_ERROR_STOP {stop_at_errors}/' /srv/xnat-like.sql && \
             runuser -u postgres -- psql -qX -v tables={} -v rows={} -d xnat -f /srv/xnat-like.sql",
            size("XNAT_TABLES", 40),
            size("XNAT_ROWS", 300)
        ));
    }

    pub fn shell(&self, command: &str) -> String {
        self.lab.ssh("db1", &format!("cd / && {command}")).expect(0).stdout
    }

    pub fn sql(&self, database: &str, sql: &str) -> String {
        sql_on(&self.lab, "db1", (database, sql)).expect(0).stdout
    }

    /// A line of the lab's inventory.
    pub fn said(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.lab.inventory()).expect("the lab wrote it");
        let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).expect("it is in it");
        line.split('"').nth(1).expect("a text").to_owned()
    }

    /// As an inventory has it; the login becomes root through sudo.
    pub fn table(&self) -> String {
        format!(
            "[migrate.source]\naddress = \"{}\"\nfingerprint = \"{}\"\nssh = {{ user = \"admin\", become = \"sudo\", identity = \"{}\" }}\n",
            self.said("address"),
            self.said("fingerprint"),
            self.lab.directory().join("id_ed25519").display()
        )
    }

    /// The same for somebody who can become `postgres`, and not root.
    pub fn table_of_dba(&self) -> String {
        self.shell(
            "useradd -m dba && cp -r /home/admin/.ssh /home/dba/.ssh && chown -R dba: /home/dba && \
             echo 'dba ALL=(postgres) NOPASSWD: ALL' >/etc/sudoers.d/dba && chmod 440 /etc/sudoers.d/dba",
        );
        self.table()
            .replace("\"admin\"", "\"dba\"")
            .replace("[migrate.source]\n", "[migrate.source]\nsudo_as = \"postgres\"\n")
    }

    /// The same when it is in a container called so.
    pub fn table_of_container(&self, name: &str) -> String {
        format!("{}container = \"{name}\"\nengine = \"podman\"\n", self.table())
    }

    /// Something that listens as XNAT's Tomcat does, and its settings, in Latin-1 and with a line of somebody else's.
    pub fn run_xnat(&self) -> String {
        let root = self.lab.directory().join("hosts/db1/root");
        let tomcat = "use Socket;\nsocket(my $s, PF_INET, SOCK_STREAM, 0); setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1);\n\
                      bind($s, sockaddr_in(8080, INADDR_LOOPBACK)) or die; listen($s, 5);\n\
                      while (accept(my $c, $s)) { my $line = <$c>; print $c \"HTTP/1.0 200 OK\\r\\n\\r\\n\"; close $c }\n";
        std::fs::write(root.join("srv/tomcat.pl"), tomcat).expect("written");
        let unit = "[Service]\nExecStart=/usr/bin/perl /srv/tomcat.pl\n";
        std::fs::write(root.join("etc/systemd/system/tomcat9.service"), unit).expect("written");
        std::fs::create_dir_all(root.join("data/xnat")).expect("made");
        std::fs::write(root.join("data/xnat/xnat-conf.properties"), SETTINGS).expect("written");
        self.shell("chown 999:999 /data/xnat/xnat-conf.properties && chmod 640 /data/xnat/xnat-conf.properties");
        self.shell("systemctl daemon-reload && systemctl start tomcat9");
        let host = self.table().replace("[migrate.source]", "[[xnat.host]]");
        format!("[xnat]\nproperties = \"/data/xnat/xnat-conf.properties\"\n{host}")
    }

    pub fn settings_of_xnat(&self) -> String {
        assert_eq!(self.shell("systemctl is-active tomcat9").trim(), "active");
        let file = "/data/xnat/xnat-conf.properties";
        assert_eq!(self.shell(&format!("stat -c '%u %g %a' {file}")).trim(), "999 999 640");
        self.shell(&format!("cat -v {file}"))
    }

    pub fn is_xnat_there(&self) -> bool {
        self.shell("systemctl is-active tomcat9 || true").trim() == "active"
    }

    pub fn can_be_followed(&self) {
        self.sql("postgres", "ALTER SYSTEM SET wal_level TO logical");
        self.shell(&format!("pg_ctlcluster {} main restart", self.version));
    }

    /// Over the network, with a certificate that nobody has signed.
    pub fn speaks_tls_only(&self) {
        let version = self.version;
        self.shell(&format!(
            "cd /var/lib/postgresql && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=somebody \
             -keyout own.key -out own.crt 2>/dev/null && chown postgres own.key own.crt && \
             echo 'hostssl all all 0.0.0.0/0 scram-sha-256' >>/etc/postgresql/{version}/main/pg_hba.conf"
        ));
        let settings = [("ssl_cert_file", "own.crt"), ("ssl_key_file", "own.key")];
        for (name, file) in settings {
            self.sql("postgres", &format!("ALTER SYSTEM SET {name} TO '/var/lib/postgresql/{file}'"));
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl TO on");
        self.shell(&format!("pg_ctlcluster {version} main restart"));
    }

    /// Nobody keeps anything for a copy.
    pub fn nothing_follows(&self) {
        let left = "SELECT slot_name FROM pg_replication_slots UNION ALL
                    SELECT pubname FROM pg_publication WHERE pubname LIKE 'xnat\\_provision\\_%'";
        assert_eq!(self.sql("xnat", left), "");
    }

    pub fn is_read_only(&self) -> bool {
        self.sql("xnat", "SHOW default_transaction_read_only").trim() == "on"
    }

    /// Inserts rows as the application until it is told to end; the acknowledged ones are in a file.
    pub fn write(&self) -> Writer<'_> {
        let hba = format!("/etc/postgresql/{}/main/pg_hba.conf", self.version);
        self.shell(&format!("sed -i 's/^local  *all  *all .*/local all all trust/' {hba}"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        let first: u64 = self
            .sql("xnat", "SELECT coalesce(max(id), 0) + 1 FROM public.writer_ledger")
            .trim()
            .parse()
            .expect("a number");
        let one = "psql -qXAt -U xnat -d xnat -c \"insert into public.writer_ledger values ($i)\" 2>>/srv/refused";
        std::fs::write(self.lab.directory().join("hosts/db1/root/srv/others.sql"), OTHERS).expect("written");
        let others = "runuser -u postgres -- psql -qX -v i=$i -d xnat -f /srv/others.sql >/dev/null 2>&1";
        self.shell(&format!(
            "rm -f /srv/end /srv/refused; i={first}; (while ! test -e /srv/end; do if {one}; then echo $i >>/srv/acknowledged; fi; \
             [ $((i % 4)) -ne 0 ] || {others}; i=$((i + 1)); sleep 0.1; done) >/dev/null 2>&1 & sleep 1"
        ));
        Writer { origin: self }
    }
}

/// As many as a variable of the environment says: a database of several GB takes its time, and its space.
fn size(variable: &str, usual: u32) -> u32 {
    let said = std::env::var(variable).ok();
    said.map_or(usual, |said| said.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {said:?}")))
}

pub struct Writer<'a> {
    origin: &'a Origin,
}

impl Writer<'_> {
    /// What was acknowledged, by it and those before it.
    pub fn end(self) -> Vec<u64> {
        self.origin.shell("touch /srv/end; sleep 1");
        self.origin.shell("cat /srv/acknowledged").lines().map(|line| line.parse().expect("a number")).collect()
    }
}

pub fn sql_on(lab: &Lab, host: &str, (database, sql): (&str, &str)) -> Ran {
    let psql = format!("runuser -u postgres -- psql -qXAt -v ON_ERROR_STOP=1 -d {database}");
    lab.ssh(host, &format!("cd / && {psql} <<'END_OF_SQL'\n{sql}\nEND_OF_SQL"))
}

pub fn on_the_leader(site: &Site, (database, sql): (&str, &str)) -> String {
    sql_on(&site.lab, &site.leader(), (database, sql)).expect(0).stdout
}

/// Nothing of a copy that was not to stay.
pub fn nothing_is_left(site: &Site) {
    let databases =
        on_the_leader(site, ("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'xnat\\_provision\\_%'"));
    let marked = "SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') LIKE 'xnat-provision%'";
    let roles = on_the_leader(site, ("postgres", marked));
    assert_eq!((databases.as_str(), roles.as_str()), ("", ""));
    for host in site.hosts("postgres") {
        site.lab.ssh(&host, "! test -e /var/lib/postgresql/.xnat-migrate").expect(0);
    }
}
