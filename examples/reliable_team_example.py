"""An audit team of six agents that survives what happens to it.

    make demo                                              the installed celery package, embedded mode
    make demo INPUT=path                                   any folder of Python source
    make demo BROKER=amqp://… DATABASE_URL=postgres://…    the same on real servers

A planner lists the files and hands them out, three analysts parse them (size, complexity, longest function, missing
docstrings, TODOs), a critic cross-checks every result, a reporter writes report.html with plots and a ranking. Two real
Celery workers and a relay run it. Halfway,

 * some messages are taken out of their queue and later published in reversed order, with all others that wait,
 * one worker is killed with SIGKILL while it works on something, and started again afterwards,
 * 50 messages that were sent already are published twice more.

Then everything is counted from what the handlers left behind, not from Nexus's own counters, and the same job is run in
legacy mode, in one process without database and broker. Nothing may be lost, handled twice or out of order, and both
reports must be the same to the byte; otherwise the exit code is 1. What was counted is then added to report.html.

Everything is in var/demo/: report.html, legacy.html, summary.json, the workers' logs, and data/ with the database of
the embedded mode. The folder is emptied at each start. A database that DATABASE_URL names gets the tables of Nexus and
of this example; nothing else may use it meanwhile. On a broker the demo uses queues of its own and removes them.

For the demo a lease ends after 3 s and an unseen message is sent again after 3 s; the defaults are 30 s and 10 s.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.audit_team.files import InputError, check_folder
from examples.audit_team.report import with_run
from examples.harness import environment
from examples.harness.options import Options, parse_options
from examples.harness.processes import Crew
from examples.harness.progress import Progress, print_list, print_table

if TYPE_CHECKING:
    from examples.harness.job import RunResult


def main() -> int:
    """Run the demo; return the exit code: 0 all well, 1 a promise was broken, 2 it could not run."""
    options = parse_options(__doc__ or "")
    signal.signal(signal.SIGTERM, _end)
    try:
        check_folder(options.folder)
        with environment.take_folder(options.output):
            return run(options)
    except (InputError, environment.SetupError) as error:
        print(f"The demo cannot run. {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted; the workers are stopped.", file=sys.stderr)
        return 130


def _end(*_: object) -> NoReturn:
    raise SystemExit(143)


def run(options: Options) -> int:
    """Run both modes and compare.

    Raises:
        SetupError: database or broker cannot be used.
    """
    import django

    prefix = environment.prepare_environment(options)
    django.setup()
    from examples.harness.job import DurableRun, RunFailed, run_legacy

    progress = Progress()
    progress.event(f"auditing {options.folder}")
    report, legacy_report = options.output / "report.html", options.output / "legacy.html"
    environment.prepare_database()
    environment.prepare_broker()
    crew = Crew(options.output)
    try:
        result = DurableRun(options, crew, progress).run(report)
        progress.event("running the same job in legacy mode")
        legacy_seconds = run_legacy(options, legacy_report)
    except RunFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    finally:
        progress.close()
        crew.kill()
        environment.remove_queues(options.broker, prefix)
    identical = report.exists() and report.read_bytes() == legacy_report.read_bytes()
    if report.exists():
        page = with_run(report.read_text(encoding="utf-8"), what_happened(result, identical=identical))
        report.write_text(page, encoding="utf-8")
    return conclude(options, result, identical=identical, legacy_seconds=legacy_seconds)


def what_happened(result: RunResult, *, identical: bool) -> dict[str, str]:
    """What the report says of the run that it was written in."""
    figures, faults = result.figures, result.faults
    return {
        "messages sent, and handled": f"{figures.messages:,}, {figures.handled:,}",
        "workers killed with SIGKILL while at work": str(faults.kills),
        "messages published twice more": str(faults.republished),
        "duplicates that arrived and were not handled": f"{figures.duplicates_suppressed:,}",
        "messages published before their predecessors": str(faults.out_of_order),
        "arrivals held until their turn": f"{figures.held:,}",
        "handlings whose order was checked": f"{figures.handled + figures.handled_twice:,}",
        "lost": str(figures.lost),
        "handled twice": str(figures.handled_twice),
        "handled out of order": str(figures.out_of_order),
        "dead letters": str(figures.dead),
        "the report above, written in legacy mode": "the same to the byte" if identical else "DIFFERENT",
    }


def conclude(options: Options, result: RunResult, *, identical: bool, legacy_seconds: float) -> int:
    """Print the tables, write summary.json, and return the exit code."""
    figures, faults = result.figures, result.faults
    print_table(
        f"{result.files} files, {'RabbitMQ' if options.broker else 'embedded broker'}, "
        f"{'PostgreSQL' if options.database.startswith('postgres') else 'SQLite'}",
        {
            "messages": figures.messages,
            "handled": figures.handled,
            "duplicates suppressed *": figures.duplicates_suppressed,
            "held *": figures.held,
            "redelivered": figures.redelivered,
            "dead": figures.dead,
            "lost": figures.lost,
            "handled twice": figures.handled_twice,
            "out of order": figures.out_of_order,
            "seconds": round(result.seconds, 1),
        },
    )
    print("  * as the workers counted; what a killed worker counted in its last second is missing")
    print_table(
        "The same job in legacy mode",
        {"report": "identical" if identical else "DIFFERENT", "seconds": round(legacy_seconds, 1)},
    )
    summary = {
        **figures.as_data(),
        "worker_kills": faults.kills,
        "seconds": round(result.seconds, 3),
        "files": result.files,
        "republished": faults.republished,
        "published_out_of_order": faults.out_of_order,
        "killed_with": faults.killed_with,
        "legacy_seconds": round(legacy_seconds, 3),
        "report_identical": identical,
    }
    (options.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    broken = broken_promises(result, identical=identical)
    print(f"\nReport: {options.output / 'report.html' if result.files else 'none was written'}")
    if broken:
        print_list("FAILED", broken)
        return 1
    print("Nothing lost, nothing handled twice, nothing out of order.")
    return 0


def broken_promises(result: RunResult, *, identical: bool) -> list[str]:
    """Everything that is not as it must be; empty when all is well."""
    from examples.harness.faults import OUT_OF_ORDER, REPUBLISHED

    figures, faults = result.figures, result.faults
    checks = {
        result.failure: bool(result.failure),
        f"{figures.lost} messages were not handled": figures.lost > 0,
        f"{figures.handled_twice} messages were handled twice": figures.handled_twice > 0,
        f"{figures.out_of_order} messages were handled out of order": figures.out_of_order > 0,
        f"{figures.dead} messages are dead letters": figures.dead > 0,
        "the report differs from the one of the legacy mode": not identical,
        # A small folder has too few messages for all faults; then as many as there are must have hit.
        "no worker was killed": faults.kills == 0,
        f"only {faults.republished} messages were published again": faults.republished
        < min(REPUBLISHED, figures.messages // 4),
        f"only {faults.out_of_order} messages were published out of order": faults.out_of_order
        < min(OUT_OF_ORDER, result.files // 16),
    }
    return [text for text, broken in checks.items() if broken]


if __name__ == "__main__":
    sys.exit(main())
