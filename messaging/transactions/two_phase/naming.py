"""Names: of the coordinator and its messages, of prepared transactions, and of the database that keeps decisions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from messaging.log import rows
from messaging.models import TwoPhaseInstallation

COORDINATOR = "nexus-two-phase"
BEGIN, PREPARE, COMMIT, ABORT, REPLIED = (
    "two_phase.begin",
    "two_phase.prepare",
    "two_phase.commit",
    "two_phase.abort",
    "two_phase.replied",
)
PREFIX = "nexus"
_ROW = "two-phase"


@dataclass(frozen=True, slots=True)
class Xid:
    """The parts of a prepared transaction's name."""

    run: UUID
    branch: str


def xid_prefix() -> str:
    """How the names of this installation's prepared transactions begin."""
    return f"{PREFIX}:{installation().identifier}:"


def xid_of(prefix: str, run: UUID, branch: str) -> str:
    """The name of a participant's prepared transaction."""
    return f"{prefix}{run.hex}:{branch}"


def parse_xid(xid: str, prefix: str) -> Xid | None:
    """Read a name; None where it is not one of ours."""
    run, found, branch = xid.removeprefix(prefix).partition(":")
    try:
        return Xid(UUID(run), branch) if found and xid.startswith(prefix) else None
    except ValueError:
        return None


def installation() -> TwoPhaseInstallation:
    """This installation's row, made when it is first asked for."""
    row, _ = TwoPhaseInstallation.objects.get_or_create(name=_ROW, defaults={"identifier": secrets.token_hex(6)})
    return row


def incarnation() -> str:
    """Changes when the database that keeps the decisions was restored, or a replica of it took over.

    Decisions may have been lost then. A restored copy of the files alone does not show: ``raise_epoch`` is for that.
    """
    epoch = installation().epoch
    if not rows.on_postgres():
        return str(epoch)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_database.oid"
            " FROM pg_control_system(), pg_database WHERE datname = current_database()"
        )
        system, timeline, database = cursor.fetchone()
    return f"{epoch}:{system}:{timeline}:{database}"


def raise_epoch() -> None:
    """From now on nothing is presumed about what was started before."""
    with transaction.atomic():
        installation()
        TwoPhaseInstallation.objects.filter(name=_ROW).update(epoch=F("epoch") + 1)
