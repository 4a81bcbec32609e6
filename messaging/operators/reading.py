"""Reading encrypted data: for people with the permission ``nexus.read_encrypted``, and written down each time."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction

from messaging.core.envelope import Envelope
from messaging.operators.acts import Actor, record
from messaging.security.encryption.payloads import open_data

PERMISSION = "nexus.read_encrypted"


def read_encrypted(envelope: Envelope, model: type[models.Model], key: object, *, actor: Actor) -> Any:
    """The data of an envelope in clear. Where they are encrypted, who read them is written down first.

    Args:
        envelope: of the log, or of a dead letter.
        model, key: whose page it is.
        actor: the person, who may read them.

    Raises:
        NotDecrypted: they do not open.
        EncryptionKeyError: their key does not open in this process, at the moment.
    """
    if not envelope.is_encrypted:
        return envelope.data
    with transaction.atomic():
        data = open_data(envelope, for_a_person=True).data
        record(actor, "read encrypted data", model, key)
    return data
