"""The audit, once with real processes and faults, once in legacy mode."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

from django.db.models import Count
from django.utils import timezone

from examples.audit_team.store import MemoryStore
from examples.audit_team.team import ANALYSTS, CLIENT, build_team
from examples.harness import faults
from examples.harness.environment import WORKFLOW
from examples.harness.figures import Figures, read_answer, take_figures
from examples.harness.options import Options
from examples.harness.processes import Crew
from examples.harness.progress import Progress, bar
from messaging.api import ReliableCommunicationBus
from messaging.models import OPEN_STATUSES, Delivery, DeliveryState, WorkerStatus, Workflow, WorkflowStatus
from messaging.transport.current import get_broker
from messaging.transport.wire import marked_queues

START_TIMEOUT = 60.0
SETTLE_TIMEOUT = 20.0
_pause = threading.Event()


class RunFailed(Exception):
    """The audit did not come to its end; the message says where it stands."""


@dataclass(slots=True)
class Faults:
    """What was broken.

    Args:
        out_of_order: deliveries published before one that comes earlier in their mailbox.
        republished: messages of which two more copies were published.
        kills: workers killed.
        killed_with: leased messages that a killed worker was working on.
    """

    out_of_order: int = 0
    republished: int = 0
    kills: int = 0
    killed_with: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What the durable run gave. ``files`` is 0 when it did not come to its end."""

    figures: Figures
    faults: Faults
    files: int
    sha256: str
    seconds: float
    failure: str = ""


def order_for(options: Options, report: Path) -> dict[str, Any]:
    """What the client asks the planner for."""
    return {
        "folder": str(options.folder),
        "title": options.folder.name,
        "limit": options.max_files,
        "report": str(report),
    }


def run_legacy(options: Options, report: Path) -> float:
    """Run the same audit in this process, without database and broker. Return its seconds."""
    began = monotonic()
    bus = ReliableCommunicationBus(legacy_mode=True)
    for spec in build_team(MemoryStore()):
        bus.register_agent(spec.name, spec.handler, kind=spec.kind)
    bus.register_agent(CLIENT)
    workflow = bus.start_workflow("audit")
    bus.send(workflow, "planner", "audit.start", order_for(options, report), sender=CLIENT)
    bus.close()
    return monotonic() - began


class DurableRun:
    """The audit with two workers and a relay, which are broken halfway.

    Args:
        options: of the demo.
        crew: the processes.
        progress: where it shows how far it is.
    """

    def __init__(self, options: Options, crew: Crew, progress: Progress) -> None:
        self._options = options
        self._crew = crew
        self._progress = progress
        self._bus = ReliableCommunicationBus()
        self._began_at: datetime = timezone.now()
        self._deadline = monotonic() + options.timeout
        self.faults = Faults()

    def run(self, report: Path) -> RunResult:
        """Start the processes, do the job, end them, count.

        Raises:
            RunFailed: the processes did not start.
        """
        self._start()
        self._bus.register_agent(CLIENT, description="the demo")
        workflow = self._bus.start_workflow(f"{WORKFLOW}{self._options.folder.name}"[:200])
        began = monotonic()
        self._bus.send(workflow, "planner", "audit.start", order_for(self._options, report), sender=CLIENT)
        failure = ""
        try:
            self._watch(workflow)
        except RunFailed as failed:
            failure = str(failed)
        seconds = monotonic() - began
        answer = read_answer(workflow)
        if not failure:
            self._settle()
        self._crew.stop()
        figures = take_figures(workflow, self._began_at)
        if Workflow.objects.filter(pk=workflow, status__in=OPEN_STATUSES).exists():
            self._bus.complete_workflow(workflow)
        self._bus.close()
        return RunResult(
            figures=figures,
            faults=self.faults,
            files=answer.data["files"] if answer else 0,
            sha256=answer.data["sha256"] if answer else "",
            seconds=seconds,
            failure=failure,
        )

    def _start(self) -> None:
        self._progress.event("starting two workers and a relay")
        self._crew.start()
        deadline = monotonic() + START_TIMEOUT
        while WorkerStatus.objects.filter(started_at__gte=self._began_at).count() < len(self._crew.workers):
            self._check_processes()
            if monotonic() > deadline:
                raise RunFailed(
                    f"The workers did not start within {START_TIMEOUT:g} s; see {self._crew.workers[0].log}"
                )
            _pause.wait(0.1)

    def _check_processes(self) -> None:
        dead = self._crew.dead()
        if dead is not None:
            raise RunFailed(f"The {dead.name} ended by itself. Its log, {dead.log}, ends:\n{dead.tail()}")

    def _watch(self, workflow: UUID) -> None:
        """Wait for the reporter's answer and break things halfway.

        Raises:
            RunFailed: it does not come.
        """
        while read_answer(workflow) is None:
            counts = self._counts(workflow)
            self._show(counts)
            examined = sum(counts[agent, DeliveryState.PROCESSED] for agent in ANALYSTS)
            handed_out = sum(count for (agent, _), count in counts.items() if agent in ANALYSTS)
            if not self.faults.kills and handed_out and examined * 3 >= handed_out:
                self._break(workflow)
            self._check(workflow, counts)
            _pause.wait(0.05)
        self._show(self._counts(workflow))
        self._progress.event("the report is written")

    def _check(self, workflow: UUID, counts: Counter[tuple[str, str]]) -> None:
        self._check_processes()
        status, reason = Workflow.objects.values_list("status", "status_reason").get(pk=workflow)
        if status != WorkflowStatus.RUNNING:
            raise RunFailed(f"The workflow is {status}: {reason}")
        if monotonic() > self._deadline:
            where = ", ".join(f"{agent}: {count} {state}" for (agent, state), count in sorted(counts.items()))
            raise RunFailed(f"Not done after {self._options.timeout:g} s ({where}). Give it more time: --timeout")

    def _counts(self, workflow: UUID) -> Counter[tuple[str, str]]:
        found = Delivery.objects.filter(workflow=workflow).values_list("agent", "state").annotate(count=Count("pk"))
        return Counter({(agent, state): count for agent, state, count in found})

    def _show(self, counts: Counter[tuple[str, str]]) -> None:
        total = counts.total()
        done = sum(count for (_, state), count in counts.items() if state == DeliveryState.PROCESSED)
        held = sum(count for (_, state), count in counts.items() if state == DeliveryState.HELD)
        checked = counts["reporter", DeliveryState.PROCESSED]
        self._progress.update(
            f"{bar(done, total)} {done:,} of {total:,} messages handled, {held:,} held, {checked:,} at the reporter"
        )

    def _break(self, workflow: UUID) -> None:
        broker = get_broker()
        victim = self._crew.workers[0]
        withheld = faults.withhold(broker, workflow)
        self._progress.event(f"{len(withheld)} messages taken out of the queue")
        # At once: the other worker goes on, and what comes late is not early any more.
        self.faults.out_of_order = faults.publish_out_of_order(broker, workflow, withheld)
        self._progress.event(f"{self.faults.out_of_order} messages published before their predecessors were handled")
        self.faults.killed_with = faults.kill_at_work(victim, workflow)
        self.faults.kills += 1
        at_work = self.faults.killed_with
        self._progress.event(f"{victim.name} killed with SIGKILL while it worked on {at_work} message(s)")
        self.faults.republished = faults.republish(broker, workflow, self._options.seed)
        self._progress.event(f"{self.faults.republished} messages published twice more")
        broker.close()
        victim.start()
        self._progress.event(f"{victim.name} started again")

    def _settle(self) -> None:
        """Let the workers see the copies that are still in the queues: they must make no difference."""
        broker = get_broker()
        queues = list(marked_queues().values())
        unhandled = Delivery.objects.filter(state__in=[DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.LEASED])
        deadline = monotonic() + SETTLE_TIMEOUT
        quiet = 0
        while quiet < 3 and monotonic() < deadline:
            _pause.wait(0.2)
            empty = all(broker.queue_depth(queue) == 0 for queue in queues)
            quiet = quiet + 1 if empty and not unhandled.exists() else 0
        broker.close()
