"""The line about a run for docs/evidence.md."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from bench.paths import ROOT

if TYPE_CHECKING:
    from bench.soak.run import SoakOptions


def evidence_line(summary: dict[str, Any], options: SoakOptions) -> str:
    """A row of the table: date, commit, command, seed, load of the machine, result.

    Args:
        summary: of the run, with whether it passed.
        options: of the run.
    """
    kinds = f", {len(options.kinds)} kinds chosen" if options.kinds else ""
    command = f"`python -m bench.soak --seconds {options.seconds:g} --rate {options.rate:g}`{kinds}"
    if options.brokers > 1:
        command += ", three brokers"
    load = f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"
    sagas, refused = summary["sagas"], summary["refused"]
    result = (
        f"{'passed' if summary['passed'] else '**failed**'}: {summary['faults_total']} faults of"
        f" {len(summary['faults'])} kinds; {summary['sent']} sent, {summary['handled']} handled,"
        f" {summary['lost']} lost, {summary['duplicated']} doubled, {summary['out_of_order']} out of order; {sagas['begun']} sagas"
        f" ({sagas['compensated']} compensated), money wrong in {sagas['money_wrong']};"
        f" {refused['parked_with_reason']} of {refused['sent']} refused parked with their reason; recovery {summary['recovery_seconds']['max']} s and"
        f" {summary['recovery_work']['max']} times what was owed at most"
    )
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"| {day} | {_commit()} | {command} | {options.seed} | {load} | {result} |"


def _commit() -> str:
    """Of the code that ran; with a + where it was changed since."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
