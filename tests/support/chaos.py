"""Agents that do anything Python has, generated; a file says what each does, so that every process has the same ones.

CHAOS_FILE   JSON: [{"name": …, "verb": …, "value": <a Python expression>, "leased": …}, …]
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

INNOCENTS = 50

SCALARS = (
    "None", "True", "0", "-1", "2**70", "10**400", "1.5", "float('nan')", "float('inf')", "1e12", "1e300", "''",
    "'text'",
    "'\\x00'", "'\\ud800'", "'x' * 300", "'x' * 300_000", "b'bytes'", "object()", "type", "print", "1j", "Ellipsis",
    "Decimal('NaN')", "Decimal(1)", "uuid4()", "datetime.now()", "timedelta.max", "frozenset()", "range(3)", "iter([])",
    "Unprintable()", "Uncomparable()", "SafeText('<b>')", "looped()", "deep(100)", "lambda: 1", "(i for i in [])",
    "asyncio.sleep", "memoryview(b'x')", "NotImplemented", "threading.Lock()", "{1: 2}", "{'\\ud800': 1}", "{'a', 'b'}",
)  # fmt: skip
ERRORS = (
    "ValueError('no')", "KeyError('\\ud800')", "Exception()", "Unprintable()", "UnprintableError()",
    "asyncio.CancelledError()",
    "KeyboardInterrupt()", "SystemExit(3)", "GeneratorExit()", "Rude('x')", "StopIteration(1)", "StopAsyncIteration()",
    "RecursionError('x')", "MemoryError()", "AssertionError()", "TimeoutError()", "concurrent.futures.CancelledError()",
    "TransientError('x', retry_after='30')", "TransientError('x', retry_after=float('nan'))", "TerminalError('x')",
    "TransientError(None)", "IntegrityError('x')", "OperationalError('gone')", "InterfaceError('closed')",
    "DataError('\\x00')",
    "TransactionManagementError('x')", "BrokerUnavailable('x')", "DatabaseUnavailable('x')", "EnvelopeError('a', 'b')",
    "UnicodeEncodeError('utf-8', '\\ud800', 0, 1, 'x')", "ExceptionGroup('g', [ValueError(1), TerminalError(2)])",
    "BaseExceptionGroup('g', [KeyboardInterrupt()])", "LeaseLost('x')", "ValueError('x' * 1_000_000)", "Warning('x')",
)  # fmt: skip
VERBS = (
    "recipient", "type", "data", "expires_in", "deduplication_id", "correlation_id", "state", "key", "once", "return",
)  # fmt: skip

_scalar = st.sampled_from(SCALARS)
_value = st.one_of(
    _scalar,
    st.builds("[{}, {}]".format, _scalar, _scalar),
    st.builds("{{'a': [{}]}}".format, _scalar),
    st.builds("({},)".format, _scalar),
    st.text(max_size=8).map(repr),
    st.floats().map(lambda value: f"float('{value}')"),
    st.integers().map(repr),
)
_behaviour = st.one_of(
    st.tuples(st.just("raise"), st.sampled_from(ERRORS), st.booleans()),
    st.tuples(st.sampled_from(VERBS), _value, st.booleans()),
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an agent does with each message."""

    name: str
    verb: str
    value: str
    leased: bool


def generate(count: int, number: int) -> list[Behaviour]:
    """So many different behaviours; the same seed gives the same ones."""
    found: dict[tuple[str, str, bool], None] = {}

    @seed(number)
    @settings(
        max_examples=count * 4,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_behaviour)
    def collect(drawn: tuple[str, str, bool]) -> None:
        found.setdefault(drawn)

    collect()
    chosen = list(found)[:count]
    return [Behaviour(f"chaos-{index}", *drawn) for index, drawn in enumerate(chosen)]


def write(path: Path, behaviours: list[Behaviour]) -> None:
    """Write the file."""
    path.write_text(json.dumps([asdict(one) for one in behaviours]), encoding="utf-8")


def read() -> list[Behaviour]:
    """Read the file that CHAOS_FILE names."""
    return [Behaviour(**one) for one in json.loads(Path(os.environ["CHAOS_FILE"]).read_text(encoding="utf-8"))]


def handler_of(one: Behaviour, evaluate: Callable[[str], Any]) -> Callable[[Any, Any], Any]:
    """The handler that behaves so."""

    def handle(message: Any, context: Any) -> Any:
        value = evaluate(one.value)
        match one.verb:
            case "raise":
                raise value
            case "recipient":
                context.send(value, "t")
            case "type":
                context.send("web", value)
            case "data":
                context.send("web", "t", value)
            case "state":
                context.state["it"] = value
            case "key":
                context.state[value] = 1
            case "once":
                context.once("k", lambda: value)
            case "return":
                return value
            case _:
                context.send("web", "t", **{one.verb: value})
        return None

    return handle
