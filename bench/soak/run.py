"""A soak: faults under load until the time is up, then calm, then the count."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from random import Random
from statistics import median
from typing import Any

import amqp
import psycopg

from bench.soak.embedded import disk_full
from bench.soak.evidence import evidence_line
from bench.soak.faults import FAULTS, SINGLE_NODE_ONLY
from bench.soak.ledger import RefusedCount, SagaCount
from bench.soak.operating import OperatorError
from bench.soak.options import SoakOptions
from bench.soak.site import Site
from messaging.testing.servers.nodes import NodeError
from messaging.testing.servers.processes import ProcessError
from messaging.testing.servers.waiting import WaitTimeout, wait_until

OTHERS = (OSError, amqp.AMQPError, psycopg.Error, subprocess.SubprocessError)
NOT_YET = (psycopg.Error, sqlite3.Error)
MAX_START = 60.0
MAX_RECOVERY = 60.0
MAX_DRAIN = 180.0
DISK_FULL = "disk full (embedded)"
LEAST_HANDLED = 100
MAX_WORK = 3.0
"""How often handlers may be called in a recovery for each handling that stays. Without faults it is 1.1: the calls
of ``slow`` leave none, and ``first`` fails now and then. What is sent meanwhile is handled as well, and all the more of
it the longer a busy machine takes to start what was killed: compared with what was owed when the fault ended, this
grew with the machine's load and said nothing of work done in vain."""
AFTERMATH = 4.0
"""Seconds in which late duplicates may still show themselves."""


@dataclass(slots=True)
class SoakProgress:
    """What happened so far."""

    faults: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[float, str]] = field(default_factory=list)
    work: list[tuple[float, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def say(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Soak:
    """One run.

    Args:
        site: running.
        options: see there.
    """

    def __init__(self, site: Site, options: SoakOptions) -> None:
        self._site = site
        self._options = options
        self._random = Random(options.seed)
        self.progress = SoakProgress()

    def run(self) -> dict[str, Any]:
        """Let it all happen; return the summary."""
        began = time.monotonic()
        self._wait_for_flow("start", 0.0, MAX_START)
        say("messages flow; faults begin")
        deadline = time.monotonic() + self._options.seconds
        kinds: list[str] = []
        while time.monotonic() < deadline:
            if not kinds:
                kinds = self._kinds()
            self._strike(kinds.pop())
            threading.Event().wait(self._random.uniform(0.1, 0.8))
        drain = self._drain()
        return self._summary(time.monotonic() - began, drain)

    def _kinds(self) -> list[str]:
        kinds = [
            kind for kind in self._options.kinds or FAULTS if self._options.brokers == 1 or kind not in SINGLE_NODE_ONLY
        ]
        self._random.shuffle(kinds)
        return kinds

    def _strike(self, kind: str) -> None:
        began = time.monotonic()
        try:
            hits = FAULTS[kind](self._site, self._random)
        except (NodeError, ProcessError, WaitTimeout, OperatorError, *OTHERS) as error:
            self.progress.problems.append(f"{kind}: {type(error).__name__}: {str(error)[:500]}")
            say(f"{kind}: FAILED TO HIT: {error!r}"[:300])
            self.progress.misses[kind] += 1
            return
        (self.progress.faults if hits else self.progress.misses)[kind] += 1
        lasted = time.monotonic() - began
        healed, owed, handled, calls = time.time(), self._ask("missing"), self._ask("handled"), self._attempts()
        seconds = self._wait_for_flow(kind, healed, MAX_RECOVERY)
        called, handled = self._attempts() - calls, self._ask("handled") - handled
        self.progress.work.append((round(called / max(handled, LEAST_HANDLED), 2), kind))
        self.progress.recoveries.append((seconds, kind))
        say(
            f"{kind:<34} hit {hits:>4}   lasted {lasted:5.1f} s   recovered in {seconds:5.1f} s"
            f"   {owed:>4} owed, {called:>4} calls, {handled:>4} handled"
        )

    def _ask(self, what: str) -> int:
        """A figure of the ledger; the database may be away for a moment."""
        answer: list[int] = []

        def ask() -> bool:
            answer.append(getattr(self._site.ledger, what)())
            return True

        wait_until(ask, MAX_RECOVERY, "the ledger", interval=0.1, ignoring=NOT_YET)
        return answer[-1]

    def _wait_for_flow(self, what: str, since: float, timeout: float) -> float:
        """Wait until something sent after a time went the whole way; return the seconds that took."""
        began = time.monotonic()
        ledger = self._site.ledger
        try:
            wait_until(
                lambda: ledger.handled_since("second", since) and ledger.handled_since("sink", since),
                timeout,
                "messages to flow",
                interval=0.1,
                ignoring=NOT_YET,
            )
        except WaitTimeout:
            self.progress.problems.append(f"no recovery within {timeout:g} s after: {what}")
        return time.monotonic() - began

    def _drain(self) -> float:
        say("calm: the sender stops, everything owed is to be handled")
        began = time.monotonic()
        self._site.sender.stop()
        try:
            wait_until(self._is_drained, MAX_DRAIN, "the end", interval=0.5, ignoring=NOT_YET)
        except WaitTimeout:
            self.progress.problems.append(f"not everything was handled {MAX_DRAIN:g} s after the last fault")
        seconds = time.monotonic() - began
        threading.Event().wait(AFTERMATH)
        return seconds

    def _is_drained(self) -> bool:
        ledger = self._site.ledger
        if ledger.missing() or ledger.open_sagas():
            self._site.mend()  # what was judged or refused while an operator was at it
            return False
        refused = ledger.count_refused()
        return refused.parked_with_reason == refused.sent

    def _summary(self, seconds: float, drain: float) -> dict[str, Any]:
        ledger = self._site.ledger
        count = ledger.count()
        states = {row[0]: row[1] for row in ledger.query("SELECT state, count(*) FROM nexus_delivery GROUP BY state")}
        sagas, refused = ledger.count_sagas(), ledger.count_refused()
        parked = ledger.query(
            "SELECT count(*) FROM nexus_workflow WHERE status = 'parked'"
            " AND CAST(id AS text) NOT IN (SELECT workflow FROM soak_refused)"
        )[0][0]
        dead = ledger.query("SELECT reason, count(*) FROM nexus_dead_letter GROUP BY reason")
        # What stands visibly before an operator is not lost; what is missing without a trace is.
        visible = int(
            ledger.query(
                "SELECT count(*) FROM nexus_delivery d JOIN nexus_workflow w ON w.id = d.workflow_id"
                " WHERE w.status = 'parked' AND d.state <> 'processed'"
                " AND CAST(w.id AS text) NOT IN (SELECT workflow FROM soak_refused)"
            )[0][0]
        )
        work = sorted(share for share, _ in self.progress.work)
        recoveries = sorted(seconds for seconds, _ in self.progress.recoveries)
        return {
            "seed": self._options.seed,
            "seconds": round(seconds, 1),
            "brokers": self._options.brokers,
            "sent": count.sent,
            "expected": count.expected,
            "handled": count.handled,
            "lost": max(0, count.missing - 2 * visible) if visible else count.missing,
            "missing": count.missing,
            "unexpected": count.unexpected,
            "duplicated": count.duplicated,
            "out_of_order": count.out_of_order,
            "parked": parked,
            "sagas": asdict(sagas),
            "refused": asdict(refused),
            "mended_by_operator": self._site.mended,
            "dead_letters": {row[0]: row[1] for row in dead},
            "attempts": self._attempts(),
            "states": states,
            "faults_total": sum(self.progress.faults.values()),
            "faults": dict(sorted(self.progress.faults.items())),
            "missed": dict(sorted(self.progress.misses.items())),
            "recovery_seconds": {
                "p50": round(median(recoveries), 2) if recoveries else None,
                "max": round(recoveries[-1], 2) if recoveries else None,
                "slowest": [f"{kind}: {took:.1f}" for took, kind in sorted(self.progress.recoveries)[-5:]],
            },
            "recovery_work": {
                "p50": round(median(work), 2) if work else None,
                "max": work[-1] if work else None,
                "most": [f"{kind}: {share}" for share, kind in sorted(self.progress.work)[-5:]],
            },
            "drain_seconds": round(drain, 1),
            "examples": count.examples,
            "problems": self.progress.problems,
        }

    def _attempts(self) -> int:
        try:
            return (self._site.folder / "attempts.log").read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0


def verdict(summary: dict[str, Any], options: SoakOptions) -> list[str]:
    """What is wrong with a run; nothing when it passed."""
    fewest_faults = max(5, int(options.seconds / 12))
    fewest_kinds = min(25, len(options.kinds or FAULTS), max(4, int(options.seconds / 10)))
    fewest_messages = int(options.seconds * options.rate / 5)
    slowest = summary["recovery_seconds"]["max"] or 0.0
    wrong = [
        f"{summary[name]} {name}" for name in ("lost", "unexpected", "duplicated", "out_of_order") if summary[name]
    ]
    rules = (
        (
            summary["faults_total"] < fewest_faults,
            f"only {summary['faults_total']} faults hit, {fewest_faults} are asked",
        ),
        (
            len(summary["faults"]) < fewest_kinds,
            f"only {len(summary['faults'])} kinds of faults, {fewest_kinds} are asked",
        ),
        (summary["sent"] < fewest_messages, f"only {summary['sent']} messages were sent, {fewest_messages} are asked"),
        (slowest > options.recovery, f"a recovery took {slowest} s, at most {options.recovery:g} are allowed"),
        (
            (summary["recovery_work"]["max"] or 0.0) > MAX_WORK,
            f"a recovery took {summary['recovery_work']['max']} calls for each handling, {MAX_WORK:g} are allowed",
        ),
        *_checks_of(SagaCount(**summary["sagas"]), RefusedCount(**summary["refused"])),
        (bool(summary["parked"]), f"{summary['parked']} workflows are parked"),
    )
    return [*wrong, *(text for broken, text in rules if broken), *summary["problems"]]


def _checks_of(sagas: SagaCount, refused: RefusedCount) -> list[tuple[bool, str]]:
    unaccounted = refused.sent - refused.parked_with_reason
    return [
        (sagas.begun == 0, "no saga began"),
        (sagas.not_ended > 0, f"{sagas.not_ended} sagas have not ended"),
        (sagas.money_wrong > 0, f"the money of {sagas.money_wrong} sagas is wrong"),
        (sagas.paid_twice > 0, f"{sagas.paid_twice} payments were made twice"),
        (unaccounted > 0, f"{unaccounted} messages that were to be refused do not stand parked with their reason"),
        (refused.handled > 0, f"{refused.handled} messages that were to be refused were handled"),
        (refused.judged_twice > 0, f"{refused.judged_twice} deliveries were judged twice"),
    ]


def _soak_embedded(options: SoakOptions, summary: dict[str, Any]) -> None:
    """Add what happens to an embedded installation whose disk is full."""
    say("embedded mode: disk full")
    try:
        count, hits, recoveries = disk_full(options.folder / "embedded", seed=options.seed)
    except (WaitTimeout, ProcessError, subprocess.SubprocessError) as error:
        summary["problems"].append(f"disk full: {str(error)[:500]}")
        return
    say(f"{DISK_FULL:<34} hit {hits:>4}   recovered in {max(recoveries):5.1f} s at most")
    summary["embedded"] = {**asdict(count), "recovery_seconds": recoveries}
    summary["faults"][DISK_FULL] = hits
    summary["faults_total"] += hits
    for name, value in (("lost", count.missing), ("unexpected", count.unexpected), ("duplicated", count.duplicated)):
        summary[name] += value
    summary["out_of_order"] += count.out_of_order
    summary["recovery_seconds"]["max"] = max(summary["recovery_seconds"]["max"] or 0.0, *recoveries)


def soak(options: SoakOptions) -> tuple[dict[str, Any], list[str]]:
    """Run a soak and write ``summary.json`` into its folder.

    Returns:
        The summary, and what is wrong.
    """
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    say(f"seed {options.seed}: {options.seconds:g} s of faults; logs and summary in {options.folder}")
    with Site(options.folder, brokers=options.brokers, rate=options.rate) as site:
        summary = Soak(site, options).run()
    if not options.kinds:
        _soak_embedded(options, summary)
    wrong = verdict(summary, options)
    summary["passed"] = not wrong
    line = evidence_line(summary, options)
    (options.folder / "evidence.md").write_text(line + "\n")
    say(f"the line for docs/evidence.md is in {options.folder / 'evidence.md'}")
    (options.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return summary, wrong
