"""The line about a run for docs/evidence.md."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from bench.paths import ROOT
from bench.soak.options import SoakOptions


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
    slowest, most = summary["recovery_seconds"]["max"], summary["recovery_work"]["max"]
    parts = [
        f"{'passed' if summary['passed'] else '**failed**'}: {summary['faults_total']} faults",
        f"{len(summary['faults'])} kinds",
        f"{summary['sent']} sent",
        f"{summary['handled']} handled",
        f"{summary['lost']} lost",
        f"{summary['duplicated']} doubled",
        f"{summary['out_of_order']} out of order",
        f"{sagas['begun']} sagas ({sagas['compensated']} compensated)",
        f"money wrong in {sagas['money_wrong']}",
        f"{refused['parked_with_reason']} of {refused['sent']} refused parked with their reason",
        f"recovery {slowest} s and {most} calls for each handling at most",
    ]
    result = ", ".join(parts)
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
