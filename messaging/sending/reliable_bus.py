"""The durable bus."""

from __future__ import annotations

from messaging.sending.bus import CommunicationBus
from messaging.sending.durable import DurableBackend


class ReliableCommunicationBus(CommunicationBus):
    """Lets agents talk to each other through the log: never lost, never handled twice, in order.

    Args:
        legacy_mode: handle messages in this process instead, like ``CommunicationBus``; opens no connection at all.
    """

    def __init__(self, *, legacy_mode: bool = False) -> None:
        super().__init__(None if legacy_mode else DurableBackend())
        self.legacy_mode = legacy_mode
