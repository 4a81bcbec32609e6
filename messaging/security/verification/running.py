"""Running rules under a time limit.

Rules run one after another in a thread of the runner's, so a batch costs one hand-over. A call that takes too long is
left alone together with its thread, and another thread goes on; a rule that does so again and again is not called any
more in this process. What holds the interpreter itself, such as Python's ``re`` on a bad pattern, cannot be left alone:
rules should use google-re2.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple

MAX_HANGS = 3
"""Of one rule in one process; then it is not called any more, for each took a thread away."""
MAX_IDLE = 4


class TimedCall(NamedTuple):
    """Something to call.

    Args:
        name: hangs are counted by it.
        function: what is called.
        limit: seconds that it may take.
        arguments: of the function.
    """

    name: str
    function: Callable[..., Any]
    limit: float
    arguments: tuple[Any, ...] = ()


@dataclass(slots=True)
class CallOutcome:
    """How a call went.

    Args:
        value: what it returned.
        error: what it raised, or None.
        hung: it took too long, or was not called because it did so too often.
        duration: seconds.
    """

    value: Any = None
    error: BaseException | None = None
    hung: bool = False
    duration: float = 0.0


@dataclass(slots=True)
class _Job:
    calls: Sequence[TimedCall]
    outcomes: list[CallOutcome] = field(default_factory=list)
    started: float = 0.0
    abandoned: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.ended = threading.Condition(self.lock)


class TimedRunner:
    """Runs calls; safe to use from several threads."""

    def __init__(self) -> None:
        self._hangs: Counter[str] = Counter()
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _end, self._idle)

    def run(self, calls: Sequence[TimedCall]) -> list[CallOutcome]:
        """Run calls in their order and return their outcomes."""
        outcomes: list[CallOutcome] = []
        while len(outcomes) < len(calls):  # every turn settles one call at least
            if self._hangs[calls[len(outcomes)].name] >= MAX_HANGS:
                outcomes.append(CallOutcome(hung=True))
                continue
            outcomes += self._run_some(self._callable(calls[len(outcomes) :]))
        return outcomes

    def suspended(self, name: str) -> bool:
        """Tell whether something is not called any more."""
        return self._hangs[name] >= MAX_HANGS

    def _callable(self, calls: Sequence[TimedCall]) -> Sequence[TimedCall]:
        """The calls up to the first that is not called any more."""
        for number, call in enumerate(calls):
            if self._hangs[call.name] >= MAX_HANGS:
                return calls[:number]
        return calls

    def _run_some(self, calls: Sequence[TimedCall]) -> list[CallOutcome]:
        """Run calls up to the end, or to the first that hangs."""
        job = _Job(calls)
        jobs = self._take()
        with job.lock:
            job.started = time.monotonic()
            jobs.put(job)
            while len(job.outcomes) < len(calls):
                call = calls[len(job.outcomes)]
                left = job.started + call.limit - time.monotonic()
                if left <= 0:
                    job.abandoned = True
                    self._hangs[call.name] += 1
                    return [*job.outcomes, CallOutcome(hung=True, duration=call.limit)]
                job.ended.wait(left)
        self._give_back(jobs)
        return job.outcomes

    def _take(self) -> SimpleQueue[_Job | None]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(jobs,), name="nexus-verification", daemon=True).start()
        return jobs

    def _give_back(self, jobs: SimpleQueue[_Job | None]) -> None:
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(jobs)
                return
        jobs.put(None)


def _end(idle: Sequence[SimpleQueue[_Job | None]]) -> None:
    """End the threads of a runner that is not used any more."""
    for jobs in idle:
        jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        for call in job.calls:
            outcome = _call(call)
            with job.lock:
                if job.abandoned:
                    return
                job.outcomes.append(outcome)
                job.started = time.monotonic()
                if len(job.outcomes) == len(job.calls):
                    job.ended.notify()


def _call(call: TimedCall) -> CallOutcome:
    started = time.monotonic()
    try:
        value = call.function(*call.arguments)
    except BaseException as error:  # noqa: BLE001 - whatever a rule raises, even SystemExit, is its failure alone
        return CallOutcome(error=error, duration=time.monotonic() - started)
    return CallOutcome(value, None, False, time.monotonic() - started)
