"""A saga as a step of another: its steps become steps of the outer plan, so one journal and one way back serve both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

import msgspec

from messaging.transactions.plan import PlannedStep, When, rewrite_places

Stages = tuple[tuple[PlannedStep, ...], ...]


@dataclass(frozen=True, slots=True)
class SubSaga:
    """A saga that is a step.

    Args:
        name: of the step.
        inner: stages of the saga, as it stands alone.
        input: where its input is in the outer saga.
        when: conditions on the whole.
    """

    name: str
    inner: Stages
    input: str
    when: tuple[When, ...]

    @property
    def stages(self) -> Stages:
        """Its stages as those of the outer saga."""
        return tuple(tuple(self._outer(step) for step in stage) for stage in self.inner)

    def _outer(self, step: PlannedStep) -> PlannedStep:
        return msgspec.structs.replace(
            step,
            name=f"{self.name}/{step.name}",
            scope=f"{self.name}/{step.scope}",
            takes=self._path(step.takes),
            when=(*self.when, *(msgspec.structs.replace(when, path=self._path(when.path)) for when in step.when)),
            locks=tuple(rewrite_places(lock, self._path) for lock in step.locks),
        )

    def _path(self, path: str) -> str:
        """A path in the inner saga, seen from the outer one."""
        first, dot, rest = path.partition(".")
        return f"{self.input if first == 'input' else f'{self.name}/{first}'}{dot}{rest}"


def side_by_side(items: Iterable[PlannedStep | SubSaga]) -> Stages:
    """The stages of what runs side by side."""
    branches = [item.stages if isinstance(item, SubSaga) else ((item,),) for item in items]
    return tuple(
        tuple(step for stage in together for step in stage) for together in zip_longest(*branches, fillvalue=())
    )
