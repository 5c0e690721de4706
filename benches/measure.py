"""Running programs and keeping what it cost, as rows of a table with their spread."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field


class Failed(Exception):
    """A program did not do what is being measured: its figure would mean nothing."""


@dataclass
class Ran:
    seconds: float
    cpu: float  # its own and that of what it started, in seconds
    memory_mib: float  # the most it had at once
    stdout: str


def run(command, env=None, cwd=None):
    """Run one program to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=cwd)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        stdout, stderr = (stream.read().decode(errors="replace") for stream in (out, err))
    if child.returncode != 0:
        raise Failed(f"{' '.join(command)}\nended with {child.returncode}\n{stdout[-2000:]}\n{stderr[-4000:]}")
    return Ran(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, stdout)


def together(commands):
    """Run programs side by side; how long until the last of them is done."""
    began = time.monotonic()
    children = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for command in commands
    ]
    said = [child.communicate()[1].decode(errors="replace") for child in children]
    seconds = time.monotonic() - began
    for command, child, text in zip(commands, children, said):
        if child.returncode != 0:
            raise Failed(f"{' '.join(command)}\nended with {child.returncode}\n{text[-4000:]}")
    return seconds


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
    """A figure made of others, and what it is meant to be: at most `limit`, or at least, or nothing is claimed."""

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
