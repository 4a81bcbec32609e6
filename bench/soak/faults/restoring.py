"""The database goes back to a backup and the broker does not (docs/operations.md, Backup and restore).

The ledger stands in the same database and goes back with it: what was committed after the backup was never promised.
What only the broker still knows must end as dead letters, not as handlings.
"""

from __future__ import annotations

import threading
from random import Random

from bench.soak.faults.registry import fault
from bench.soak.site import DATABASE, Site


@fault("database restored from a backup")
def restore_backup(site: Site, random: Random) -> int:
    """Back up, let work go on, stop everything, put the backup in the database's place, start everything.

    Returns:
        How many messages and handlings are gone with it.
    """
    file = site.folder / "soak.dump"
    site.postgres.dump(DATABASE, file)
    threading.Event().wait(random.uniform(0.5, 3.0))
    for process in site.processes.values():
        process.stop()
    try:
        before = _rows(site)
        site.ledger.close()
        site.postgres.restore(DATABASE, file)
        site.operator.ask("manage", "nexus_verify")
        return before - _rows(site)
    finally:
        file.unlink()
        for process in site.processes.values():
            process.keep_running()


def _rows(site: Site) -> int:
    return int(site.ledger.query("SELECT (SELECT count(*) FROM soak_sent) + (SELECT count(*) FROM soak_effect)")[0][0])
