#!/usr/bin/python3
"""inventory.py INVENTORY.toml: the same hosts as an Ansible inventory, on standard output.

For inventories as `xnat-provision lab up` writes them. What the playbook cannot do is an error and not left out.
"""
import json
import pathlib
import sys
import tomllib

TAKEN = {"cluster": {"name"}, "ssh": {"user", "port", "identity", "become", "known_hosts"}, "vault": None}
HOST = {"name", "address", "roles", "fingerprint"}
ROLES = ("etcd", "postgres", "haproxy")


def refuse_others(inventory):
    others = [section for section in inventory if section not in TAKEN and section != "host"]
    for section, keys in TAKEN.items():
        others += [f"{section}.{key}" for key in inventory.get(section, {}) if keys is not None and key not in keys]
    others += [f"{host['name']}.{key}" for host in inventory["host"] for key in host if key not in HOST]
    if others:
        sys.exit("the playbook knows nothing of " + ", ".join(others))


def ssh_variables(ssh, beside):
    identity = beside / pathlib.Path(ssh["identity"]).expanduser()
    # The lab has it beside the key. Fingerprints in the inventory are not something OpenSSH can be given.
    known_hosts = beside / ssh.get("known_hosts", identity.with_name("known_hosts"))
    if not known_hosts.is_file():
        sys.exit(f"there is no {known_hosts}, and host keys are to be checked")
    options = [
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=none",
    ]
    user = ssh.get("user", "root")
    variables = {
        "ansible_user": user,
        "ansible_port": ssh.get("port", 22),
        "ansible_ssh_private_key_file": str(identity),
        "ansible_ssh_common_args": " ".join(f"-o {option}" for option in options),
    }
    # Not `false` otherwise: it would overrule the task that becomes postgres.
    if ssh.get("become", "none" if user == "root" else "sudo") == "sudo":
        variables["ansible_become"] = True
    return variables


def main(path):
    path = pathlib.Path(path).absolute()
    inventory = tomllib.loads(path.read_text())
    refuse_others(inventory)
    variables = {"cluster": inventory["cluster"]["name"], **ssh_variables(inventory["ssh"], path.parent)}
    hosts = {host["name"]: {"ansible_host": host["address"]} for host in inventory["host"]}
    groups = {
        role: {"hosts": {host["name"]: {} for host in inventory["host"] if role in host["roles"]}} for role in ROLES
    }
    json.dump({"all": {"vars": variables, "hosts": hosts, "children": groups}}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
