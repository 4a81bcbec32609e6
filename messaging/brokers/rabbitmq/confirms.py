"""Celery's own publishing with confirms: a confirm that does not come must not be waited for for ever.

py-amqp waits without a limit unless every single publish says otherwise, and ``confirm_timeout`` among the transport
options is not read by anybody. A worker publishes an event every two seconds: one lost confirm, or a memory alarm, and
its main process hangs, does not even end on SIGTERM.
"""

from __future__ import annotations

from typing import Any

from amqp.exceptions import RecoverableConnectionError
from kombu.transport.pyamqp import Channel

_without_limit = Channel.basic_publish_confirm


def limit_confirms(seconds: float) -> None:
    """Wait at most so long for a confirm of what Celery publishes in this process.

    A publish without one fails with ``RecoverableConnectionError``: py-amqp would take the late confirm for the next
    message's, so the connection is of no more use, and Celery opens another one.
    """

    def publish(channel: Any, *args: Any, **options: Any) -> Any:
        options["confirm_timeout"] = options.get("confirm_timeout") or seconds
        try:
            return _without_limit(channel, *args, **options)
        except TimeoutError as error:
            raise RecoverableConnectionError(f"the broker did not confirm within {seconds:g} s") from error

    Channel.basic_publish_confirm = publish
