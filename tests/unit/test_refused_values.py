"""What could not be kept or computed later is refused where it enters, and what is taken works."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.api import AgentSpec, ConfigurationError, EnvelopeError, HandlerKind, NexusError, Outgoing, RetryPolicy
from messaging.conf import load
from messaging.core.messages import WorkflowOptions
from messaging.core.strict_json import find_flaw

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([1e-12, 1e-300, 5e-324, 1e12, 1e308, math.inf, -math.inf, math.nan, 2**63, 10**5000, True, False]),
    st.text(max_size=5),
    st.none(),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.sampled_from([Decimal("NaN"), Decimal(3), Fraction(1, 3), object(), 1j, int, timedelta(1), NOW]),
)


def handler(message: Any, context: Any) -> None: ...


@settings(max_examples=400, deadline=None)
@given(limit=st.sampled_from(["concurrency", "rate", "timeout"]), value=ANYTHING)
def test_a_limit_of_an_agent_is_refused_or_works(limit: str, value: Any) -> None:
    try:
        spec = AgentSpec(name="a", handler=handler, kind=HandlerKind.LEASED, **{limit: value})
    except ConfigurationError as error:
        assert limit in str(error)  # noqa: PT017 - most values are refused, not all
        return
    if spec.timeout is not None:
        assert NOW + timedelta(seconds=spec.timeout) >= NOW
    if spec.rate is not None:
        assert NOW + 1_000 * timedelta(seconds=1 / spec.rate) >= NOW
    if spec.concurrency is not None:
        assert range(spec.concurrency)


@settings(max_examples=400, deadline=None)
@given(
    field=st.sampled_from(["max_attempts", "base", "cap", "multiplier", "deadline"]),
    value=ANYTHING,
    attempt=st.integers(1, 32_000),
    seed=st.integers(),
)
def test_a_retry_policy_is_refused_or_works(field: str, value: Any, attempt: int, seed: int) -> None:
    values: dict[str, Any] = {"max_attempts": 5, "base": 1.0, "cap": 60.0}
    try:
        policy = RetryPolicy(**(values | {field: value}))
    except ConfigurationError as error:
        assert field in str(error)  # noqa: PT017 - most values are refused, not all
        return
    assert NOW + timedelta(seconds=policy.delay(attempt, Random(seed))) >= NOW
    assert policy.exhausted(attempt, 1.0) in (True, False)
    with suppress(ConfigurationError):
        AgentSpec(name="a", handler=handler, retry=policy)
        assert policy.max_attempts < 2**15  # as the log counts


@settings(max_examples=300, deadline=None)
@given(
    field=st.sampled_from(["name", "description", "retry", "kind", "accepts", "partners", "models"]),
    value=ANYTHING | st.lists(st.text(max_size=3), max_size=2) | st.tuples(ANYTHING),
)
def test_anything_else_of_an_agent_is_refused_or_works(field: str, value: Any) -> None:
    try:
        values: dict[str, Any] = {"name": "a", "handler": handler}
        spec = AgentSpec(**(values | {field: value}))
    except ConfigurationError:
        return
    assert spec.takes("a.type") in (True, False)
    assert HandlerKind(spec.kind) is spec.kind
    assert all(isinstance(partner, str) for partner in spec.partners)


@settings(max_examples=400, deadline=None)
@given(
    field=st.sampled_from(["max_attempts", "retry_cap", "lease_seconds", "batch_size", "dedup_ttl", "publish_queue"]),
    value=ANYTHING,
)
def test_a_setting_is_refused_or_works(field: str, value: Any) -> None:
    try:
        loaded = load({"BROKER_URL": "memory://x", field.upper(): value})
    except ConfigurationError as error:
        assert field.upper() in str(error)  # noqa: PT017 - most values are refused, not all
        return
    assert NOW + timedelta(seconds=loaded.lease_seconds) >= NOW
    assert timedelta(seconds=loaded.shortest_safe_dedup_ttl) >= timedelta(0)
    assert loaded.max_attempts < 2**15


@settings(max_examples=400, deadline=None)
@given(
    field=st.sampled_from(
        ["workflow_id", "source", "recipient", "type", "correlation_id", "deduplication_id", "expires_in"]
    ),
    value=ANYTHING,
)
def test_an_outgoing_message_is_refused_with_the_attribute_or_works(field: str, value: Any) -> None:
    values: dict[str, Any] = {"workflow_id": uuid4(), "source": "a", "recipient": "b", "type": "t", "data": None}
    try:
        outgoing = Outgoing(**(values | {field: value}))
    except EnvelopeError as error:
        assert error.attribute in {field, "workflow", "subject"}  # noqa: PT017 - most values are refused, not all
        return
    if outgoing.expires_in is not None:
        assert NOW + timedelta(seconds=outgoing.expires_in) >= NOW


@settings(max_examples=400, deadline=None)
@given(
    field=st.sampled_from(["name", "max_messages", "deadline", "failure_policy", "gap_policy", "deduplication_id"]),
    value=ANYTHING,
)
def test_a_workflow_is_refused_with_the_attribute_or_works(field: str, value: Any) -> None:
    try:
        options = WorkflowOptions(**({"name": "w"} | {field: value}))
    except EnvelopeError as error:
        assert error.attribute == field  # noqa: PT017 - most values are refused, not all
        return
    assert find_flaw(options.name) is None
    assert options.max_messages is None or 0 < options.max_messages < 2**63


@pytest.mark.parametrize("value", ["leased", "transactional"])
def test_a_kind_may_be_text(value: str) -> None:
    assert AgentSpec(name="a", handler=handler, kind=value).kind is HandlerKind(value)  # type: ignore[arg-type]


def test_every_error_is_of_the_one_tree() -> None:
    assert issubclass(EnvelopeError, NexusError)
    assert issubclass(ConfigurationError, NexusError)
