"""Processes are killed, stopped, suspended and replaced; their clocks jump."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

from bench.soak.faults.registry import fault, hold
from bench.soak.site import Site
from bench.soak.version import NEWER
from bench.soak.viewers import watch
from messaging.testing.servers import proctree
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import WaitTimeout, wait_until


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


@fault("worker kill -9")
def kill_worker(site: Site, random: Random) -> int:
    return _kill(random.choice(site.workers()))


@fault("all workers kill -9")
def kill_workers(site: Site, random: Random) -> int:
    return sum(_kill(worker) for worker in site.workers())


@fault("pool process kill -9")
def kill_pool_process(site: Site, random: Random) -> int:
    pool = [pid for worker in site.workers() if worker.running for pid in worker.children()]
    if not pool:
        return 0
    proctree.send(random.choice(pool), signal.SIGKILL)
    return 1


@fault("worker SIGTERM")
def stop_worker(site: Site, random: Random) -> int:
    worker = random.choice(site.workers())
    _restart(worker)
    return 1


@fault("worker SIGSTOP")
def suspend_worker(site: Site, random: Random) -> int:
    with _suspended(random.choice(site.workers())):
        hold(random.uniform(1.0, 9.0))
    return 1


@fault("relay kill -9")
def kill_relay(site: Site, random: Random) -> int:
    return _kill(random.choice(site.relays()))


@fault("relay SIGSTOP")
def suspend_relay(site: Site, random: Random) -> int:
    with _suspended(random.choice(site.relays())):
        hold(random.uniform(1.0, 6.0))
    return 1


@fault("sender kill -9")
def kill_sender(site: Site, random: Random) -> int:
    return _kill(site.sender)


@fault("web server kill -9")
def kill_web(site: Site, random: Random) -> int:
    return _kill(site.web)


@fault("API client kill -9")
def kill_outside(site: Site, random: Random) -> int:
    leased = "SELECT count(*) FROM nexus_delivery WHERE agent = 'outside' AND state = 'leased'"
    with suppress(WaitTimeout):  # in the middle of its work, if there is any
        wait_until(lambda: site.ledger.query(leased)[0][0] > 0, 5, "a lease of the program outside", interval=0.02)
    return _kill(site.outside)


@fault("live viewers come and go")
def come_and_go(site: Site, random: Random) -> int:
    return watch(site.web_port, site.events, viewers=12, seconds=random.uniform(1.0, 4.0), random=random)


@fault("rolling deploy")
def deploy(site: Site, random: Random) -> int:
    version = site.folder / "version"
    version.write_text("" if version.exists() and version.read_text() == NEWER else NEWER)
    return restart_workers(site)


def restart_workers(site: Site) -> int:
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


@fault("clock jump")
def jump_clock(site: Site, random: Random) -> int:
    role = random.choice(["worker", "relay"])
    clock = site.folder / f"{role}.clock"
    seen = clock.with_suffix(".seen")
    before = seen.stat().st_size if seen.exists() else 0
    clock.write_text(str(random.choice([-20.0, -5.0, 5.0, 15.0])))
    hold(random.uniform(1.0, 3.0))
    clock.write_text("0")
    return int(seen.exists() and seen.stat().st_size > before)
