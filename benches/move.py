"""A database moved in by dump, beside `pg_dump -Fd -j` and `pg_restore -j` by hand: same programs, same jobs, same hosts."""

import json
import os
import shutil
import time

from lab import ROOT, Lab, tool
from measure import Claim, Result, Row, run

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
FILL = """set -e
cd / && runuser -u postgres -- dropdb --if-exists xnat
for role in archivist auditors readers '"Odd Role"' '"ro.Bot""s"'; do runuser -u postgres -- psql -qX -c "DROP ROLE IF EXISTS $role"; done
runuser -u postgres -- createdb -O xnat -T template0 -E UTF8 -l C.UTF-8 xnat
runuser -u postgres -- psql -qX -v tables=40 -v rows={rows} -d xnat -f /srv/xnat-like.sql
runuser -u postgres -- psql -qX -d xnat -c 'VACUUM ANALYZE' -c CHECKPOINT
"""
BEFORE = """cd / && runuser -u postgres -- sh -c 'export PGPASSWORD={password}
rm -rf /var/lib/postgresql/by-hand; dropdb --if-exists by_hand; createdb -T template0 by_hand
pg_dumpall -h {address} -U postgres --roles-only | psql -qX -d postgres' >/dev/null 2>&1"""
DUMP = "cd / && PGPASSWORD={password} runuser -u postgres -- pg_dump -h {address} -U postgres -Fd -j {jobs} -f /var/lib/postgresql/by-hand xnat"
RESTORE = "cd / && runuser -u postgres -- pg_restore -j {jobs} -d by_hand --exit-on-error /var/lib/postgresql/by-hand"
AFTER = "cd / && runuser -u postgres -- sh -c 'rm -rf /var/lib/postgresql/by-hand; dropdb by_hand'"


def bench():
    ours, theirs = Row("`migrate rehearse`: dump and restore", "s"), Row("`pg_dump`, then `pg_restore`, by hand", "s")
    comparing = Row("`migrate rehearse`: comparing every row", "s")
    few, many = Row(f"controller, {FEW_ROWS} rows a table", "MiB"), Row(f"controller, {ROWS} rows a table", "MiB")
    with Lab("source", "--hosts", "1", "--suite", "bookworm", "--packages", "postgresql-15") as source:
        source.shell("db1", SOURCE)
        shutil.copy(ROOT / FIXTURE, source.root("db1") / "srv/xnat-like.sql")
        with Lab("move", "--hosts", "1", "--suite", "bookworm") as cluster:
            cluster.append(
                f'[migrate.source]\naddress = "{source.addresses["db1"]}"\nreach = "tcp"\npassword = {{ env = "SOURCE_PASSWORD" }}'
            )
            os.environ["SOURCE_PASSWORD"] = PASSWORD
            cluster.apply()
            source.shell("db1", FILL.format(rows=FEW_ROWS))
            few.add(rehearse(cluster)[0].memory_mib)
            source.shell("db1", FILL.format(rows=ROWS))
            for _ in range(ROUNDS):
                theirs.add(by_hand(source, cluster))
                ran, record = rehearse(cluster)
                seconds = {phase["name"]: phase["millis"] / 1000 for phase in record["phases"]}
                ours.add(sum(seconds[name] for name in COPYING))
                comparing.add(seconds["Compare"])
                many.add(ran.memory_mib)
    return Result(
        "move",
        f"A database moved in: {record['bytes'] / 2**20:.0f} MiB, {JOBS} jobs",
        "One PostgreSQL 15 to another, over TCP. By hand there are no roles to be made, nothing is analysed and nothing is compared.",
        [theirs, ours, comparing, few, many],
        [
            Claim("dump and restore, to those by hand", ours.median / theirs.median, at_most=1),
            Claim("comparing, to dump and restore", comparing.median / ours.median, at_most=0.2),
            Claim("the controller's memory, large to small database", many.median / few.median, at_most=1.2),
        ],
    )


def rehearse(cluster):
    ran = tool("migrate", "rehearse", "--yes", "--json", "--jobs", str(JOBS), str(cluster.inventory))
    return ran, json.loads(ran.stdout)


def by_hand(source, cluster):
    said = {"address": source.addresses["db1"], "password": PASSWORD, "jobs": JOBS}
    run(cluster.ssh("db1", BEFORE.format(**said) + "; true"))
    began = time.monotonic()
    run(cluster.ssh("db1", DUMP.format(**said)))
    run(cluster.ssh("db1", RESTORE.format(**said)))
    seconds = time.monotonic() - began
    run(cluster.ssh("db1", AFTER))
    return seconds
