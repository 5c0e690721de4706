"""A run that finds nothing to do, from farther and farther away."""

import sys

from lab import Lab
from measure import Claim, Failed, Result, Row, run
from slow_link import NAMESPACE, SlowLink

ROUNDS = 7
MILLISECONDS = [0, 20, 100]
LOSS = 0.01
# a TCP connection takes one round trip
CONNECT = """import socket, sys, time
for _ in range(5):
    began = time.monotonic()
    socket.create_connection((sys.argv[1], 22), timeout=10).close()
    print(time.monotonic() - began)
"""


def bench():
    rows = {}
    with Lab("latency", "--hosts", "4") as lab:
        lab.apply()
        for loss in (0.0, LOSS):
            for delay in MILLISECONDS:
                row = rows[delay, loss] = Row(f"{delay} ms added to a round trip" + (", 1 % lost" if loss else ""), "s")
                with SlowLink(delay / 1000, loss):
                    is_slow(lab, delay)
                    for _ in range(ROUNDS):
                        row.add(lab.apply_without_changes(inside=NAMESPACE)[0].seconds)
                    wait_for_goodbyes(lab)
    longest = MILLISECONDS[-1]
    whole = rows[longest, 0.0].median
    return Result(
        "latency",
        "Nothing to do, 4 hosts far away",
        "The delay is between the controller and the hosts. Loss is of packets, in both directions.",
        list(rows.values()),
        [
            Claim(f"{longest} ms: what they add", (whole - rows[0, 0.0].median) / (longest / 1000), "round trips", at_most=12),
            Claim(f"{longest} ms: the whole run, its work on the hosts included", whole / (longest / 1000), "round trips"),
        ],
    )


def wait_for_goodbyes(lab):
    """The link stays until the hosts have heard of the end of the last run, and given its locks back."""
    for host in lab.addresses:
        lab.shell(host, "flock --wait 10 /run/xnat-provision/lock true")


def is_slow(lab, delay):
    """The link does what it is meant to: otherwise all figures would look fine."""
    address = next(iter(lab.addresses.values()))
    said = run(["ip", "netns", "exec", NAMESPACE, sys.executable, "-c", CONNECT, address]).stdout
    milliseconds = 1000 * min(map(float, said.split()))
    if not delay <= milliseconds <= delay + 20:
        raise Failed(f"a connection over a link with {delay} ms added took {milliseconds:.1f} ms")
