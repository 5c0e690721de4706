"""Measure what the program claims, on lab hosts, beside the least it could cost and beside others: `make bench`.

    bench.py [NAME…]

Everything is measured several times. The last lines say what failed and which goals were missed, and so does the exit status.
"""

import datetime
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import bundle
import first
import latency
import move
import noop
import report
import scale
from lab import BINARY, ROOT
from measure import Failed

BENCHES = {module.__name__: module.bench for module in (noop, first, scale, latency, bundle, move)}


def main(names):
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    # whatever ends it, hosts are taken down
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    machine = describe() | {"all": not names}
    if machine["commit"].removesuffix("-changed") not in machine["program"]:
        sys.exit(f"{BINARY} is {machine['program']}, and not of {machine['commit']}: its figures would be called after another one")
    results, wrong = [], []
    try:
        for name in names or BENCHES:
            print(name, file=sys.stderr, flush=True)
            measure(name, results, wrong)
    finally:
        # what was measured before it was cut off is good
        if results:
            print(report.write(results, wrong, machine, ROOT / "benches/results").read_text())
        print("\n".join(wrong) or "all goals are met")
    return 1 if wrong else 0


def measure(name, results, wrong):
    try:
        result = BENCHES[name]()
    except Failed as failed:
        # it has no figures; those of the others are good
        wrong.append(f"{name}: failed")
        # with paths of this machine, which are not for the page
        print(f"{name}: {failed}", file=sys.stderr, flush=True)
        return
    results.append(result)
    missed = [claim for claim in result.claims if claim.met is False]
    wrong += [f"{name}: {claim.what} is {claim.value:.4g}, and not {claim.goal}" for claim in missed]


def describe():
    git = ["git", "-C", str(ROOT)]
    asked = lambda command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    changed = "-changed" if asked([*git, "status", "--porcelain", "--untracked-files=no"]) else ""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": asked([*git, "rev-parse", "--short=12", "HEAD"]) + changed,
        "program": asked([BINARY, "--version"]),
        "processors": f"{os.cpu_count()} × {model()}, shared by the controller and all hosts",
        "memory": f"{memory / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
    }


def model():
    """The processor's name, which not every kind of machine tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
