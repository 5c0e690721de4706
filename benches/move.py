"""A database moved in by dump, beside `pg_dump -Fd -j` and `pg_restore -j` by hand: same programs, same jobs, same hosts."""

import json
import os
import shutil
import time

from lab import ROOT, Lab, tool
from measure import Claim, Result, Row

ROUNDS = 3
JOBS = 2
# of each of the six big tables; a million make about half a gigabyte
ROWS = int(os.environ.get("ROWS", 1_000_000))
FEW_ROWS = 10_000
PASSWORD = "of-the-source"
FIXTURE = "tests/fixtures/migrate/xnat-like.sql"
COPYING = ["Dump the source", "Restore on the leader"]

SOURCE = f"""set -e
cd / && pg_createcluster 15 main
echo "listen_addresses = '*'" >> /etc/postgresql/15/main/postgresql.conf
echo 'host all all 0.0.0.0/0 scram-sha-256' >> /etc/postgresql/15/main/pg_hba.conf
pg_ctlcluster 15 main start
runuser -u postgres -- psql -qX -c "ALTER ROLE postgres PASSWORD '{PASSWORD}'" -c "CREATE ROLE xnat LOGIN PASSWORD '{PASSWORD}'"
"""
DROP_ROLES = """runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 <<'END'
DROP ROLE IF EXISTS archivist, auditors, readers, "Odd Role", "ro.Bot""s";
END"""
FILL = f"""set -e
cd / && runuser -u postgres -- dropdb --if-exists xnat
{DROP_ROLES}
runuser -u postgres -- createdb -O xnat -T template0 -E UTF8 -l C.UTF-8 xnat
runuser -u postgres -- psql -qX -v tables=40 -v rows={{rows}} -d xnat -f /srv/xnat-like.sql
runuser -u postgres -- psql -qX -d xnat -c 'VACUUM ANALYZE' -c CHECKPOINT
"""
# Roles as the tool makes them: those that are not there yet, and gone again afterwards.
BEFORE = """set -e
cd / && runuser -u postgres -- createdb -T template0 by_hand
export PGPASSWORD={password}
runuser -u postgres -- pg_dumpall -h {address} -U postgres --roles-only --no-role-passwords |
  grep -v 'ROLE \\(postgres\\|xnat\\)[ ;]' | runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 -d postgres
"""
DUMP = "cd / && PGPASSWORD={password} runuser -u postgres -- pg_dump -h {address} -U postgres -Fd -j {jobs} {dump} -f /var/lib/postgresql/by-hand xnat"
RESTORE = "cd / && PGOPTIONS='{restore}' runuser -u postgres -- pg_restore -j {jobs} -d by_hand --exit-on-error /var/lib/postgresql/by-hand"
AFTER = f"""set -e
cd / && rm -rf /var/lib/postgresql/by-hand
runuser -u postgres -- dropdb by_hand
{DROP_ROLES}
"""
# Whoever types it, and whoever knows what it costs to leave things at their defaults: the tool's own options.
PLAIN, TUNED = ("", ""), ("-Z 1 --no-sync", "-c maintenance_work_mem=256MB -c synchronous_commit=local")


def bench():
    by_hand, tuned = Row("`pg_dump -Fd`, `pg_restore` by hand", "s"), Row("the same with the options of `migrate`", "s")
    ours, comparing = Row("`migrate rehearse`: dump and restore", "s"), Row("`migrate rehearse`: comparing every row", "s")
    few, many = Row(f"controller, {FEW_ROWS} rows a table", "MB"), Row(f"controller, {ROWS} rows a table", "MB")
    with Lab("source", "--hosts", "1", "--suite", "bookworm", "--packages", "postgresql-15") as source:
        prepare(source)
        with Lab("move", "--hosts", "1", "--suite", "bookworm") as cluster:
            cluster.append(
                f'[migrate.source]\naddress = "{source.addresses["db1"]}"\nreach = "tcp"\npassword = {{ env = "SOURCE_PASSWORD" }}'
            )
            cluster.apply()
            source.shell("db1", FILL.format(rows=FEW_ROWS))
            for _ in range(ROUNDS):
                few.add(rehearse(cluster)[0].memory)
            source.shell("db1", FILL.format(rows=ROWS))
            for _ in range(ROUNDS):
                by_hand.add(dump_and_restore(source, cluster, PLAIN))
                ran, record = rehearse(cluster)
                seconds = {phase["name"]: phase["millis"] / 1000 for phase in record["phases"]}
                ours.add(sum(seconds[name] for name in COPYING))
                comparing.add(seconds["Compare"])
                many.add(ran.memory)
                tuned.add(dump_and_restore(source, cluster, TUNED))
    return Result(
        "move",
        f"A database moved in: {record['bytes'] / 1e6:.0f} MB, {JOBS} jobs",
        "One PostgreSQL 15 to another, over TCP. Only dumping and restoring are compared: roles, statistics, settings and comparing "
        "rows are not in either figure. `migrate` compresses less, does not wait until the dump is on the disk, and gives indexes "
        "more memory; the second figure is by hand with the same options.",
        [by_hand, tuned, ours, comparing, few, many],
        [
            Claim("dump and restore, to those by hand", ours.median / by_hand.median, at_most=1),
            Claim("dump and restore, to those with the same options", ours.median / tuned.median),
            Claim("comparing, to dump and restore", comparing.median / ours.median, at_most=0.2),
            Claim("the controller's memory, large to small database", many.median / few.median, at_most=1.2),
        ],
    )


def prepare(source):
    source.shell("db1", SOURCE)
    shutil.copy(ROOT / FIXTURE, source.root("db1") / "srv/xnat-like.sql")


def rehearse(cluster):
    environment = os.environ | {"SOURCE_PASSWORD": PASSWORD}
    ran = tool("migrate", "rehearse", "--yes", "--json", "--jobs", str(JOBS), str(cluster.inventory), env=environment)
    return ran, json.loads(ran.stdout)


def dump_and_restore(source, cluster, options):
    dump, restore = options
    said = {"address": source.addresses["db1"], "password": PASSWORD, "jobs": JOBS, "dump": dump, "restore": restore}
    cluster.shell("db1", BEFORE.format(**said))
    began = time.monotonic()
    cluster.shell("db1", f"{DUMP.format(**said)} && {RESTORE.format(**said)}")
    seconds = time.monotonic() - began
    cluster.shell("db1", AFTER)
    return seconds
