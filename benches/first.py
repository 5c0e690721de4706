"""From bare hosts to a cluster, with all packages in the cache, beside the least that installing the same takes."""

import json
import subprocess

from lab import BINARY, Lab
from measure import Claim, Failed, Result, Row, together
from playbook import Playbook

ROUNDS = 3
ROUNDS_OF_ANSIBLE = 2
# the exit status of `plan` on bare hosts
CHANGES_PENDING = 5

# What Debian would do by itself costs time, and is thrown away: no service is started, and no cluster made.
INSTALL = """set -e
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -qq --no-install-recommends {packages}
"""
# As fast as it can be: nothing is written through.
INITDB = """set -e
cd / && bin=$(ls -d /usr/lib/postgresql/*/bin)
runuser -u postgres -- $bin/initdb -D /var/lib/postgresql/floor -E UTF8 --locale C.UTF-8 -A trust -N
cat >> /var/lib/postgresql/floor/pg_hba.conf <<'END'
host replication postgres 0.0.0.0/0 trust
END
runuser -u postgres -- $bin/pg_ctl -D /var/lib/postgresql/floor -w -l /var/lib/postgresql/floor.log -o "-c listen_addresses='*' -c wal_keep_size=256MB" start
"""
BASEBACKUP = """set -e
cd / && bin=$(ls -d /usr/lib/postgresql/*/bin)
runuser -u postgres -- $bin/pg_basebackup -h {leader} -U postgres -D /var/lib/postgresql/floor -R -c fast -N
runuser -u postgres -- $bin/pg_ctl -D /var/lib/postgresql/floor -w -l /var/lib/postgresql/floor.log start
"""


def packages(lab):
    """Which packages `apply` would install, by host."""
    command = [BINARY, "plan", "--json", str(lab.inventory)]
    planned = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if planned.returncode != CHANGES_PENDING:
        raise Failed(planned.stderr)
    wanted = {host: [] for host in lab.addresses}
    for stage in json.loads(planned.stdout)["stages"]:
        for host, changes in stage["hosts"].items():
            named = [change["resource"].split(" ", 1) for change in changes]
            wanted[host] += [name for kind, name in named if kind == "package"]
    if not any(wanted.values()):
        raise Failed("the plan for bare hosts has no packages")
    return wanted


def floor(lab, wanted):
    """Plain ssh, all hosts at once: install, one initdb, base backups of it at once."""
    leader, *others = lab.of("postgres")
    seconds = together([lab.ssh(host, INSTALL.format(packages=" ".join(wanted[host]))) for host in wanted])
    seconds += together([lab.ssh(leader, INITDB)])
    backup = BASEBACKUP.format(leader=lab.addresses[leader])
    return seconds + together([lab.ssh(host, backup) for host in others])


def bench():
    least, ours = Row("floor: install, initdb, base backups", "s"), Row("`apply` on bare hosts", "s")
    python, theirs = Row("Python for Ansible on bare hosts", "s"), Row("Ansible, after that", "s")
    wanted = None
    for round in range(ROUNDS + 1):
        with Lab("floor", "--hosts", "4") as lab:
            wanted = wanted or packages(lab)
            seconds = floor(lab, wanted)
        # the first one of each fills the caches
        if round:
            least.add(seconds)
        with Lab("first", "--hosts", "4") as lab:
            seconds = lab.apply().seconds
        if round:
            ours.add(seconds)
    # what `apply` does not need has to be in the cache, too
    with Lab("ansible", "--hosts", "4") as lab, Playbook(lab) as play:
        play.bootstrap()
    for _ in range(ROUNDS_OF_ANSIBLE):
        with Lab("ansible", "--hosts", "4") as lab, Playbook(lab) as play:
            python.add(play.bootstrap())
            theirs.add(play.deploy())
    return Result(
        "first",
        "From bare hosts to a cluster, 4 hosts",
        "All packages are in the hosts' cache. The floor installs the same packages and makes three copies of an empty database; "
        "there is no cluster then, nothing is configured, and nothing is checked.",
        [least, ours, python, theirs],
        [
            Claim("`apply` to the floor", ours.median / least.median, at_most=1.2),
            Claim("Ansible (without its Python) to `apply`", theirs.median / ours.median),
        ],
    )
