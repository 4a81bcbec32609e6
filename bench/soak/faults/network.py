"""Connections break, stall, and lose what they carry."""

from __future__ import annotations

from random import Random

from bench.soak.faults.registry import fault, hold
from bench.soak.site import Site
from messaging.testing.servers.tcp_proxy import TcpProxy


def _proxies(site: Site, random: Random) -> list[TcpProxy]:
    """Between one kind of process and one kind of server."""
    server, role = random.choice(["broker", "database"]), random.choice(list(site.database_proxies))
    return site.broker_proxies[role] if server == "broker" else [site.database_proxies[role]]


@fault("network cut")
def cut(site: Site, random: Random) -> int:
    proxies = _proxies(site, random)
    for proxy in proxies:
        proxy.refuse(True)
    count = sum(proxy.cut() for proxy in proxies)
    hold(random.uniform(0.0, 3.0))
    for proxy in proxies:
        proxy.refuse(False)
    return count


@fault("network stall")
def stall(site: Site, random: Random) -> int:
    proxies = _proxies(site, random)
    before = sum(proxy.stalled_bytes for proxy in proxies)
    for proxy in proxies:
        proxy.stall(True)
    hold(random.uniform(1.0, 6.0))
    for proxy in proxies:
        proxy.stall(False)
    return int(sum(proxy.stalled_bytes for proxy in proxies) > before)


@fault("answers swallowed")
def swallow(site: Site, random: Random) -> int:
    proxies = _proxies(site, random)
    before = sum(proxy.swallowed_bytes for proxy in proxies)
    for proxy in proxies:
        proxy.swallow(True)
    hold(random.uniform(0.3, 3.0))
    for proxy in proxies:
        proxy.swallow(False)
    return int(sum(proxy.swallowed_bytes for proxy in proxies) > before)


@fault("confirms dropped")
def drop_confirms(site: Site, random: Random) -> int:
    proxies = site.broker_proxies[random.choice(list(site.broker_proxies))]
    before = sum(proxy.dropped_confirms for proxy in proxies)
    for proxy in proxies:
        proxy.drop_confirms(True)
    hold(random.uniform(1.0, 4.0))
    for proxy in proxies:
        proxy.drop_confirms(False)
    return sum(proxy.dropped_confirms for proxy in proxies) - before
