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


class TimedFunction(NamedTuple):
    """Something to call, with one subject after another.

    Args:
        name: hangs are counted by it.
        function: called with a subject and the settings.
        limit: seconds that a call may take.
        settings: of the function.
    """

    name: str
    function: Callable[[Any, Any], Any]
    limit: float
    settings: Any = None


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
class CallOutcomes:
    """How calls went. (Most return None: there is no object for each of those.)

    Args:
        durations: seconds of each call, in their order.
        notable: by their numbers, those that returned something, raised or hung.
    """

    durations: list[float] = field(default_factory=list)
    notable: dict[int, CallOutcome] = field(default_factory=dict)

    def add(self, outcome: CallOutcome) -> None:
        """Add one that is notable."""
        self.notable[len(self.durations)] = outcome
        self.durations.append(outcome.duration)

    def extend(self, other: CallOutcomes) -> None:
        """Add those of the calls that came next."""
        first = len(self.durations)
        for number, outcome in other.notable.items():
            self.notable[first + number] = outcome
        self.durations += other.durations


class _Job:
    """Calls that a thread makes while another one looks at the clock.

    No lock for each call: the one thread only appends, and the other takes up to what it saw. ``started`` is set before
    a call counts as done, so that the next one is never given less time than it may take.
    """

    def __init__(self, calls: Sequence[TimedFunction], subjects: Sequence[Any]) -> None:
        self.calls, self.subjects = calls, subjects
        self.outcomes = CallOutcomes()
        self.abandoned = False
        self.running = threading.Lock()
        self.running.acquire()
        self.started = time.monotonic()

    def run(self) -> bool:
        """Make the calls; False where they were abandoned, so that the thread ends."""
        notable, count = self.outcomes.notable, self.outcomes.durations.append
        self.started = started = time.monotonic()
        for number, ((_, function, _, settings), subject) in enumerate(zip(self.calls, self.subjects, strict=True)):
            value = error = None
            try:
                value = function(subject, settings)
            except BaseException as raised:  # noqa: BLE001 - whatever a rule raises, even SystemExit, is its failure alone
                error = raised
            now = time.monotonic()
            if self.abandoned:
                return False
            duration = now - started
            if value is not None or error is not None:
                notable[number] = CallOutcome(value, error, False, duration)
            self.started = started = now
            count(duration)
        self.running.release()
        return True

    def wait(self) -> CallOutcomes:
        """The outcomes up to the end, or to the first call that hangs, which is the last of them then."""
        while True:
            number = len(self.outcomes.durations)
            if number == len(self.calls):
                self.running.acquire()  # it is about to be released, if it was not
                return self.outcomes
            limit = self.calls[number].limit
            left = self.started + limit - time.monotonic()
            if left <= 0:
                self.abandoned = True
                found = CallOutcomes(
                    self.outcomes.durations[:number],
                    {key: one for key, one in list(self.outcomes.notable.items()) if key < number},
                )
                found.add(CallOutcome(hung=True, duration=limit))
                return found
            if self.running.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
                return self.outcomes


class TimedRunner:
    """Runs calls; safe to use from several threads."""

    def __init__(self) -> None:
        self._hangs: Counter[str] = Counter()
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _end, self._idle)

    def run(self, calls: Sequence[TimedFunction], subjects: Sequence[Any]) -> CallOutcomes:
        """Call functions in their order, each with the subject that stands at its place; return how that went."""
        outcomes = CallOutcomes()
        while (done := len(outcomes.durations)) < len(calls):  # every turn settles one call at least
            if self.suspended(calls[done].name):
                outcomes.add(CallOutcome(hung=True))
                continue
            end = self._callable_up_to(calls, done)
            whole = done == 0 and end == len(calls)
            outcomes.extend(self._run_some(*((calls, subjects) if whole else (calls[done:end], subjects[done:end]))))
        return outcomes

    def suspended(self, name: str) -> bool:
        """Tell whether something is not called any more."""
        return bool(self._hangs) and self._hangs[name] >= MAX_HANGS

    def _callable_up_to(self, calls: Sequence[TimedFunction], first: int) -> int:
        """The number of the first call that is not made any more, or of calls."""
        if self._hangs:
            for number in range(first, len(calls)):
                if self.suspended(calls[number].name):
                    return number
        return len(calls)

    def _run_some(self, calls: Sequence[TimedFunction], subjects: Sequence[Any]) -> CallOutcomes:
        """Run calls up to the end, or to the first that hangs."""
        job, jobs = _Job(calls, subjects), self._take()
        jobs.put(job)
        outcomes = job.wait()
        if job.abandoned:
            self._hangs[calls[len(outcomes.durations) - 1].name] += 1
            jobs.put(None)  # for a thread that came to its end just when it was abandoned
        else:
            self._give_back(jobs)
        return outcomes

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
        if not job.run():
            return
        del job  # a batch is not kept until the next one comes
