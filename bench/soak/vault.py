"""A key store that can be away, as a key management service can: NEXUS_KEY_VAULT names ``make``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.soak.names import MASTER_KEY, VAULT_FILE
from messaging.core.errors import SigningKeyError
from messaging.security.signatures.sealing import LocalVault, Sealed


class SoakVault(LocalVault):
    """Away while a file exists; each question meanwhile adds a byte to ``<file>.refused``.

    Args:
        key: the master key.
        file: see there.
    """

    def __init__(self, key: bytes, file: Path | None) -> None:
        super().__init__([key])
        self._file = file

    def _ask(self) -> None:
        if self._file is not None and self._file.exists():
            with self._file.with_suffix(".refused").open("ab") as refused:
                refused.write(b".")
            raise SigningKeyError("The soak's key store is away. Try again later.")

    def seal(self, secret: bytes, context: Sequence[str]) -> Sealed:
        self._ask()
        return super().seal(secret, context)

    def open(self, sealed: Sealed, context: Sequence[str]) -> bytes:
        self._ask()
        return super().open(sealed, context)

    def knows(self, master: str) -> bool:
        self._ask()
        return super().knows(master)

    def certify(self, facts: Sequence[str]) -> bytes:
        self._ask()
        return super().certify(facts)

    def certified(self, master: str, facts: Sequence[str], certificate: bytes) -> bool:
        self._ask()
        return super().certified(master, facts, certificate)


def make() -> SoakVault:
    """The vault of this process."""
    file = os.environ.get(VAULT_FILE)
    return SoakVault(bytes.fromhex(os.environ[MASTER_KEY]), Path(file) if file else None)
