"""A run that finds nothing to do, beside the least that asking the same hosts over SSH costs, and beside Ansible."""

from lab import Lab
from measure import Claim, Result, Row, together
from playbook import Playbook

ROUNDS = 15
ROUNDS_OF_ANSIBLE = 3


def bench():
    floor, ours = Row("`ssh HOST true`, all hosts at once", "s"), Row("`apply`, nothing to do", "s")
    with Lab("noop", "--hosts", "4") as lab:
        lab.apply()
        for _ in range(ROUNDS):
            floor.add(together([lab.ssh(host, "true") for host in lab.addresses]))
            ours.add(lab.apply_without_changes()[0].seconds)
    beside = Row("`ssh HOST true` on the playbook's hosts", "s")
    plain, cached = Row("Ansible", "s"), Row("Ansible, facts from its cache", "s")
    with Lab("ansible", "--hosts", "4") as lab, Playbook(lab) as play:
        play.bootstrap()
        play.deploy()
        # fills the cache
        play.nothing_to_do(cache=True)
        for _ in range(ROUNDS_OF_ANSIBLE):
            beside.add(together([lab.ssh(host, "true") for host in lab.addresses]))
            plain.add(play.nothing_to_do())
            cached.add(play.nothing_to_do(cache=True))
    return Result(
        "noop",
        "Nothing to do, 4 hosts",
        "Three hosts of etcd and PostgreSQL, one of HAProxy. The floor logs in to all of them at once and does nothing there.",
        [floor, ours, beside, plain, cached],
        [
            Claim("`apply` to the floor", ours.median / floor.median, at_most=1.5),
            Claim("Ansible (with its cache) to `apply`", cached.median / ours.median, at_least=50),
            Claim("Ansible (without) to `apply`", plain.median / ours.median, at_least=50),
        ],
    )
