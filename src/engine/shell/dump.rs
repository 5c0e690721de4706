//! What the leader is asked for in a migration: to dump a database, its own or a foreign one, with its own programs, to
//! restore that in the other server, and to compare schemas. All of it in one directory beside the data, where there is space for it.

use crate::quote::{heredoc_base64, sh};
use crate::secret::Secret;

/// Everything a migration has on the leader's disk.
const DIRECTORY: &str = "/var/lib/postgresql/.xnat-migrate";
/// Where programs there find the socket that leads to the source.
pub const SOCKETS: &str = "/var/lib/postgresql/.xnat-migrate/socket";

/// Where a server listens, as programs there are told.
pub struct Server<'a> {
    /// A directory of a socket, or an address.
    pub host: &'a str,
    pub port: u16,
    pub user: &'a str,
    pub password: Option<&'a Secret>,
}

/// Whatever a run that was cut off has left, and what of it still goes on: its programs keep the lock that they inherited.
pub fn clean() -> String {
    format!(
        "directory={DIRECTORY}
lock=$directory/lock
if [ -e \"$lock\" ]; then
  for link in /proc/[0-9]*/fd/9; do
    [ \"$(readlink \"$link\")\" = \"$lock\" ] || continue
    pid=${{link#/proc/}}
    kill \"${{pid%%/*}}\" 2>/dev/null || :
  done
  exec 8<\"$lock\"
  flock -w 60 8 || {{ echo 'what an earlier run began there does not end' >&2; exit 1; }}
fi
rm -rf -- \"$directory\"
"
    )
}

/// A directory, of which nothing is there yet, and in it one in which the SSH server can make a socket for whoever logged in.
pub fn begin() -> String {
    format!(
        "set -e
umask 022
mkdir {DIRECTORY} {SOCKETS}
chown \"${{SUDO_UID:-0}}\" {SOCKETS}
chmod 700 {SOCKETS}
: >{DIRECTORY}/lock
"
    )
}

/// How that socket is called.
pub fn socket(port: u16) -> String {
    format!("{SOCKETS}/.s.PGSQL.{port}")
}

/// Where the leader's server reads the source's password.
const PASSFILE: &str = "/var/lib/postgresql/.xnat-migrate/follow";

/// The leader's server itself may go through that socket, and knows the password.
pub fn let_in(server: &Server<'_>) -> String {
    let password = server.password.map(|password| {
        format!(
            "base64 -d >{PASSFILE} {}chown postgres:postgres {PASSFILE}\n",
            heredoc_base64(passfile(password).as_bytes())
        )
    });
    let socket = socket(server.port);
    format!(
        "set -e
umask 077
{}if [ -S {socket} ]; then
  chmod 711 {SOCKETS}
  chown postgres {socket}
fi
",
        password.unwrap_or_default()
    )
}

/// What the leader's server connects to the source with. It stays in a catalog that only superusers may read; the password
/// does not.
pub fn conninfo(server: &Server<'_>, database: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let passfile = server.password.map(|_| format!(" passfile={PASSFILE}")).unwrap_or_default();
    format!(
        "host={} port={} user={} dbname={}{passfile} application_name=xnat-provision connect_timeout=120 \
         keepalives_idle=60 options='{WITHOUT_LIMITS} {EXACT}'",
        quoted(server.host),
        server.port,
        quoted(server.user),
        quoted(database),
    )
}

fn passfile(password: &Secret) -> String {
    let escaped = password.expose().replace('\\', "\\\\").replace(':', "\\:");
    format!("*:*:*:*:{escaped}\n")
}

/// Makes a slot for logical replication there, says which snapshot has all that comes before what the slot has, and holds
/// that until its input ends. What goes wrong is said instead. The slot stays.
pub fn slot((server, database): (&Server<'_>, &str), slot: &str, major: u32) -> String {
    let connection = sh(&format!("{} replication=database", conninfo(server, database)));
    format!(
        "exec 2>&1
{}cat >{DIRECTORY}/slot.sql <<'END'
CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput EXPORT_SNAPSHOT \\gset
\\setenv SNAPSHOT :snapshot_name
\\! echo \"snapshot $SNAPSHOT\"; cat >/dev/null
END
{}/psql -XAtq -v ON_ERROR_STOP=1 -f {DIRECTORY}/slot.sql {connection}
",
        locked(),
        programs(major),
    )
}

fn locked() -> String {
    format!("set -e\numask 077\nexec 9<{DIRECTORY}/lock\nflock -s -n 9\n")
}

/// Which of the two servers a program is to talk to.
#[derive(Clone, Copy)]
pub enum At<'a> {
    /// This host's own, at that port, as its superuser.
    Here(u16),
    There(&'a Server<'a>),
}

const WITHOUT_LIMITS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";

/// What newer servers ask for by themselves when they follow another one.
const EXACT: &str = "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3";

/// A shell function `as` that runs a program as somebody the server lets in, with what the program has to know.
fn client(at: At<'_>, options: &str) -> String {
    let server = match at {
        At::Here(port) => {
            return format!(
                "as() {{ setpriv --reuid=postgres --regid=postgres --init-groups env PGHOST=/var/run/postgresql PGPORT={port} \\\n\
                 \x20 PGOPTIONS='{WITHOUT_LIMITS}{options}' \"$@\"; }}\n"
            );
        }
        At::There(server) => server,
    };
    // it goes with whoever needs it, whatever becomes of that
    let password = match server.password {
        None => String::new(),
        Some(password) => {
            format!(
                "trap 'rm -f {DIRECTORY}/password' EXIT\nbase64 -d >{DIRECTORY}/password {}export PGPASSFILE={DIRECTORY}/password\n",
                heredoc_base64(passfile(password).as_bytes())
            )
        }
    };
    format!(
        "{password}as() {{ env PGHOST={} PGPORT={} PGUSER={} PGCONNECT_TIMEOUT=120 PGAPPNAME=xnat-provision \\\n\
         \x20 PGOPTIONS='{WITHOUT_LIMITS} -c tcp_keepalives_idle=60{options}' \"$@\"; }}\n",
        sh(server.host),
        server.port,
        sh(server.user),
    )
}

/// Where this major version has its programs.
fn programs(major: u32) -> String {
    format!("/usr/lib/postgresql/{major}/bin")
}

/// What `--dbname` takes is more than a name when it looks like more.
fn named(database: &str) -> String {
    let escaped = database.replace('\\', "\\\\").replace('\'', "\\'");
    sh(&format!("dbname='{escaped}'"))
}

/// The whole database as others see it in this snapshot. Little compression: the disk is meant to be fast, and read soon.
pub fn dump((at, database): (At<'_>, &str), snapshot: &str, (major, jobs): (u32, usize)) -> String {
    let compress = if major >= 16 { "zstd:1" } else { "1" };
    format!(
        "{}{}mkdir {DIRECTORY}/dump
chown postgres:postgres {DIRECTORY}/dump
as {}/pg_dump --dbname={} --format=directory --jobs={jobs} --snapshot={} --compress={compress} --no-subscriptions --no-sync --file={DIRECTORY}/dump
rm -f {DIRECTORY}/password
chown -R postgres:postgres {DIRECTORY}/dump
",
        locked(),
        client(at, ""),
        programs(major),
        named(database),
        sh(snapshot),
    )
}

/// Into a database that is there and empty. Nobody else waits for it, so it waits for no replica; both settings are those
/// of its sessions only. One section after the other: all at once, `pg_restore` makes a trigger of a partitioned table while
/// the data of its parts still comes in, and the trigger fires.
pub fn restore((at, database): (At<'_>, &str), (major, jobs): (u32, usize)) -> String {
    format!(
        "{}{}for section in pre-data data post-data; do
  as {}/pg_restore --dbname={} --section=$section --jobs={jobs} --exit-on-error --no-tablespaces {DIRECTORY}/dump
done
",
        locked(),
        client(at, " -c synchronous_commit=local -c maintenance_work_mem=256MB"),
        programs(major),
        named(database),
    )
}

/// Statistics of every table. `vacuumdb` leaves out those that are divided: theirs are of all parts together, and nobody
/// else makes them either, since autovacuum does not look at such tables. Parts that are elsewhere are not asked for.
pub fn analyze((at, database): (At<'_>, &str), (major, jobs): (u32, usize)) -> String {
    format!(
        "{locked}{client}as {programs}/vacuumdb --dbname={database} --jobs={jobs} --analyze-only --quiet
printf '%s\\n' {divided} | as {programs}/psql --dbname={database} --no-psqlrc --quiet --set=ON_ERROR_STOP=1
",
        locked = locked(),
        client = client(at, ""),
        programs = programs(major),
        database = named(database),
        divided = sh(DIVIDED),
    )
}

const DIVIDED: &str = r"SET search_path TO pg_catalog;
SELECT format('ANALYZE %I.%I', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'p' AND NOT c.relispartition
   AND NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class f ON f.oid = t.relid WHERE f.relkind = 'f') ORDER BY 1
\gexec";

/// Which of the two servers has the source, and which the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the other server to this one.
    In,
    Out,
}

/// The other server's schema goes through a database of its own here, so that both are written down by the same server,
/// which writes the same thing in the same words. Says how many objects the source has, and which differ.
pub fn compare_schemas(
    (server, theirs, snapshot): (&Server<'_>, &str, Option<&str>),
    (scratch, ours): (&str, &str),
    (way, major, port): (Way, u32, u16),
) -> String {
    let snapshot = snapshot.map(|name| format!(" --snapshot={}", sh(name))).unwrap_or_default();
    let programs = programs(major);
    let (source, copy) = match way {
        Way::In => ("theirs", "ours"),
        Way::Out => ("ours", "theirs"),
    };
    format!(
        "{locked}rm -f {DIRECTORY}/schema
{there}as {programs}/pg_dump --dbname={theirs} --format=custom --compress=0 --schema-only --no-subscriptions{snapshot} --no-sync --file={DIRECTORY}/schema
rm -f {DIRECTORY}/password
chown postgres:postgres {DIRECTORY}/schema
{here}as {programs}/pg_restore --dbname={scratch} --exit-on-error --no-tablespaces {DIRECTORY}/schema
as {programs}/pg_dump --schema-only --no-tablespaces --dbname={scratch} >{DIRECTORY}/theirs.sql
as {programs}/pg_dump --schema-only --no-tablespaces --dbname={ours} >{DIRECTORY}/ours.sql
exec perl -e {compare} {DIRECTORY}/{source}.sql {DIRECTORY}/{copy}.sql
",
        locked = locked(),
        there = client(At::There(server), ""),
        theirs = named(theirs),
        here = client(At::Here(port), " -c synchronous_commit=local"),
        scratch = named(scratch),
        ours = named(ours),
        compare = sh(COMPARE),
    )
}

/// `pg_dump` heads every object with its name, type, schema and owner; in which order they come, and the settings between
/// them, may differ.
const COMPARE: &str = r#"
use strict;
sub objects {
    my ($path) = @_;
    open(my $in, '<', $path) or die "$path: $!\n";
    my (%found, $name);
    while (my $line = <$in>) {
        next if $line =~ /^\\(un)?restrict /;
        next if $line =~ /^SET default_(tablespace|table_access_method|with_oids) /;
        if ($line =~ /^-- Name: (.*)$/) { $name = $1; $name .= '.' while exists $found{$name}; next }
        next if $line =~ /^(--)?\s*$/ || $line =~ /^-- PostgreSQL database dump complete$/;
        # a policy's roles come in no fixed order
        $line =~ s/ TO (.*?)(?= USING \(| WITH CHECK \(|;$)/" TO " . join(", ", sort split(", ", $1))/e if $line =~ /^CREATE POLICY /;
        $found{$name} .= $line if defined $name;
    }
    return %found;
}
my %source = objects($ARGV[0]);
my %target = objects($ARGV[1]);
printf "objects %d\n", scalar keys %source;
for my $name (sort keys %source) {
    print "missing $name\n" if !exists $target{$name};
    print "other $name\n" if exists $target{$name} && $target{$name} ne $source{$name};
}
for my $name (sort keys %target) { print "more $name\n" if !exists $source{$name} }
"#;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_password_is_in_a_file_and_odd_characters_survive_it() {
        let password = Secret::new("a:b\\c'd");
        let server = Server { host: "10.0.0.5", port: 5432, user: "post gres", password: Some(&password) };
        let text = dump((At::There(&server), "x'y"), "0001-1", (17, 4));
        assert!(!text.contains("a:b") && text.contains("PGUSER='post gres'"), "{text}");
        assert!(text.contains(&sh(r"dbname='x\'y'")), "{text}");
    }

    #[test]
    fn what_the_leaders_server_connects_with_has_no_password_in_it() {
        let password = Secret::new("hush");
        let server = Server { host: "10.0.0.5", port: 5432, user: "o'brien", password: Some(&password) };
        let text = conninfo(&server, "x");
        assert!(text.starts_with(r"host='10.0.0.5' port=5432 user='o\'brien' dbname='x' passfile=/"), "{text}");
        assert!(!text.contains("hush") && !let_in(&server).contains("hush"));
        assert!(!conninfo(&Server { password: None, ..server }, "x").contains("passfile"));
    }

    #[test]
    fn objects_are_compared_by_name_and_in_any_order() {
        let directory = tempfile::tempdir().expect("a directory");
        let block = |name: &str, text: &str| format!("--\n-- Name: {name}\n--\n\n{text}\n\n\n");
        let write = |name: &str, blocks: &[String]| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("\\restrict {name}\nSET x = 1;\n{}\\unrestrict {name}\n", blocks.concat()))
                .expect("written");
            path
        };
        let source =
            write("a", &[block("t; Type: TABLE", "CREATE t"), block("u; Type: TABLE", "CREATE u"), block("v", "1")]);
        let target =
            write("b", &[block("u; Type: TABLE", "CREATE u2"), block("t; Type: TABLE", "CREATE t"), block("w", "1")]);
        let output =
            Command::new("perl").arg("-e").arg(COMPARE).args([&source, &target]).output().expect("perl is everywhere");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, "objects 3\nother u; Type: TABLE\nmissing v\nmore w\n");
    }
}
