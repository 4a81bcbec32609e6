"""Which types of messages are encrypted: ``NEXUS["ENCRYPTED_TYPES"]``.

>>> types = EncryptedTypes.parse("payment.card, medical.*")
>>> types.cover("medical.report.new"), types.cover("payment.card"), types.cover("payment.cards")
(True, True, False)
>>> bool(EncryptedTypes.parse(""))
False
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from messaging.core.describing import safe_repr
from messaging.core.errors import ConfigurationError
from messaging.core.names import TYPE_NAME_RULE, is_type_name


@dataclass(frozen=True, slots=True)
class EncryptedTypes:
    """Types by name, and by what they begin with."""

    names: frozenset[str] = frozenset()
    beginnings: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read types, separated by commas; ``medical.*`` means all that begin with ``medical.``, ``*`` all.

        Raises:
            ConfigurationError: one of them is no type's name.
        """
        names, beginnings = set(), []
        for part in filter(None, (part.strip() for part in text.split(","))):
            if part == "*":
                beginnings.append("")
            elif not is_type_name(part.removesuffix(".*")):
                raise ConfigurationError(
                    f"NEXUS['ENCRYPTED_TYPES']: {safe_repr(part)[:100]} is no message type ({TYPE_NAME_RULE}), "
                    "optionally with .* behind it."
                )
            elif part.endswith(".*"):
                beginnings.append(part[:-1])
            else:
                names.add(part)
        return cls(frozenset(names), tuple(beginnings))

    def __bool__(self) -> bool:
        return bool(self.names or self.beginnings)

    def cover(self, type: str) -> bool:
        """Whether messages of that type are encrypted."""
        return type in self.names or type.startswith(self.beginnings)
