"""Packages from a bundle brought to bare hosts, beside `scp` of the same files to the same hosts."""

import json
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab import BINARY, Lab, tool
from measure import Claim, Failed, Result, Row, run, together

ROUNDS = 5
STAGE = "Bring packages"
CACHE = "var/cache/xnat-provision/bundle"


def bench():
    ours, theirs = Row("`apply --bundle`: the stage that brings packages", "s"), Row("`scp` of the same, all hosts at once", "s")
    with tempfile.TemporaryDirectory(prefix="bench-bundle-") as directory:
        bundle = Path(directory) / "site.bundle"
        for round in range(ROUNDS):
            with Lab("bundle", "--hosts", "4") as lab:
                if round == 0:
                    tool("bundle", "build", "--release", "trixie", "--inventory", str(lab.inventory), "-o", str(bundle))
                ours.add(bring(lab, bundle))
                brought = {host: take_away(lab, host, Path(directory)) for host in lab.addresses}
                theirs.add(together([scp(lab, host, source) for host, source in brought.items()]))
                mebibytes = sum(file.stat().st_size for source in brought.values() for file in source.iterdir()) / 2**20
    return Result(
        "bundle",
        f"A bundle to 4 bare hosts: {mebibytes:.0f} MiB in all",
        "What was sent is on disk when either ends. The stage also asks what is there already, sends the index, and checks every "
        "file. Where that is quicker, it has one host hand packages to the others; on one machine it is not.",
        [ours, theirs],
        [
            Claim("`apply --bundle` to `scp`", ours.median / theirs.median),
            Claim("`apply --bundle`", mebibytes / ours.median, "MiB/s"),
            Claim("`scp`", mebibytes / theirs.median, "MiB/s"),
        ],
    )


def bring(lab, bundle):
    """How long the stage took, in seconds. The run is ended after it: what comes then is of no interest here."""
    command = [BINARY, "apply", "--yes", "--json", "--bundle", str(bundle), str(lab.inventory)]
    said = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        try:
            for line in child.stdout:
                said.append(line)
                if (seconds := stage(line)) is not None:
                    return seconds
        finally:
            child.terminate()
    raise Failed(f"{' '.join(command)}\nended before packages were brought:\n{''.join(said[-20:])}")


def stage(line):
    """What the stage took, if the line is that of its good end."""
    event = json.loads(line) if line.startswith("{") else {}
    is_it = event.get("kind") == "stage_finished" and event.get("stage") == STAGE and event["outcome"] == "ok"
    return event["millis"] / 1000 if is_it else None


def take_away(lab, host, directory):
    """The files that were brought to a host, in a directory of this machine, and no longer there."""
    there, here = lab.root(host) / CACHE, directory / host
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    for file in there.rglob("*.deb"):
        shutil.move(file, here / file.name)
    if not any(here.iterdir()):
        raise Failed(f"nothing was brought to {host}")
    run(lab.ssh(host, f"rm -rf /{CACHE} && mkdir -p /var/tmp/scp"))
    return here


def scp(lab, host, source):
    """Copy, and see it on the disk, as the stage does."""
    files = [str(file) for file in sorted(source.iterdir())]
    copy = ["scp", "-q", *lab.options_of_ssh(), *files, f"root@{lab.addresses[host]}:/var/tmp/scp/"]
    return ["sh", "-c", f"{shlex.join(copy)} && {shlex.join(lab.ssh(host, 'sync'))}"]
