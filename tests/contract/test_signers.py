"""Who may sign, with keys that only their own host has; rotation by the calendar; workers that disagree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

import pytest
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone

from messaging.checks.signing import check_agreement
from messaging.core.errors import MayNotSignFor, SigningKeyError
from messaging.core.ids import uuid7
from messaging.core.outcome import Outcome
from messaging.models import (
    DeadLetter,
    Message,
    SigningChange,
    SigningExemption,
    SigningKey,
    SigningState,
    WorkerStatus,
    Workflow,
)
from messaging.observing.probes import check_signatures
from messaging.operators.verifying import verify_log
from messaging.recovery.rotating import rotate_keys
from messaging.security.signatures import changing, keys
from messaging.security.signatures.algorithms import Algorithm, new_secret, public_part
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.sealing import LocalVault
from messaging.security.signatures.stored import open_secret
from tests.integration.test_commands import run
from tests.support.lab import Lab

MASTER = "11" * 32


@pytest.fixture
def workflow(lab: Lab) -> UUID:
    lab.configure(master_key=MASTER)
    keys.forget()
    lab.agent("a")
    lab.bus.register_agent("other")
    return lab.workflow()


@contextmanager
def web_host(lab: Lab, secret: str, root: str) -> Iterator[None]:
    """For its block this process is a web host: it has its own key and no master key."""
    lab.configure(master_key="", signer="web", signing_key=secret, trusted_root=root)
    keys.forget()
    yield
    lab.configure(master_key=MASTER, signer="nexus", signing_key="", trusted_root="")
    keys.forget()


def root() -> str:
    vault = get_vault()
    assert isinstance(vault, LocalVault)
    return vault.roots[0].hex()


def registered(agents: str = "web,web-*") -> tuple[str, SigningKey]:
    secret = new_secret()
    row = changing.register(signer="web", agents=agents, public=public_part(Algorithm.ED25519, secret), who="test")
    return secret.hex(), changing.activate(row.kid, who="test")


# --- a host without the master key ---


def test_a_web_host_signs_with_its_own_key_and_verifies_everybody(lab: Lab, workflow: UUID) -> None:
    lab.send(workflow, "a")  # by the key of the workers
    secret, row = registered()
    with web_host(lab, secret, root()):
        second = lab.send(workflow, "a")
        lab.publish()
        lab.work()  # it holds no private key but its own, and verifies both
        assert lab.ledger.handled(workflow, "a") == [1, 2]
        with pytest.raises(MayNotSignFor, match="'other'"):
            lab.bus.send(workflow, "a", "test.message", sender="other")
        with pytest.raises(SigningKeyError, match="no master key"):
            changing.create(signer="web", who="test")
        stored = SigningKey.objects.get(signer="nexus")
        with pytest.raises(SigningKeyError, match="no master key"):
            open_secret(stored)
        lab.send(workflow, "a")
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]
    assert Message.objects.get(pk=second).signature.startswith(changing.signed_with(row))
    assert bytes(row.sealed) == b""
    assert list(verify_log()) == []


def test_what_a_web_host_signs_for_others_is_refused(lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, _ = registered()
    with web_host(lab, secret, root()):
        monkeypatch.setattr(keys.MessageSigner, "check_senders", lambda *_: None)  # it was taken over
        lab.bus.send(workflow, "a", "test.message", sender="other")
    lab.publish()
    lab.work()
    assert lab.ledger.handled(workflow, "a") == []
    assert "may not sign for 'other'" in DeadLetter.objects.get().detail
    assert Workflow.objects.get().status == "parked"


def test_a_key_that_was_not_registered_signs_nothing(lab: Lab, workflow: UUID) -> None:
    _, row = registered()
    with web_host(lab, new_secret().hex(), root()), pytest.raises(SigningKeyError, match="nexus_keys register"):
        lab.send(workflow, "a")
    SigningKey.objects.filter(pk=row.pk).update(agents="*")  # by somebody who can write to the database
    keys.renew_token()
    assert "not written by a holder" in keys.verifying().keys[row.kid].problem


def test_another_root_decides_nothing(lab: Lab, workflow: UUID) -> None:
    lab.send(workflow, "a")
    secret, _ = registered()
    foreign = LocalVault([b"\x22" * 32]).roots[0].hex()
    with web_host(lab, secret, foreign):
        lab.publish()
        assert lab.work() == {Outcome.RETRY: 1}
    assert not DeadLetter.objects.exists()


def test_a_web_hosts_key_is_replaced_without_a_gap(lab: Lab, workflow: UUID) -> None:
    old, row = registered()
    new = new_secret()
    following = changing.register(signer="web", agents="web", public=public_part(Algorithm.ED25519, new), who="test")
    with pytest.raises(SigningKeyError, match="on its own host"):
        changing.rotate("web", who="test")
    with web_host(lab, f"{new.hex()},{old}", root()):
        lab.send(workflow, "a")
        changing.activate(following.kid, who="test")
        lab.send(workflow, "a")
    lab.configure(master_key="33" * 32 + "," + MASTER)
    keys.forget()
    changing.reseal(who="test")
    lab.configure(master_key="33" * 32)
    keys.forget()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert SigningKey.objects.get(pk=row.pk).state == "retired"


def test_the_commands_of_a_host_of_its_own(lab: Lab, workflow: UUID, tmp_path: Path) -> None:
    public = run("nexus_keys", "generate", "--output", str(tmp_path / "web.key"))[1].strip()
    assert (tmp_path / "web.key").stat().st_mode & 0o777 == 0o600
    arguments = ("nexus_keys", "register", "--signer", "web", "--agents", "web", "--public", public)
    run(*arguments, "--activate")
    with pytest.raises(CommandError, match="already"):
        run(*arguments)
    trusted = run("nexus_keys", "root")[1].strip()
    lab.configure(master_key="", signer="web", signing_key_file=str(tmp_path / "web.key"), trusted_root=trusted)
    keys.forget()
    lab.send(workflow, "a")
    with pytest.raises(CommandError, match="master key is not here"):
        run("nexus_keys", "root")
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


# --- rotation by the calendar ---


def age(key: SigningKey, **times: float) -> None:
    """Move times of a key's row back."""
    values = {name: timezone.now() - timedelta(seconds=seconds) for name, seconds in times.items()}
    SigningKey.objects.filter(pk=key.pk).update(**values)


def test_the_relay_replaces_a_key_and_ends_the_overlap(lab: Lab, workflow: UUID) -> None:
    lab.configure(key_rotation_every=3_600.0, key_overlap=7_200.0)
    lab.send(workflow, "a")
    old = SigningKey.objects.get()
    assert rotate_keys() == 0
    age(old, activated_at=3_601)
    assert rotate_keys() == 1
    assert rotate_keys() == 0
    keys.forget()
    lab.send(workflow, "a")
    old.refresh_from_db()
    assert (old.state, SigningKey.objects.get(state="active").agents) == ("retired", old.agents)
    age(old, retired_at=7_201)
    assert rotate_keys() == 1
    old.refresh_from_db()
    assert (old.state, SigningExemption.objects.get().kid) == ("expired", old.kid)
    assert old.kid not in str(run("nexus_keys", "export")[1])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert list(verify_log()) == []
    done = [change.what for change in SigningChange.objects.filter(who__startswith="relay").order_by("pk")]
    assert done == ["created", "activated", "expired"]


def test_nothing_new_is_accepted_of_an_expired_key(lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.send(workflow, "a")
    lab.settle()
    stolen, old = keys.signing(), SigningKey.objects.get()
    changing.rotate("nexus", who="test")
    assert changing.expire(old.kid, who="test") == 0
    monkeypatch.setattr("messaging.sending.outbox.signing", lambda: stolen)
    lab.send(workflow, "a")
    lab.publish()
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert "is expired" in DeadLetter.objects.get().detail


class Killed(BaseException):
    """The relay dies here."""


@pytest.mark.parametrize("where", ["create", "activate", "exempt"])
def test_a_relay_that_dies_at_a_step_has_done_nothing_or_all(lab: Lab, workflow: UUID, where: str) -> None:
    lab.configure(key_rotation_every=3_600.0, key_overlap=7_200.0)
    lab.send(workflow, "a")
    first = SigningKey.objects.get()
    if where == "exempt":
        changing.rotate("nexus", who="test")
        age(first, retired_at=7_201)
    else:
        age(first, activated_at=3_601)
    before = list(SigningKey.objects.order_by("pk").values_list("pk", "state"))
    real = getattr(changing, where)

    def die(*args: object, **options: object) -> None:
        real(*args, **options)
        raise Killed

    with patch.object(changing, where, die), pytest.raises(Killed):
        rotate_keys()
    assert list(SigningKey.objects.order_by("pk").values_list("pk", "state")) == before
    assert not SigningExemption.objects.exists()
    assert rotate_keys() == 1
    assert SigningKey.objects.filter(state="active").count() == 1
    keys.forget()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_a_second_relay_that_saw_the_same_key_does_nothing(lab: Lab, workflow: UUID) -> None:
    lab.send(workflow, "a")
    seen = SigningKey.objects.get()
    made = changing.rotate("nexus", who="first", expected=seen.kid)
    assert changing.rotate("nexus", who="second", expected=seen.kid).kid == made.kid
    assert SigningKey.objects.count() == 2
    changing.expire(seen.kid, who="first")
    with pytest.raises(SigningKeyError, match="is expired"):
        changing.expire(seen.kid, who="second")


# --- workers that disagree ---


def worker(**fields: object) -> None:
    now = timezone.now()
    row = {"host": "h", "pid": 7, "thread": "t", "started_at": now, "heartbeat_at": now, "signer": "nexus", **fields}
    WorkerStatus.objects.create(id=uuid7(), **row)


def ids() -> list[str | None]:
    return [found.id for found in check_agreement()]


def test_a_consumers_row_says_how_it_signs(lab: Lab, workflow: UUID) -> None:
    lab.send(workflow, "a")
    lab.configure(master_key="22" * 32)
    keys.forget()
    lab.work()
    row = WorkerStatus.objects.get()
    assert (row.signing, row.signer) == ("enforce", "nexus")
    assert "does not have the master key" in row.signing_problem
    assert check_signatures().degraded


@pytest.mark.parametrize(
    ("fields", "blocks", "words"),
    [
        ({"signing": ""}, True, "knows no signatures"),
        ({"signing": "off"}, True, "NEXUS_SIGNING=off"),
        ({"signing": "sign"}, False, "NEXUS_SIGNING=sign"),
        ({"signing": "enforce", "signing_problem": "k: it is away"}, True, "it is away"),
    ],
)
def test_enforcing_waits_for_workers_that_disagree(
    lab: Lab, workflow: UUID, fields: dict[str, str], blocks: bool, words: str
) -> None:
    lab.configure(signing="report")
    lab.send(workflow, "a")
    lab.settle()
    WorkerStatus.objects.all().delete()
    worker(**fields)
    lab.configure(signing="enforce")
    assert ids() == ["nexus.E024" if blocks else "nexus.W009"]
    found = check_signatures()
    assert (found.ok, found.degraded, words in found.detail) == (True, True, True)
    if blocks:
        with pytest.raises(CommandError, match="Not yet"):
            run("nexus_keys", "preflight")
        with pytest.raises(CommandError, match=words):
            run("nexus_keys", "mode", "enforce")
        assert SigningState.objects.get().mode == "report"
        run("nexus_keys", "mode", "enforce", "--force")
    else:
        assert words in run("nexus_keys", "preflight")[1]
        run("nexus_keys", "mode", "enforce")
    assert SigningState.objects.get().mode == "enforce"
    assert ids() == ["nexus.W009"]  # what was begun is not stopped by a worker that comes later
    WorkerStatus.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert ids() == []
    assert not check_signatures().degraded


def test_back_goes_only_who_says_why(lab: Lab, workflow: UUID) -> None:
    lab.send(workflow, "a")
    lab.settle()
    lab.configure(signing="report")
    with pytest.raises(CommandError, match="--reason"):
        run("nexus_keys", "mode", "report")
    run("nexus_keys", "mode", "report", "--reason", "an old worker is back")
    assert SigningState.objects.get().mode == "report"
    change = SigningChange.objects.latest("pk")
    assert (change.what, change.detail) == ("mode", "lowered to report: an old worker is back")


def test_a_version_without_these_columns_writes_its_row(lab: Lab) -> None:
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO nexus_worker_status (id, host, pid, thread, started_at, heartbeat_at, outcomes)"
            " VALUES (%s, 'h', 1, 't', %s, %s, '{}')",
            [uuid7().hex, now, now],
        )
    assert ids() == ["nexus.W009"]
