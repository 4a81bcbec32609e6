"""``manage.py nexus_relay``: run a relay."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand

from messaging.recovery.relay import Relay
from messaging.transport.current import get_broker


class Command(BaseCommand):
    help = (
        "Run the relay: publish what is due and repair what is stuck. Run two for availability; one leads, the other "
        "takes over within seconds. Ends on SIGTERM or Ctrl-C."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        relay = Relay(get_broker())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: relay.stop())
        self.stdout.write("The relay runs. Stop it with Ctrl-C.")
        self.stdout.flush()
        relay.run()
        self.stdout.write("The relay has stopped.")
