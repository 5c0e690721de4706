"""A run that finds nothing to do on 10, 50 and 200 hosts: what it costs the controller."""

import collections
import sys

from lab import Lab
from measure import Claim, Failed, Result, Row, together, wait_until_idle

ROUNDS = 5
# in seconds: two checks of every HAProxy, and some time for their answers; hosts that have just booted have things to do
HEALTHY_WITHIN = 300
HOSTS = [10, 50, 200]
MOST_TRIPS = 6
# Hosts have what they need from the beginning, and 200 times HAProxy does not ask three Patronis twice a second. That goes
# for servers that are down as well, and half of all always are: a replica is one that takes no writes.
PACKAGES = "etcd-server,etcd-client,postgresql-17,patroni,python3-etcd,haproxy"
SELDOM = '[haproxy.check]\ninter = "60s"\nfastinter = "60s"\ndowninter = "60s"'


def bench():
    rows, claims = [], []
    costs = {hosts: measure(hosts) for hosts in HOSTS}
    for hosts, (floor, seconds, *others) in costs.items():
        rows += [floor, seconds, *others]
        claims.append(Claim(f"{hosts} hosts: to the floor", seconds.median / floor.median))
        claims.append(Claim(f"{hosts} hosts: for each of them", 1000 * seconds.median / hosts, "ms"))
    (_, middle, *_), (_, most, _, memory, _) = (costs[hosts] for hosts in HOSTS[-2:])
    claims.append(Claim(f"time for {HOSTS[-1]} hosts to that for {HOSTS[-2]}", most.median / middle.median, at_most=4))
    claims.append(Claim(f"memory with {HOSTS[-1]} hosts", memory.median, "MB", at_most=100))
    about = (
        "All hosts but three have HAProxy, which checks its servers once a minute here, and not every second. The hosts share the "
        "processors of this machine with the controller, so most of the time is that of their SSH servers; and the floor has a "
        "program for each host, where `apply` is one."
    )
    return Result("scale", "Nothing to do, more and more hosts", about, rows, claims)


def measure(hosts):
    floor = Row(f"{hosts} hosts: `ssh HOST true`, all at once", "s")
    seconds, cpu, memory, connections = (
        Row(f"{hosts} hosts: `apply`{what}", unit)
        for what, unit in ((", nothing to do", "s"), (", processor", "s"), (", memory", "MB"), (", SSH connections", "in all"))
    )
    with Lab("scale", "--hosts", str(hosts), "--packages", PACKAGES) as lab:
        lab.append(SELDOM)
        make(lab)
        wait_until_idle(HEALTHY_WITHIN)
        for _ in range(ROUNDS):
            floor.add(together([lab.ssh(host, "true") for host in lab.addresses]))
            ran, events = undisturbed(lab)
            seconds.add(ran.seconds), cpu.add(ran.cpu), memory.add(ran.memory)
            connections.add(one_connection_each(events, lab))
    return floor, seconds, cpu, memory, connections


def make(lab):
    """The cluster, with nothing left to be done. What hundreds of HAProxy see in their first minutes is not what they see
    later, on two processors: who misses a check waits for the next one, and the first run may not."""
    # before the first run, hosts are looked at so closely that it cannot be done for all at once
    run = lambda: lab.apply("--parallel", "20")
    try:
        run()
    except Failed as failed:
        print(f"    once more, after: {failed}", file=sys.stderr, flush=True)
        lab.wait_until_healthy(HEALTHY_WITHIN)
        run()
    lab.wait_until_healthy(HEALTHY_WITHIN)


def undisturbed(lab):
    """A run without changes. One during which a HAProxy missed a check says so by its status, and is not counted."""
    try:
        return lab.apply_without_changes()
    except Failed as failed:
        print(f"    once more, after: {failed}", file=sys.stderr, flush=True)
        lab.wait_until_healthy(HEALTHY_WITHIN)
        return lab.apply_without_changes()


def one_connection_each(events, lab):
    """How many connections there were. Whatever the number of hosts: one for each, and a few round trips. (Two waves and
    the lock's; where hundreds wait for two processors, what was begun together comes to be asked one after the other.)"""
    count = collections.Counter(event["host"] for event in events if event["kind"] == "connected")
    trips = [event["round_trips"] for event in events if event["kind"] == "disconnected"]
    if set(count.values()) != {1} or len(count) != len(lab.addresses) or max(trips) > MOST_TRIPS:
        raise Failed(f"connections: {count}; round trips: {trips}")
    return sum(count.values())
