"""InMemoryBroker: a message broker inside one process, for tests and trials."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

from messaging.brokers.embedded.broker import EmbeddedBroker
from messaging.brokers.embedded.store import EmbeddedMemoryStore, Store
from messaging.brokers.topology import NEXUS_TOPOLOGY, Topology

_stores: WeakValueDictionary[str, EmbeddedMemoryStore] = WeakValueDictionary()
_stores_lock = Lock()


def _shared_store(name: str) -> EmbeddedMemoryStore:
    with _stores_lock:
        store = _stores.get(name)
        if store is None:
            store = _stores[name] = EmbeddedMemoryStore()
        return store


class InMemoryBroker(EmbeddedBroker):
    """An embedded broker without a file. All brokers of one name in one process share their queues.

    The queues are gone with the last broker of that name. A forked child gets a copy and shares nothing.

    Args:
        name: which queues to share.
        topology: what ``initialize()`` creates.
        poll_interval: seconds between two looks at an empty queue for messages that came through another broker object.
        visibility_timeout: seconds that a message may be held unacknowledged.
    """

    def __init__(
        self,
        name: str,
        *,
        topology: Topology = NEXUS_TOPOLOGY,
        poll_interval: float = 0.01,
        visibility_timeout: float = 600.0,
    ) -> None:
        super().__init__(name, topology=topology, poll_interval=poll_interval, visibility_timeout=visibility_timeout)
        self._name = f"in-memory broker {name!r}"

    def _open_store(self, path: str | Path) -> Store:
        return _shared_store(str(path))
