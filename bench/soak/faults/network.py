"""Connections break, stall, and lose what they carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def _grown(
    proxies: Sequence[TcpProxy],
    switch: Callable[[TcpProxy, bool], None],
    count: Callable[[TcpProxy], int],
    seconds: float,
) -> int:
    """Switch something on for a while; return how much more of it was counted then."""
    before = sum(map(count, proxies))
    for proxy in proxies:
        switch(proxy, True)
    hold(seconds)
    for proxy in proxies:
        switch(proxy, False)
    return sum(map(count, proxies)) - before


@fault("network stall")
def stall(site: Site, random: Random) -> int:
    proxies = _proxies(site, random)
    grown = _grown(proxies, TcpProxy.stall, lambda proxy: proxy.stalled_bytes, random.uniform(1.0, 6.0))
    return int(grown > 0)


@fault("answers swallowed")
def swallow(site: Site, random: Random) -> int:
    proxies = _proxies(site, random)
    grown = _grown(proxies, TcpProxy.swallow, lambda proxy: proxy.swallowed_bytes, random.uniform(0.3, 3.0))
    return int(grown > 0)


@fault("confirms dropped")
def drop_confirms(site: Site, random: Random) -> int:
    proxies = site.broker_proxies[random.choice(list(site.broker_proxies))]
    return _grown(proxies, TcpProxy.drop_confirms, lambda proxy: proxy.dropped_confirms, random.uniform(1.0, 4.0))
