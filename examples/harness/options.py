"""What the demo can be told, on the command line or, as by `make demo NAME=…`, in the environment."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """See ``parse_options`` for what they mean."""

    folder: Path
    broker: str
    database: str
    output: Path
    timeout: float
    max_files: int
    seed: int


def celery_package() -> Path:
    """The folder of the installed celery package."""
    spec = importlib.util.find_spec("celery")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "celery is not installed here. Run `make demo`, which installs it, or name a folder: --input PATH"
        )
    return Path(spec.origin).parent


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def parse_options(description: str, arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    environment = os.environ.get
    parser.add_argument(
        "--input",
        type=Path,
        default=Path(environment("INPUT") or celery_package()),
        help="folder of Python source to audit (INPUT; default: the installed celery package)",
    )
    parser.add_argument(
        "--broker",
        default=environment("BROKER") or environment("BROKER_URL") or "",
        help="amqp://… of a RabbitMQ (BROKER; default: embedded)",
    )
    parser.add_argument(
        "--database",
        default=environment("DATABASE_URL") or "",
        help="postgres://… of a PostgreSQL database that nothing else uses (DATABASE_URL; default: SQLite)",
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "var" / "demo", help="where everything is written; emptied first"
    )
    parser.add_argument(
        "--timeout", type=_positive, default=240, help="seconds after which the run fails (default: 240)"
    )
    parser.add_argument("--max-files", type=_positive, default=2000, help="most files to audit (default: 2000)")
    parser.add_argument(
        "--seed", type=int, default=1, help="chooses the messages that are published again (default: 1)"
    )
    given = parser.parse_args(arguments)
    return Options(
        folder=given.input.expanduser().absolute(),
        broker=given.broker,
        database=given.database,
        output=given.output.expanduser().absolute(),
        timeout=given.timeout,
        max_files=given.max_files,
        seed=given.seed,
    )
