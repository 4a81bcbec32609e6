"""From an older version of a type's data to a newer one.

    @upcaster("order.placed", 1, 2)
    def add_currency(data):
        return {**data, "currency": "EUR"}

Steps compose: with 1 → 2 and 2 → 3, a message of version 1 is brought to version 3. Write an upcaster as a pure
function of the data: it runs again on every redelivery and replay.
"""

from __future__ import annotations

import copy
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from messaging.core.errors import SchemaError, UpcastFailed
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.uri import SchemaKey, build_uri
from messaging.security.schemas.validation import violation_of

Step = Callable[[Any], Any]
Function = TypeVar("Function", bound=Step)


class Upcasters:
    """The steps between versions, by type."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[int, dict[int, Step]]] = {}

    def add(self, type: str, old: int, new: int, step: Step) -> None:
        """Add a step.

        Raises:
            SchemaError: it leads to no newer version, or there is another one already.
        """
        build_uri(type, old), build_uri(type, new)
        if new <= old:
            raise SchemaError(
                f"upcaster({type!r}, {old}, {new}): leads to no newer version. Write the older one first."
            )
        present = self._steps.setdefault(type, {}).setdefault(old, {}).setdefault(new, step)
        if present is not step:
            raise SchemaError(f"upcaster({type!r}, {old}, {new}): is defined twice, also as {present!r}. Remove one.")

    def path(self, key: SchemaKey, version: int) -> list[int]:
        """The versions on the way, without the first; the fewest steps.

        Raises:
            UpcastFailed: there is no way; names the step that is missing.
        """
        steps = self._steps.get(key.type, {})
        ways: dict[int, list[int]] = {key.version: []}
        waiting = deque([key.version])
        while waiting:
            at = waiting.popleft()
            if at == version:
                return ways[at]
            for following in sorted(steps.get(at, {}), reverse=True):
                if following <= version and following not in ways:
                    ways[following] = [*ways[at], following]
                    waiting.append(following)
        reached = max(ways)
        raise UpcastFailed(
            f"Message type {key.type!r}: version {key.version} cannot be brought to version {version}: no step leads "
            f"on from version {reached}. Write @upcaster({key.type!r}, {reached}, {min(reached + 1, version)})."
        )

    def upcast(self, registry: SchemaRegistry, key: SchemaKey, data: Any, version: int | None = None) -> Any:
        """Bring data to a newer version.

        Args:
            registry: the schemas; the outcome of each step must follow its version's.
            key: what the data are.
            data: not changed; the result shares nothing with it.
            version: what is wanted; None for the newest.

        Raises:
            UnknownSchema: there is no such version.
            UpcastFailed: a step is missing, failed, or made what its version's schema does not allow.
        """
        wanted = registry.require(key.type, version).key.version
        if wanted == key.version:
            return data
        data, at = copy.deepcopy(data), key.version
        for following in self.path(key, wanted):
            data = _run(self._steps[key.type][at][following], SchemaKey(key.type, at), following, data)
            if following in registry.versions(key.type):
                violation = violation_of(registry.require(key.type, following), data)
                if violation is not None:
                    raise UpcastFailed(
                        f"The upcaster of {key.type!r} from version {at} to {following} made what version {following} "
                        f"does not allow: {'; '.join(violation.problems)}. Correct the upcaster."
                    )
            at = following
        return data

    def bring(self, registry: SchemaRegistry, key: SchemaKey, data: Any, version: int) -> Any:
        """Bring data to a newer version. Where no step leads on, data that follow the next version as they are count as
        that version's: compatible versions need no upcaster.

        Args:
            registry: the schemas; the outcome must follow its version's.
            key: what the data are.
            data: not changed.
            version: that is wanted.

        Raises:
            UnknownSchema: there is no such version.
            UpcastFailed: a step is missing, failed, or made what its version's schema does not allow.
        """
        at = key.version
        while at < version:
            leading = [one for one in self._steps.get(key.type, {}).get(at, ()) if one <= version]
            if leading:
                following = max(leading)
                data = self.upcast(registry, SchemaKey(key.type, at), data, following)
            else:
                following = min(one for one in [*registry.versions(key.type), version] if one > at)
                if violation_of(registry.require(key.type, following), data) is not None:
                    self.path(SchemaKey(key.type, at), following)  # says which step is missing
            at = following
        return data


def _run(step: Step, key: SchemaKey, version: int, data: Any) -> Any:
    try:
        return step(data)
    except Exception as error:  # noqa: BLE001 - it is the user's function; whatever it raises is told and ends there
        # An exception's text may quote the data, so only its kind and place are told.
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise UpcastFailed(
            f"The upcaster of {key.type!r} from version {key.version} to {version} raised {type(error).__name__} at "
            f"{place.filename}:{place.lineno}. Correct it; data of version {key.version} may come at any time."
        ) from None


upcasters = Upcasters()
"""The steps of this process."""


def upcaster(type: str, old: int, new: int) -> Callable[[Function], Function]:
    """Register a function that brings data of one version to a newer one. It returns the new data.

    Args:
        type: of the message.
        old, new: versions.

    Raises:
        SchemaError: it leads to no newer version, or there is another one already.
    """

    def register(function: Function) -> Function:
        upcasters.add(type, old, new, function)
        return function

    return register
