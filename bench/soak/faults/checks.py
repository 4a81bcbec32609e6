"""What messages are checked against goes away, changes or fails."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from bench.soak.faults.processes import restart_workers
from bench.soak.faults.registry import fault, hold
from bench.soak.site import Site
from messaging.testing.servers.waiting import WaitTimeout, wait_until


@fault("key store away")
def lose_key_store(site: Site, random: Random) -> int:
    away = site.folder / "vault.away"
    refused = away.with_suffix(".refused")
    before = refused.stat().st_size if refused.exists() else 0
    away.touch()
    try:
        site.operator.ask("manage", "nexus_keys", "rotate")  # everybody reads the keys anew, and cannot
        hold(random.uniform(1.0, 3.0))
    finally:
        away.unlink()
    return refused.stat().st_size - before if refused.exists() else 0


@fault("key rotated and revoked")
def revoke_key(site: Site, random: Random) -> int:
    active = site.ledger.query("SELECT kid FROM nexus_signing_key WHERE state = 'active' AND signer = 'nexus'")
    site.operator.ask("manage", "nexus_keys", "rotate")
    hold(4.0)  # what signs with the old one has ended: a handler that began before may commit seconds later
    site.operator.ask("manage", "nexus_keys", "revoke", str(active[0][0]))
    return 1


@fault("policy changed")
def change_policy(site: Site, random: Random) -> int:
    end = site.sender.log_position
    site.change_policy("denied.yaml")
    try:
        hold(random.uniform(0.5, 2.0))
    finally:
        site.change_policy("access.yaml")
    return site.mend() + site.sender.log(end).count("not sent")


@fault("rule fails")
def fail_rule(site: Site, random: Random) -> int:
    return _brake(site, "raise", random.uniform(0.5, 2.0))


@fault("rule hangs")
def hang_rule(site: Site, random: Random) -> int:
    hit = _brake(site, "hang", random.uniform(1.0, 2.0))
    restart_workers(site)  # a rule that hung three times in a process is not called there any more
    return hit + site.mend()


def _brake(site: Site, how: str, seconds: float) -> int:
    """What the rule quarantines meanwhile is released afterwards, as an operator would."""
    brake = site.folder / "brake"
    waiting = "SELECT count(*) FROM nexus_verdict WHERE state = 'waiting'"
    brake.write_text(how)
    try:
        hold(seconds)
        with suppress(WaitTimeout):  # the limit of a batch is that of its messages together
            wait_until(lambda: site.ledger.query(waiting)[0][0] > 0, 30, "something in the quarantine", interval=0.1)
    finally:
        brake.write_text("")
    hold(0.5)  # what is being judged
    return site.mend()
