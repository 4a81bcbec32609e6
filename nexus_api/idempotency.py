"""``Idempotency-Key``: a request that is repeated because its answer was lost is done once.

The key is claimed in a transaction of its own, so that a repeat meanwhile is told 409 rather than made to wait. The
answer is stored in the transaction that does the work: after a kill there are both or none. The claim of a process that
was killed holds for ``CLAIM`` only; then a repeat takes it over, and whoever lost it cannot commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Schema
from ninja.responses import Status

from messaging.extension import get_settings
from nexus_api.callers import caller_of
from nexus_api.models import IdempotentRequest
from nexus_api.problems import ApiProblem

HEADER = "Idempotency-Key"
MAX_KEY = 150
CLAIM = timedelta(seconds=30)
REMOVED_AT_ONCE = 1_000
REPLAYED = "Idempotent-Replayed"

Work = Callable[[], dict[str, Any]]


def once(request: HttpRequest, response: HttpResponse, body: Schema, work: Work) -> Status[dict[str, Any]]:
    """Do a request in one transaction, once for each key of a caller.

    Args:
        request: with or without the header.
        response: whose headers are sent with the answer.
        body: of the request; another one with the same key is refused.
        work: what is to be done; returns the answer, as JSON has it.

    Raises:
        ApiProblem: 400, the key is malformed; 409, the same request is in flight; 422, the key is another request's.
    """
    key = request.headers.get(HEADER)
    if key is None:
        with transaction.atomic():
            return Status(201, work())
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise ApiProblem(400, "malformed-key", f"{HEADER}: 1 to {MAX_KEY} printable ASCII characters are expected.")
    row, mine = _claim(caller_of(request).identity, key, _fingerprint(request, body))
    if not mine:
        response[REPLAYED] = "true"
        return Status(row.status or 201, json.loads(row.answer))
    try:
        with transaction.atomic():
            answer = work()
            stored = _held(row).update(status=201, answer=json.dumps(answer))
            if not stored:
                raise _in_flight()
    except BaseException:
        _held(row).delete()  # nothing was done: the same key may be tried again at once
        raise
    return Status(201, answer)


def keep_answer(request: HttpRequest, owner: str, key: str, body: Schema, answer: dict[str, Any]) -> None:
    """Keep the answer of a request that can be done once only, in the transaction that does it. No claim is needed.

    Args:
        request: whose answer it is.
        owner: to whom the key belongs.
        key: tells requests of the owner apart.
        body: of the request.
        answer: as JSON has it.
    """
    now = timezone.now()
    IdempotentRequest.objects.create(
        owner=owner,
        key=key,
        fingerprint=_fingerprint(request, body),
        claim=uuid4(),
        claimed_until=now,
        status=200,
        answer=json.dumps(answer),
        expires_at=now + timedelta(seconds=get_settings().api_idempotency_ttl),
    )


def find_kept(
    request: HttpRequest, response: HttpResponse, owner: str, key: str, body: Schema
) -> dict[str, Any] | None:
    """The answer that was kept for the same request, or None. The arguments are those of ``keep_answer`` and ``once``.

    Raises:
        ApiProblem: 422, another request was done with the key.
    """
    row = IdempotentRequest.objects.filter(owner=owner, key=key).first()
    if row is None:
        return None
    if row.fingerprint != _fingerprint(request, body):
        raise ApiProblem(422, "key-reused", "It was done before with another body. Nothing was changed now.")
    response[REPLAYED] = "true"
    answer: dict[str, Any] = json.loads(row.answer)
    return answer


def _fingerprint(request: HttpRequest, body: Schema) -> str:
    text = json.dumps([request.method, request.path, body.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _claim(owner: str, key: str, fingerprint: str) -> tuple[IdempotentRequest, bool]:
    """The row of a key, and whether it is ours to work on; otherwise it has the answer."""
    now = timezone.now()
    ours: dict[str, Any] = {
        "fingerprint": fingerprint,
        "claim": uuid4(),
        "claimed_until": now + CLAIM,
        "expires_at": now + timedelta(seconds=get_settings().api_idempotency_ttl),
    }
    row, created = IdempotentRequest.objects.get_or_create(owner=owner, key=key, defaults=ours)
    if created:
        return row, True
    free = _free(now)
    if not IdempotentRequest.objects.filter(free, pk=row.pk).exists():
        if row.fingerprint != fingerprint:
            raise ApiProblem(
                422, "key-reused", f"Another request was made with this {HEADER}. Use a new one for a new request."
            )
        if row.status is not None:
            return row, False
        raise _in_flight()
    taken = IdempotentRequest.objects.filter(free, pk=row.pk, claim=row.claim).update(status=None, answer="", **ours)
    if not taken:
        raise _in_flight()
    row.refresh_from_db()
    return row, True


def _free(now: datetime) -> Q:
    """Rows that anybody may take over: expired ones, and claims of processes that did not come back."""
    return Q(claimed_until__lte=now) & (Q(status=None) | Q(expires_at__lte=now))


def _held(row: IdempotentRequest) -> Any:
    return IdempotentRequest.objects.filter(pk=row.pk, claim=row.claim, status=None)


def _in_flight() -> ApiProblem:
    return ApiProblem(
        409, "in-flight", "The same request is being worked on. Repeat it in a moment for its answer.", retry_after=1
    )


def forget_expired() -> int:
    """Remove answers that are kept no longer; the relay calls this. Return how many."""
    found = IdempotentRequest.objects.filter(_free(timezone.now()), expires_at__lte=timezone.now())
    ids = list(found.values_list("pk", flat=True)[:REMOVED_AT_ONCE])
    return IdempotentRequest.objects.filter(_free(timezone.now()), pk__in=ids).delete()[0]
