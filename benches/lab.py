"""Lab hosts, and the program at work on them."""

import json
import os
import tempfile
import time
import tomllib
from pathlib import Path

from measure import Failed, run

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ["XNAT_PROVISION"]
POLL = 5  # seconds


def tool(*words, inside=None, env=None):
    """Run the program, in a network namespace if one is named."""
    prefix = ["ip", "netns", "exec", inside] if inside else []
    return run([*prefix, BINARY, *words], env)


class Lab:
    """Hosts that are gone when the block is left."""

    def __init__(self, name, *options):
        self.name = f"bench-{name}"
        self.options = options

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        try:
            down(self.name)
            self.up()
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def up(self):
        self.inventory = Path(self.directory.name) / "inventory.toml"
        status = tool("lab", "up", "--json", "--name", self.name, "--write", str(self.inventory), *self.options)
        status = json.loads(status.stdout)
        self.addresses = {host["name"]: host["address"] for host in status["hosts"]}
        self.home = Path(status["identity"]).parent
        hosts = tomllib.loads(self.inventory.read_text())["host"]
        self.roles = {host["name"]: host["roles"] for host in hosts}

    def __exit__(self, kind=None, *_):
        try:
            down(self.name)
        except Failed:
            # what ended the block is what there is to tell
            if kind is None:
                raise
        finally:
            self.directory.cleanup()

    def of(self, role):
        return [name for name, roles in self.roles.items() if role in roles]

    def root(self, host):
        """The root directory of a host, seen from here."""
        return self.home / "hosts" / host / "root"

    def options_of_ssh(self):
        settings = {
            "UserKnownHostsFile": self.home / "known_hosts",
            "GlobalKnownHostsFile": "none",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
        }
        options = ["-F", "none", "-i", str(self.home / "id_ed25519")]
        return options + [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def ssh(self, host, command):
        return ["ssh", *self.options_of_ssh(), f"root@{self.addresses[host]}", command]

    def shell(self, host, command):
        return run(self.ssh(host, command)).stdout

    def append(self, text):
        self.inventory.write_text(f"{self.inventory.read_text()}\n{text}\n")

    def apply(self, *options, inside=None):
        return tool("apply", "--yes", *options, str(self.inventory), inside=inside)

    def wait_until_healthy(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return tool("status", str(self.inventory))
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL)

    def apply_without_changes(self, inside=None):
        """A run that finds nothing to do, and its events."""
        ran = self.apply("--json", inside=inside)
        events = [json.loads(line) for line in ran.stdout.splitlines()]
        if any(event["kind"] == "change_applied" for event in events):
            raise Failed("a run that should have had nothing to do changed something")
        return ran, events


def down(name):
    tool("lab", "down", "--name", name)
