"""A key service outside in the place of the master key (NEXUS_KEY_VAULT): asked for keys, never for a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from messaging.core.errors import SigningKeyError
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, SigningKey
from messaging.operators.verifying import verify_log
from messaging.security.signatures import changing, keys
from messaging.security.signatures.sealing import LocalVault, Sealed
from tests.support.lab import Lab


class Service:
    """What a key management service does: it has the master key, and says no when it is down."""

    def __init__(self) -> None:
        self._keys = LocalVault([b"k" * 32])
        self.asked: Counter[str] = Counter()
        self.down = False

    def _ask(self, what: str) -> LocalVault:
        if self.down:
            raise SigningKeyError("The key service does not answer.")
        self.asked[what] += 1
        return self._keys

    def seal(self, secret: bytes, context: Sequence[str]) -> Sealed:
        return self._ask("seal").seal(secret, context)

    def open(self, sealed: Sealed, context: Sequence[str]) -> bytes:
        return self._ask("open").open(sealed, context)

    def knows(self, master: str) -> bool:
        return self._ask("knows").knows(master)

    def certify(self, facts: Sequence[str]) -> bytes:
        return self._ask("certify").certify(facts)

    def certified(self, master: str, facts: Sequence[str], certificate: bytes) -> bool:
        return self._ask("certified").certified(master, facts, certificate)


_running: list[Service] = []


def make_vault() -> Service:
    """What the setting names."""
    return _running[-1]


@pytest.fixture
def service(lab: Lab) -> Iterator[Service]:
    _running.append(Service())
    lab.configure(key_vault=f"{__name__}.make_vault")
    keys.forget()
    yield _running[-1]
    _running.pop()


def test_a_key_service_is_asked_for_keys_and_never_for_messages(lab: Lab, service: Service) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.settle()
    asked = service.asked.copy()
    assert asked["seal"] == asked["certify"] == 1
    for number in range(20):
        lab.send(workflow, "a", number)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == list(range(1, 22))
    assert service.asked == asked
    changing.rotate("nexus", who="test")
    lab.send(workflow, "a")
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == list(range(1, 23))
    assert list(verify_log()) == []
    assert changing.reseal(who="test") == 2


def test_a_key_service_that_is_down_delays_and_loses_nothing(
    lab: Lab, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    stored = lab.take_offered()
    service.down = True
    keys.forget()
    with pytest.raises(SigningKeyError, match="does not answer"):
        lab.send(workflow, "a")
    lab.publish(stored)
    assert lab.work() == {Outcome.RETRY: 1}
    assert not DeadLetter.objects.exists()
    service.down = False
    monkeypatch.setattr(keys, "ASK_AGAIN", 0.0)
    lab.settle(step=5.0)
    assert lab.ledger.handled(workflow, "a") == [1]
    assert SigningKey.objects.count() == 1


def test_a_vault_that_is_not_there_is_named(lab: Lab) -> None:
    lab.configure(key_vault="nowhere.make")
    keys.forget()
    with pytest.raises(SigningKeyError, match="NEXUS_KEY_VAULT names nowhere"):
        lab.send(lab.workflow(), "web")
