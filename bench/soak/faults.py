"""The faults of a soak. Each does its harm, holds it for a moment, undoes it, and says how often it really hit.

A fault that hit nothing (no connection to cut, nothing stalled) returns 0 and is not counted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random

import amqp

from bench.soak.copies import republish
from bench.soak.restoring import restore_backup
from bench.soak.site import DATABASE, Site
from bench.soak.version import NEWER
from bench.soak.viewers import watch
from messaging.brokers.topology import LEASED_QUEUE, TRANSACTIONAL_QUEUE
from messaging.testing.servers import proctree
from messaging.testing.servers.nodes import RabbitMQNode
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import WaitTimeout, wait_until

Fault = Callable[[Site, Random], int]

FAULTS: dict[str, Fault] = {}
"""All kinds by name."""

SINGLE_NODE_ONLY = {"broker data loss"}


def _fault(name: str) -> Callable[[Fault], Fault]:
    def register(fault: Fault) -> Fault:
        FAULTS[name] = fault
        return fault

    return register


def _hold(seconds: float) -> None:
    threading.Event().wait(seconds)


def _kill(process: Supervised) -> int:
    if not process.running:
        return 0
    process.kill()
    return 1


@contextmanager
def _suspended(process: Supervised) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        if process.running:
            process.resume()


# --- processes ---


@_fault("worker kill -9")
def kill_worker(site: Site, random: Random) -> int:
    return _kill(random.choice(site.workers()))


@_fault("all workers kill -9")
def kill_workers(site: Site, random: Random) -> int:
    return sum(_kill(worker) for worker in site.workers())


@_fault("pool process kill -9")
def kill_pool_process(site: Site, random: Random) -> int:
    pool = [pid for worker in site.workers() if worker.running for pid in worker.children()]
    if not pool:
        return 0
    proctree.send(random.choice(pool), signal.SIGKILL)
    return 1


@_fault("worker SIGTERM")
def stop_worker(site: Site, random: Random) -> int:
    worker = random.choice(site.workers())
    _restart(worker)
    return 1


@_fault("worker SIGSTOP")
def suspend_worker(site: Site, random: Random) -> int:
    with _suspended(random.choice(site.workers())):
        _hold(random.uniform(1.0, 9.0))
    return 1


@_fault("relay kill -9")
def kill_relay(site: Site, random: Random) -> int:
    return _kill(random.choice(site.relays()))


@_fault("relay SIGSTOP")
def suspend_relay(site: Site, random: Random) -> int:
    with _suspended(random.choice(site.relays())):
        _hold(random.uniform(1.0, 6.0))
    return 1


@_fault("sender kill -9")
def kill_sender(site: Site, random: Random) -> int:
    return _kill(site.sender)


@_fault("web server kill -9")
def kill_web(site: Site, random: Random) -> int:
    return _kill(site.web)


@_fault("API client kill -9")
def kill_outside(site: Site, random: Random) -> int:
    leased = "SELECT count(*) FROM nexus_delivery WHERE agent = 'outside' AND state = 'leased'"
    with suppress(WaitTimeout):  # in the middle of its work, if there is any
        wait_until(lambda: site.ledger.query(leased)[0][0] > 0, 5, "a lease of the program outside", interval=0.02)
    return _kill(site.outside)


@_fault("live viewers come and go")
def come_and_go(site: Site, random: Random) -> int:
    return watch(site.web_port, site.events, viewers=12, seconds=random.uniform(1.0, 4.0), random=random)


@_fault("rolling deploy")
def deploy(site: Site, random: Random) -> int:
    version = site.folder / "version"
    version.write_text("" if version.exists() and version.read_text() == NEWER else NEWER)
    return _restart_workers(site)


def _restart_workers(site: Site) -> int:
    """One after another, as a deployment does."""
    for worker in site.workers():
        _restart(worker)
    return len(site.workers())


def _restart(worker: Supervised) -> None:
    starts, end = worker.starts, worker.log_position
    if worker.running:
        worker.signal(signal.SIGTERM)
    wait_until(lambda: worker.starts > starts, 60, "the worker to end after SIGTERM and to be started again")
    worker.wait_for_log("ready", 60, since=end)


@_fault("clock jump")
def jump_clock(site: Site, random: Random) -> int:
    role = random.choice(["worker", "relay"])
    clock = site.folder / f"{role}.clock"
    seen = clock.with_suffix(".seen")
    before = seen.stat().st_size if seen.exists() else 0
    clock.write_text(str(random.choice([-20.0, -5.0, 5.0, 15.0])))
    _hold(random.uniform(1.0, 3.0))
    clock.write_text("0")
    return int(seen.exists() and seen.stat().st_size > before)


# --- broker ---


@_fault("broker restart")
def restart_broker(site: Site, random: Random) -> int:
    random.choice(site.brokers).restart()
    return 1


@_fault("broker kill -9")
def kill_broker(site: Site, random: Random) -> int:
    broker = random.choice(site.brokers)
    broker.sync_metadata()
    broker.kill()
    _hold(random.uniform(0.0, 3.0))
    broker.start()
    return 1


@_fault("broker data loss")
def lose_broker_data(site: Site, random: Random) -> int:
    broker = site.brokers[0]
    broker.kill()
    broker.wipe_data()
    broker.start()
    return 1


@_fault("broker SIGSTOP")
def suspend_broker(site: Site, random: Random) -> int:
    broker = random.choice(site.brokers)
    broker.suspend()
    try:
        _hold(random.uniform(1.0, 6.0))
    finally:
        broker.resume()
    return 1


@_fault("memory alarm")
def raise_alarm(site: Site, random: Random) -> int:
    broker = random.choice(site.brokers)
    broker.set_memory_watermark(0)
    try:
        _hold(random.uniform(1.0, 5.0))
        return int("memory" in broker.rabbitmqctl("eval", "rabbit_alarm:get_alarms()."))
    finally:
        broker.set_memory_watermark(0.4)


@_fault("connections closed by the broker")
def close_connections(site: Site, random: Random) -> int:
    count = sum(proxy.connections for proxies in site.broker_proxies.values() for proxy in proxies)
    random.choice(site.brokers).close_all_connections()
    return count


def _on_broker(broker: RabbitMQNode, work: Callable[[amqp.Channel], None]) -> None:
    with amqp.Connection(f"127.0.0.1:{broker.port}", connect_timeout=5, read_timeout=10) as connection:
        work(connection.channel())


@_fault("queue deleted")
def delete_queue(site: Site, random: Random) -> int:
    name = random.choice([TRANSACTIONAL_QUEUE, LEASED_QUEUE])
    _on_broker(random.choice(site.brokers), lambda channel: channel.queue_delete(name))
    return 1


@_fault("queue purged")
def purge_queue(site: Site, random: Random) -> int:
    name = random.choice([TRANSACTIONAL_QUEUE, LEASED_QUEUE])
    _on_broker(random.choice(site.brokers), lambda channel: channel.queue_purge(name))
    return 1


@_fault("duplicates out of order")
def publish_copies(site: Site, random: Random) -> int:
    return republish(site, random)


# --- database ---


@_fault("database restart")
def restart_database(site: Site, random: Random) -> int:
    site.postgres.restart()
    return 1


@_fault("database kill -9")
def kill_database(site: Site, random: Random) -> int:
    site.postgres.kill()
    _hold(random.uniform(0.0, 2.0))
    site.postgres.start()
    return 1


@_fault("pg_terminate_backend")
def terminate_sessions(site: Site, random: Random) -> int:
    count = sum(proxy.connections for proxy in site.database_proxies.values())
    site.postgres.terminate_sessions(DATABASE)
    return count


@_fault("database restored from a backup")
def restore_database(site: Site, random: Random) -> int:
    return restore_backup(site, random)


# --- checks ---


@_fault("key store away")
def lose_key_store(site: Site, random: Random) -> int:
    away = site.folder / "vault.away"
    refused = away.with_suffix(".refused")
    before = refused.stat().st_size if refused.exists() else 0
    away.touch()
    try:
        site.operator.ask("manage", "nexus_keys", "rotate")  # everybody reads the keys anew, and cannot
        _hold(random.uniform(1.0, 3.0))
    finally:
        away.unlink()
    return refused.stat().st_size - before if refused.exists() else 0


@_fault("key rotated and revoked")
def revoke_key(site: Site, random: Random) -> int:
    active = site.ledger.query("SELECT kid FROM nexus_signing_key WHERE state = 'active' AND signer = 'nexus'")
    site.operator.ask("manage", "nexus_keys", "rotate")
    _hold(4.0)  # what signs with the old one has ended: a handler that began before may commit seconds later
    site.operator.ask("manage", "nexus_keys", "revoke", str(active[0][0]))
    return 1


@_fault("policy changed")
def change_policy(site: Site, random: Random) -> int:
    end = site.sender.log_position
    site.change_policy("denied.yaml")
    try:
        _hold(random.uniform(0.5, 2.0))
    finally:
        site.change_policy("access.yaml")
    return site.mend() + site.sender.log(end).count("not sent")


@_fault("rule fails")
def fail_rule(site: Site, random: Random) -> int:
    return _brake(site, "raise", random.uniform(0.5, 2.0))


@_fault("rule hangs")
def hang_rule(site: Site, random: Random) -> int:
    hit = _brake(site, "hang", random.uniform(1.0, 2.0))
    _restart_workers(site)  # a rule that hung three times in a process is not called there any more
    return hit + site.mend()


def _brake(site: Site, how: str, seconds: float) -> int:
    """What the rule quarantines meanwhile is released afterwards, as an operator would."""
    brake = site.folder / "brake"
    waiting = "SELECT count(*) FROM nexus_verdict WHERE state = 'waiting'"
    brake.write_text(how)
    try:
        _hold(seconds)
        with suppress(WaitTimeout):  # the limit of a batch is that of its messages together
            wait_until(lambda: site.ledger.query(waiting)[0][0] > 0, 30, "something in the quarantine", interval=0.1)
    finally:
        brake.write_text("")
    _hold(0.5)  # what is being judged
    return site.mend()


# --- network ---


def _proxy(site: Site, random: Random) -> tuple[str, str]:
    return random.choice(["broker", "database"]), random.choice(list(site.database_proxies))


@_fault("network cut")
def cut(site: Site, random: Random) -> int:
    server, role = _proxy(site, random)
    proxies = site.broker_proxies[role] if server == "broker" else [site.database_proxies[role]]
    for proxy in proxies:
        proxy.refuse(True)
    count = sum(proxy.cut() for proxy in proxies)
    _hold(random.uniform(0.0, 3.0))
    for proxy in proxies:
        proxy.refuse(False)
    return count


@_fault("network stall")
def stall(site: Site, random: Random) -> int:
    server, role = _proxy(site, random)
    proxies = site.broker_proxies[role] if server == "broker" else [site.database_proxies[role]]
    before = sum(proxy.stalled_bytes for proxy in proxies)
    for proxy in proxies:
        proxy.stall(True)
    _hold(random.uniform(1.0, 6.0))
    for proxy in proxies:
        proxy.stall(False)
    return int(sum(proxy.stalled_bytes for proxy in proxies) > before)


@_fault("answers swallowed")
def swallow(site: Site, random: Random) -> int:
    server, role = _proxy(site, random)
    proxies = site.broker_proxies[role] if server == "broker" else [site.database_proxies[role]]
    before = sum(proxy.swallowed_bytes for proxy in proxies)
    for proxy in proxies:
        proxy.swallow(True)
    _hold(random.uniform(0.3, 3.0))
    for proxy in proxies:
        proxy.swallow(False)
    return int(sum(proxy.swallowed_bytes for proxy in proxies) > before)


@_fault("confirms dropped")
def drop_confirms(site: Site, random: Random) -> int:
    proxies = site.broker_proxies[random.choice(list(site.broker_proxies))]
    before = sum(proxy.dropped_confirms for proxy in proxies)
    for proxy in proxies:
        proxy.drop_confirms(True)
    _hold(random.uniform(1.0, 4.0))
    for proxy in proxies:
        proxy.drop_confirms(False)
    return sum(proxy.dropped_confirms for proxy in proxies) - before
