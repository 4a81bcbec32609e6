"""One trace from a view to the models, through the broker, as a collector receives it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from messaging.core import trace_names as names
from messaging.testing.servers.waiting import wait_until
from tests.support.installation import Installation
from tests.support.trace_receiver import TraceReceiver

pytestmark = pytest.mark.whole

SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5


@pytest.mark.slow
def test_a_conversation_of_ten_messages_is_one_trace(install_embedded: Callable[..., Installation]) -> None:
    with TraceReceiver() as receiver:
        installation = install_embedded(
            environment={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "200"},
            agents="tests.support.tracing_agents",
            tracing="on",
            log_format="json",
        )
        worker = installation.worker(concurrency=1)
        installation.program("conversation")
        installation.wait_processed(10, 60)
        wait_until(lambda: sum(span.name.startswith("process") for span in receiver.spans) == 10, 20, "the spans")
        worker.stop()
        (trace,) = {span.trace for span in receiver.spans}
        print(receiver.tree(trace))

    spans = receiver.spans
    by_id = {span.id: span for span in spans}
    assert {span.schema for span in spans} == {names.SCHEMA_URL}
    (view,) = [span for span in spans if span.kind == SERVER]
    assert view.name == "POST"
    assert view.parent == ""
    created = [span for span in spans if span.name.startswith("create")]
    assert [span.kind for span in created] == [PRODUCER] * 10
    processed = [span for span in spans if span.name.startswith("process")]
    assert sorted(span.name for span in processed) == ["process alice"] * 5 + ["process bob"] * 4 + ["process desk"]
    for span in processed:
        assert by_id[span.parent].name == span.name.replace("process", "create")
    asked = [span for span in spans if span.name == "chat scripted-1"]
    assert [(span.kind, by_id[span.parent].name.split()[0]) for span in asked] == [(CLIENT, "process")] * 9
    assert asked[0].attributes[names.GEN_AI_OUTPUT_TOKENS] > 0
    # The first one may be published before the worker has declared its queue, and then once more.
    assert sum(span.name.startswith("publish") for span in spans) in (10, 11)
    (batch,) = [span for span in spans if span.name == "receive transactional"]
    (desk,) = [span for span in processed if span.name == "process desk"]
    assert desk.links == (batch.id,)
    assert batch.links == (desk.parent,)
    assert "I see." not in repr(spans), "no words of anybody"
    assert f'"trace":"{trace}"' in worker.log(), "log lines name their trace"
