"""PostgreSQL restarts, dies and ends its sessions."""

from __future__ import annotations

from random import Random

from bench.soak.faults.registry import fault, hold
from bench.soak.site import DATABASE, Site


@fault("database restart")
def restart_database(site: Site, random: Random) -> int:
    site.postgres.restart()
    return 1


@fault("database kill -9")
def kill_database(site: Site, random: Random) -> int:
    site.postgres.kill()
    hold(random.uniform(0.0, 2.0))
    site.postgres.start()
    return 1


@fault("pg_terminate_backend")
def terminate_sessions(site: Site, random: Random) -> int:
    count = sum(proxy.connections for proxy in site.database_proxies.values())
    site.postgres.terminate_sessions(DATABASE)
    return count
