"""Running programs and keeping what it cost, as rows of a table with their spread."""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# seconds between two looks at the processors, and the part of their time that makes a machine idle
LOOK, IDLE = 5, 0.9


class Failed(Exception):
    """A program did not do what is being measured: its figure would mean nothing."""


@dataclass
class Ran:
    seconds: float
    cpu: float  # its own and that of what it started, in seconds
    memory: float  # the most it had at once, in MB
    stdout: str


def run(command, env=None):
    """Run one program to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile("r") as used:
        # A child's peak of memory begins with that of the process it was forked from, and `time` is a small one.
        timed = ["time", "--quiet", "--format=%U %S %M", f"--output={used.name}", *command]
        began = time.monotonic()
        child = start(timed, out, err, env)
        wait_for([child])
        seconds = time.monotonic() - began
        out.seek(0), err.seek(0)
        stdout, stderr = (stream.read().decode(errors="replace") for stream in (out, err))
        refuse_failure(command, child, f"{stdout[-2000:]}\n{stderr}")
        user, system, kibibytes = used.read().split()
    return Ran(seconds, float(user) + float(system), int(kibibytes) * 1024 / 1e6, stdout)


def wait_until_idle(seconds):
    """What hosts do by themselves when they have booted is over: for some seconds most of the processors' time is nobody's."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = processors()
        time.sleep(LOOK)
        idle, all = (now - then for now, then in zip(processors(), before))
        if idle >= IDLE * all:
            return
    print("    the machine does not become idle", file=sys.stderr, flush=True)


def processors():
    """Ticks that were nobody's, and all."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def together(commands):
    """Run programs side by side; how long until the last of them is done."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        children = [start(command, said, said) for command in commands]
        wait_for(children)
        seconds = time.monotonic() - began
        said.seek(0)
        text = said.read().decode(errors="replace")
    for command, child in zip(commands, children):
        refuse_failure(command, child, text)
    return seconds


def start(command, out, err, env=None):
    # in a session of its own, so that what it starts can be ended with it
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, start_new_session=True)


def wait_for(children):
    """When that is cut off, they end."""
    try:
        for child in children:
            child.wait()
    except BaseException:
        for child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
            child.wait()
        raise


def refuse_failure(command, child, said):
    if child.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\nended with {child.returncode}\n{said[-4000:]}")


@dataclass
class Row:
    """One thing that was measured several times."""

    what: str
    unit: str
    samples: list = field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.samples)

    def add(self, value):
        print(f"    {self.what}: {value:.2f} {self.unit}", file=sys.stderr, flush=True)
        self.samples.append(value)


@dataclass
class Claim:
    """A figure made of others, and what it is meant to be: at most, or at least; or nothing is claimed."""

    what: str
    value: float
    unit: str = "×"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def goal(self):
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return f"≥ {self.at_least:g} {self.unit}" if self.at_least is not None else ""

    @property
    def met(self):
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None


@dataclass
class Result:
    """What a benchmark has found."""

    name: str
    title: str
    about: str
    rows: list = field(default_factory=list)
    claims: list = field(default_factory=list)
