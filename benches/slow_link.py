"""A network namespace for the controller, behind a link that is as slow and as lossy as one says.

What `tc netem` does, but in kernels without it, too: two TUN devices, and a process between them that hands every packet
on when its time has come. Only what goes between the controller and the hosts is slow; the hosts among each other are not,
as with a cluster at one site that is looked after from elsewhere. It is for the few packets of a run, not for bulk.
"""

import collections
import fcntl
import multiprocessing
import os
import random
import select
import struct
import subprocess
import time

NAMESPACE = "bench-far"
NEAR, FAR = "benchnear", "benchfar"
# for measuring networks (RFC 2544): no lab and no site has them
NEAR_ADDRESS, FAR_ADDRESS = "198.18.0.1", "198.18.0.2"
SET_INTERFACE, TUN_WITHOUT_HEADER = 0x400454CA, 0x1001
LONGEST_PACKET = 65536


class SlowLink:
    """`with SlowLink(0.1, 0.01)`: 100 ms are added to a round trip, and 1 % of all packets are lost."""

    def __init__(self, round_trip, loss=0.0):
        self.delay, self.loss = round_trip / 2, loss

    def __enter__(self):
        take_down()
        try:
            ip("netns", "add", NAMESPACE)
            near, far = open_tun(NEAR), open_tun(FAR)
            ip("link", "set", FAR, "netns", NAMESPACE)
            connect(NEAR, NEAR_ADDRESS, FAR_ADDRESS)
            connect(FAR, FAR_ADDRESS, NEAR_ADDRESS, inside=["netns", "exec", NAMESPACE, "ip"])
            ip("netns", "exec", NAMESPACE, "ip", "route", "add", "default", "via", NEAR_ADDRESS)
            # with the devices open, which are plain numbers
            self.carrier = multiprocessing.get_context("fork").Process(target=carry, args=(near, far, self.delay, self.loss), daemon=True)
            self.carrier.start()
            os.close(near), os.close(far)
        except BaseException:
            take_down()
            raise
        return self

    def __exit__(self, *_):
        self.carrier.terminate()
        self.carrier.join()
        take_down()


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def connect(device, address, peer, inside=()):
    ip(*inside, "address", "add", address, "peer", peer, "dev", device)
    ip(*inside, "link", "set", device, "up")


def take_down():
    # the devices are gone with the process that has them open, and with the namespace
    subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True)


def open_tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, SET_INTERFACE, struct.pack("16sH22x", name.encode(), TUN_WITHOUT_HEADER))
    return device


def carry(one, other, delay, loss):
    """Every packet goes to the other side when its time has come. The delay is the same for all, so each queue is in order."""
    queues = {one: collections.deque(), other: collections.deque()}
    to = {one: other, other: one}
    while True:
        due = min((queue[0][0] for queue in queues.values() if queue), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        for ready in select.select(list(to), [], [], wait)[0]:
            packet = os.read(ready, LONGEST_PACKET)
            if random.random() >= loss:
                queues[to[ready]].append((time.monotonic() + delay, packet))
        for device, queue in queues.items():
            while queue and queue[0][0] <= time.monotonic():
                os.write(device, queue.popleft()[1])
