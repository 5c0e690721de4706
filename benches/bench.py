"""Measure what the program claims, on lab hosts, beside the least it could cost and beside others: `make bench`.

    bench.py [NAME…]

Everything is measured several times, in turn with what it is compared with. The last lines say what failed and which goals
were missed, and so does the exit status.
"""

import datetime
import os
import platform
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
    machine = describe()
    results, wrong = [], []
    for name in names or BENCHES:
        print(name, file=sys.stderr, flush=True)
        try:
            results.append(BENCHES[name]())
        except Failed as failed:
            # it has no figures; those of the others are good
            wrong.append(f"{name}: {failed}")
    print(report.write(results, machine, ROOT / "benches/results").read_text())
    wrong += [
        f"{result.name}: {claim.what} is {report.figure(claim.value)}, and not {claim.goal}"
        for result in results
        for claim in result.claims
        if claim.met is False
    ]
    print("\n".join(wrong) or "all goals are met")
    return 1 if wrong else 0


def describe():
    model = next(line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    memory = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True, text=True, check=True)
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True)
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "program": version.stdout.strip(),
        "processors": f"{os.cpu_count()} × {model}, shared by the controller and all hosts",
        "memory": f"{memory / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
