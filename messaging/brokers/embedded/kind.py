"""What Nexus knows about ``embedded://`` URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

from messaging.brokers.embedded.broker import EmbeddedBroker
from messaging.brokers.kind import BrokerKind
from messaging.brokers.topology import Topology
from messaging.core.errors import ConfigurationError

POLL_INTERVAL = 0.2


class EmbeddedKind(BrokerKind):
    """A file for the processes of one machine."""

    title = "the embedded broker"
    schemes = ("embedded",)
    form = "embedded:///file"
    needs_server = False

    def create(self, url: str, *, topology: Topology, **options: Any) -> EmbeddedBroker:
        path = unquote(url.partition("://")[2])
        if not path:
            raise ConfigurationError(f"broker URL: expected {self.form}, got no file")
        return EmbeddedBroker(path, topology=topology, **options)

    def celery_settings(self, url: str, *, folder: Path) -> dict[str, Any]:
        """Celery's own tasks go through files too: it cannot read this broker's."""
        queue, control = folder / "celery" / "queue", folder / "celery" / "control"
        for needed in (queue, control):
            needed.mkdir(parents=True, exist_ok=True)  # kombu does not make them
        return {
            "broker_url": "filesystem://localhost/",
            "broker_transport_options": {
                "data_folder_in": str(queue),
                "data_folder_out": str(queue),
                "control_folder": str(control),
                "polling_interval": POLL_INTERVAL,
            },
        }
