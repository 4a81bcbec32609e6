"""Sending alerts by mail and webhook, from the relay, in a thread of its own: nothing waits for a slow server.

Alerts that are due go out together, one mail and one request for at most ``AT_ONCE``. One that cannot be sent is tried
again, ``MAX_ATTEMPTS`` times with growing pauses, then given up with a line in the log. A relay that dies between
sending and noting it sends twice.
"""

from __future__ import annotations

import json
import logging
import threading
import urllib.request
from collections.abc import Sequence
from datetime import timedelta

from django.core.mail import send_mail
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import F
from django.utils import timezone

from messaging.conf import NexusSettings, get_settings
from messaging.models import Alert

logger = logging.getLogger("nexus.relay")

AT_ONCE = 50
MAX_ATTEMPTS = 10
TIMEOUT = 10.0
FIRST_PAUSE, MAX_PAUSE = 5.0, 3_600.0

_lock = threading.Lock()


def send_in_background() -> int:
    """Begin to send what is due, unless that is under way. Returns 0: nothing is waited for."""
    settings = get_settings()
    if (settings.alert_mail or settings.alert_webhook) and not _lock.locked():
        threading.Thread(target=_send_and_close, name="nexus-alerts", daemon=True).start()
    return 0


def _send_and_close() -> None:
    if not _lock.acquire(blocking=False):
        return
    try:
        send_due()
    except DatabaseError as error:
        logger.warning("Alerts cannot be read, trying again: %s", error)
    finally:
        _lock.release()
        connection.close()


def send_due() -> int:
    """Send alerts that are due, at most ``AT_ONCE``; return how many were sent. Outside of any transaction."""
    now = timezone.now()
    alerts = list(Alert.objects.filter(due_at__lte=now).order_by("due_at", "pk")[:AT_ONCE])
    if not alerts:
        return 0
    problems = _send(alerts, get_settings())
    ids = [alert.pk for alert in alerts]
    if not problems:
        return Alert.objects.filter(pk__in=ids).delete()[0]
    hopeless = [alert for alert in alerts if alert.attempts + 1 >= MAX_ATTEMPTS]
    for alert in hopeless:
        logger.error("An alert is given up after %d attempts: %s", MAX_ATTEMPTS, alert.subject)
    Alert.objects.filter(pk__in=[alert.pk for alert in hopeless]).delete()
    for alert in alerts:
        pause = min(MAX_PAUSE, FIRST_PAUSE * 2**alert.attempts)
        later = now + timedelta(seconds=pause)
        Alert.objects.filter(pk=alert.pk).update(attempts=F("attempts") + 1, due_at=later)
    logger.warning("%d alerts could not be sent, trying again: %s", len(alerts), "; ".join(problems))
    return 0


def _send(alerts: Sequence[Alert], settings: NexusSettings) -> list[str]:
    """Send by each way that is set; return what went wrong. A way that fails does not keep the other from its try."""
    problems = []
    for name, wanted, send in (
        ("mail", settings.alert_mail, _mail),
        ("webhook", settings.alert_webhook, _post),
    ):
        if not wanted:
            continue
        try:
            send(wanted, alerts)
        except Exception as error:  # noqa: BLE001 - whatever mail backends and servers do, alerts are tried again
            problems.append(f"{name}: {type(error).__name__}: {error}")
    return problems


def _mail(addresses: str, alerts: Sequence[Alert]) -> None:
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    body = "\n\n".join(f"{alert.subject}\n{json.dumps(json.loads(alert.content), indent=2)}" for alert in alerts)
    subject = f"[Nexus] {alerts[0].subject}{more}".replace("\n", " ").replace("\r", " ")
    send_mail(subject, body, None, [address.strip() for address in addresses.split(",")])


def _post(url: str, alerts: Sequence[Alert]) -> None:
    body = json.dumps({"alerts": [json.loads(alert.content) for alert in alerts]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked: http(s)
    with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310  # nosec B310  # as above; raises from 400 on
        pass
