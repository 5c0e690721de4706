"""A run that finds nothing to do on 10, 50 and 200 hosts: what it costs the controller."""

import collections

from lab import Lab
from measure import Claim, Failed, Result, Row, together

ROUNDS = 5
HOSTS = [10, 50, 200]
# Hosts have what they need from the beginning, and 200 times HAProxy does not ask three Patronis twice a second.
PACKAGES = "etcd-server,etcd-client,postgresql-17,patroni,python3-etcd,haproxy"
SELDOM = '[haproxy.check]\ninter = "60s"\nfastinter = "60s"\ndowninter = "5s"'


def bench():
    rows, claims, medians = [], [], {}
    for hosts in HOSTS:
        floor = Row(f"{hosts} hosts: `ssh HOST true`, all at once", "s")
        seconds, cpu, memory = (
            Row(f"{hosts} hosts: `apply`{what}", unit) for what, unit in ((", nothing to do", "s"), (", processor", "s"), (", memory", "MiB"))
        )
        with Lab("scale", "--hosts", str(hosts), "--packages", PACKAGES) as lab:
            lab.append(SELDOM)
            lab.apply()
            for _ in range(ROUNDS):
                floor.add(together([lab.ssh(host, "true") for host in lab.addresses]))
                ran, events = lab.apply_without_changes()
                one_connection_each(events, lab)
                seconds.add(ran.seconds), cpu.add(ran.cpu), memory.add(ran.memory_mib)
        rows += [floor, seconds, cpu, memory]
        medians[hosts] = seconds.median
        claims.append(Claim(f"{hosts} hosts: milliseconds a host", 1000 * seconds.median / hosts, "ms"))
        claims.append(Claim(f"{hosts} hosts: to the floor", seconds.median / floor.median))
    middle, most = HOSTS[-2:]
    claims.append(Claim(f"time for {most} hosts to that for {middle}", medians[most] / medians[middle], at_most=4))
    claims.append(Claim(f"memory with {most} hosts", rows[-1].median, "MiB", at_most=100))
    about = "All hosts but three have HAProxy. They share two processors with the controller, so much of the time is theirs."
    return Result("scale", "Nothing to do, more and more hosts", about, rows, claims)


def one_connection_each(events, lab):
    """Whatever the number of hosts: one connection for each, and a few round trips."""
    count = collections.Counter(event["host"] for event in events if event["kind"] == "connected")
    trips = [event["round_trips"] for event in events if event["kind"] == "disconnected"]
    if set(count.values()) != {1} or len(count) != len(lab.addresses) or max(trips) > 3:
        raise Failed(f"connections: {count}; round trips: {trips}")
