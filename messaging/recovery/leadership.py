"""Which relay leads: a lease in one database row, with a token that fences off a former leader."""

from __future__ import annotations

import os
import socket
import uuid
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from messaging.conf import get_settings
from messaging.models import RelayLease

NAME = "relay"
MAX_SKEW = timedelta(seconds=60)
"""A lease that ends later than this behind its length was written by a clock that was wrong, and does not count."""


class Leadership:
    """The claim of one relay process to lead."""

    def __init__(self) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}"
        self.token = uuid.uuid4()

    def acquire(self) -> bool:
        """Take or renew the lead for ``relay_lease`` seconds. True when this relay leads."""
        now = timezone.now()
        expires_at = now + timedelta(seconds=get_settings().relay_lease)
        values = {"holder": self.holder, "token": self.token, "renewed_at": now, "expires_at": expires_at}
        free = RelayLease.objects.filter(
            Q(token=self.token) | Q(expires_at__lte=now) | Q(expires_at__gt=expires_at + MAX_SKEW), name=NAME
        )
        if free.update(**values):
            return True
        if RelayLease.objects.filter(name=NAME).exists():
            return False
        try:
            with transaction.atomic():
                RelayLease.objects.create(name=NAME, **values)
        except IntegrityError:  # another relay was first
            return False
        return True

    def release(self) -> None:
        """Let another relay lead at once."""
        RelayLease.objects.filter(name=NAME, token=self.token).update(expires_at=timezone.now())
