"""Ansible at work on lab hosts, with the playbook in `ansible/` that manages what `apply` does."""

import os
import re
import sys
import tempfile
from pathlib import Path

from lab import tool
from measure import Failed, run

HERE = Path(__file__).resolve().parent / "ansible"
ANSIBLE = str(Path(sys.executable).with_name("ansible-playbook"))
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=0\s", re.MULTILINE)


class Playbook:
    """The playbook and the hosts of a lab; what it keeps is gone when the block is left."""

    def __init__(self, lab):
        self.lab = lab

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="bench-ansible-")
        self.directory = Path(self.scratch.name)
        self.hosts = self.directory / "hosts.json"
        self.hosts.write_text(run([sys.executable, str(HERE / "inventory.py"), str(self.lab.inventory)]).stdout)
        return self

    def __exit__(self, *_):
        self.scratch.cleanup()

    def bootstrap(self):
        """Ansible needs Python on the hosts, which bare ones have not; in seconds."""
        return self.play("bootstrap.yml").seconds

    def deploy(self):
        """From hosts with Python to the cluster, in seconds. It is the one that `apply` would make."""
        seconds = self.play("site.yml").seconds
        same = self.directory / "same.toml"
        same.write_text(run([str(HERE / "same.sh"), str(self.lab.inventory), str(self.directory / "ansible-state")]).stdout)
        # ends with another status, and so with an error, when there is something to change
        tool("plan", str(same))
        return seconds

    def nothing_to_do(self, cache=False):
        """A run that changes nothing, in seconds."""
        ran = self.play("site.yml", "--skip-tags", "proof", cache=cache)
        changed = dict(RECAP.findall(ran.stdout))
        if set(changed) != set(self.lab.addresses) or set(changed.values()) != {"0"}:
            raise Failed(f"a run of the playbook that should have had nothing to do: {changed}\n{ran.stdout[-3000:]}")
        return ran.seconds

    def play(self, book, *options, cache=False):
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            # kept open from one run to the next, and not for other hosts with the same addresses
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.directory / "cp"),
        }
        if cache:
            environment |= {
                "ANSIBLE_CACHE_PLUGIN": "jsonfile",
                "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.directory / "facts"),
            }
        return run([ANSIBLE, "-i", str(self.hosts), *options, str(HERE / book)], environment)
