"""A2A 1.0 as a server: tasks are chats of a team; the official SDK is asked in tests/acceptance/test_a2a.py."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from pytest_django.fixtures import Settings

from agents.models import Approval, ChatSession, Team
from messaging.api import ReliableCommunicationBus
from messaging.models import Message, Workflow
from messaging.testing import drain
from nexus_a2a import following
from nexus_a2a.models import A2ATask
from nexus_a2a.tasks import find_task, forget_removed
from nexus_api import streams
from tests.contract.a2a.conftest import hold
from tests.support.a2a import A2ACaller, send
from tests.support.api import close


def texts(task: Any) -> list[str]:
    return [message["parts"][0]["text"] for message in task.get("history", [])]


def test_a_message_begins_a_task_that_is_a_chat(client: A2ACaller) -> None:
    task = client.say("Write.", contextId="thread 1")
    assert (task["status"]["state"], task["contextId"]) == ("TASK_STATE_SUBMITTED", "thread 1")
    assert ChatSession.objects.get(pk=task["id"]).team == "writers"
    drain()
    done = client.call("GetTask", {"id": task["id"]})
    assert done["status"]["state"] == "TASK_STATE_COMPLETED"
    assert texts(done) == ["Write.", "echo: Write."]
    assert [message["role"] for message in done["history"]] == ["ROLE_USER", "ROLE_AGENT"]
    parts = [{"text": "echo: Write."}, {"data": {"turn": 1}, "mediaType": "application/json"}]
    assert done["artifacts"] == [{"artifactId": "result", "name": "result", "parts": parts}]
    assert texts(client.call("GetTask", {"id": task["id"], "historyLength": 1})) == ["echo: Write."]
    assert "history" not in client.call("GetTask", {"id": task["id"], "historyLength": 0})
    assert client.say()["contextId"] != client.say()["contextId"]


def test_a_repeated_message_is_the_first_one(client: A2ACaller) -> None:
    params = send("Write.", messageId="m 1")
    first = client.call("SendMessage", params)["task"]
    drain()
    Team.objects.all().delete()  # a repeat asks nothing of the team
    again = client.call("SendMessage", params)["task"]
    assert (again["id"], again["status"]["state"]) == (first["id"], "TASK_STATE_COMPLETED")
    assert Workflow.objects.count() == A2ATask.objects.count() == 1
    hold("echo")
    assert A2ACaller("another").call("SendMessage", params)["task"]["id"] != first["id"]


def test_a_person_answers_through_a2a(client: A2ACaller) -> None:
    hold("anna", "echo")
    task = client.say("What colour?")
    drain()
    asked = client.call("GetTask", {"id": task["id"]})
    assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    asks = asked["status"]["message"]["parts"][1]["data"]
    assert (asks["purpose"], asks["member"]) == ("input", "anna")
    answer = send("Blue.", taskId=task["id"], contextId=task["contextId"])
    for _ in range(2):
        client.call("SendMessage", answer)
    assert Approval.objects.get().answered_by == "root (token program)"
    drain()
    for _ in range(2):  # its answer was lost: the task is over, and the repeat is no new message
        done = client.call("SendMessage", answer)["task"]
        assert texts(done) == ["What colour?", "Blue.", "echo: Blue."]
    assert client.fail("SendMessage", send("More.", taskId=task["id"])) == (-32004, "UNSUPPORTED_OPERATION")


@pytest.mark.parametrize(
    ("answer", "data", "said"),
    [
        ("yes", None, ["Write.", "draft: Write."]),
        ("", {"approved": True}, ["Write.", "draft: Write."]),
        ("No: shorter", None, ["Write.", "shorter"]),
    ],
)
def test_an_approval_is_given_or_refused(client: A2ACaller, answer: str, data: Any, said: list[str]) -> None:
    hold("draft")
    task = client.say("Write.")
    drain()
    path = {"taskId": task["id"]}
    assert client.fail("SendMessage", send("perhaps", **path)) == (-32602, "INVALID_PARAMS")
    assert client.fail("SendMessage", send("yes", data={"approval": str(uuid4())}, **path))[0] == -32602
    named = {"approval": str(Approval.objects.get().pk), **data} if data else None
    client.call("SendMessage", send(answer, data=named, **path))
    drain()
    shown = client.call("GetTask", {"id": task["id"]})
    assert texts(shown)[: len(said)] == said


def test_who_may_not_answer_is_told_that_somebody_must(client: A2ACaller) -> None:
    hold("anna")
    mute = A2ACaller("mute", ["messages:read", "workflows:start"])
    task = mute.say()
    drain()
    status = mute.call("GetTask", {"id": task["id"]})["status"]
    assert (status["state"], len(status["message"]["parts"])) == ("TASK_STATE_AUTH_REQUIRED", 1)
    refused = mute.fail("SendMessage", send("Blue.", taskId=task["id"]), status=403)
    assert refused == (-32000, "PERMISSION_DENIED")
    assert client.call("GetTask", {"id": task["id"]})["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"


def test_what_is_said_meanwhile_is_said_once(client: A2ACaller) -> None:
    task = client.say("Write.")
    more = send("In verse.", taskId=task["id"])
    for _ in range(2):
        client.call("SendMessage", more)
    assert Message.objects.filter(type="chat.say").count() == 1
    wrong = send("x", taskId=task["id"], contextId="another")
    assert client.fail("SendMessage", wrong) == (-32602, "INVALID_PARAMS")


def test_cancelling(client: A2ACaller) -> None:
    task = client.say()
    assert client.call("CancelTask", {"id": task["id"]})["status"]["state"] == "TASK_STATE_CANCELED"
    assert client.fail("CancelTask", {"id": task["id"]}) == (-32002, "TASK_NOT_CANCELABLE")
    assert client.fail("SubscribeToTask", {"id": task["id"]}) == (-32004, "UNSUPPORTED_OPERATION")


def test_other_ends(client: A2ACaller) -> None:
    silent, failed, expired = (client.say() for _ in range(3))
    bus = ReliableCommunicationBus()
    bus.complete_workflow(silent["id"])
    ChatSession.objects.filter(pk=failed["id"]).update(status="cancelled", reason="failed: its manager could not")
    Workflow.objects.filter(pk=expired["id"]).update(status="expired")
    for task in (silent, failed, expired):
        assert client.call("GetTask", {"id": task["id"]})["status"]["state"] == "TASK_STATE_FAILED"


def test_a_foreign_task_is_answered_like_an_unknown_one(client: A2ACaller) -> None:
    task = client.say()
    stranger = A2ACaller("stranger", visibility="own")
    answers = set()
    for wanted in (task["id"], str(uuid4()), "no id"):
        for method, params in (
            ("GetTask", {"id": wanted}),
            ("CancelTask", {"id": wanted}),
            ("SubscribeToTask", {"id": wanted}),
            ("SendMessage", send("x", taskId=wanted)),
            ("SendStreamingMessage", send("x", taskId=wanted)),
        ):
            response = stranger.rpc(method, params).json()
            answers.add(json.dumps(response).replace(wanted, "…"))
    assert len(answers) == 1
    assert "TASK_NOT_FOUND" in answers.pop()
    assert stranger.call("ListTasks")["tasks"] == []
    client.team = "other"
    assert client.fail("GetTask", {"id": task["id"]})[1] == "TASK_NOT_FOUND"
    bound = A2ACaller("bound", visibility="team", team="other")
    assert bound.fail("SendMessage", send("x"), status=403) == (-32000, "PERMISSION_DENIED")


def test_lists_in_pages_the_last_change_first(client: A2ACaller) -> None:
    hold("anna")
    tasks = [client.say("Write.", contextId="c") for _ in range(3)]
    drain()
    client.call("CancelTask", {"id": tasks[0]["id"]})
    page = client.call("ListTasks", {"pageSize": 2, "contextId": "c"})
    rest = client.call("ListTasks", {"pageSize": 2, "contextId": "c", "pageToken": page["nextPageToken"]})
    found = [task["id"] for task in page["tasks"] + rest["tasks"]]
    assert (found[0], set(found)) == (tasks[0]["id"], {task["id"] for task in tasks})
    assert (page["totalSize"], page["pageSize"], rest["nextPageToken"]) == (3, 2, "")
    assert "artifacts" not in page["tasks"][0]
    waiting = client.call("ListTasks", {"status": "TASK_STATE_INPUT_REQUIRED", "includeArtifacts": True})
    assert len(waiting["tasks"]) == 2
    assert waiting["tasks"][0]["artifacts"] == []
    after = page["tasks"][0]["status"]["timestamp"]
    assert len(client.call("ListTasks", {"statusTimestampAfter": after})["tasks"]) == 1
    assert client.call("ListTasks", {"contextId": "other"})["tasks"] == []
    for wrong in (
        {"pageSize": 0},
        {"pageSize": 101},
        {"pageToken": "x"},
        {"status": "DONE"},
        {"historyLength": -1},
        {"statusTimestampAfter": "yesterday"},
    ):
        assert client.fail("ListTasks", wrong) == (-32602, "INVALID_PARAMS"), wrong


# --- waiting and streams ---


def events(response: Any) -> list[Any]:
    """All events of a stream that ends."""
    body = b"".join(response.streaming_content).decode()
    close(response)
    return [json.loads(line.removeprefix("data: "))["result"] for line in body.splitlines() if line[:5] == "data:"]


def test_a_stream_tells_everything_in_order(client: A2ACaller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_EVERY", 0.01)
    hold("anna", "echo")
    response = client.rpc("SendStreamingMessage", send("Write."))
    assert response["Content-Type"] == "text/event-stream"
    drain()
    told = events(response)
    task = told[0]["task"]
    assert [next(iter(event)) for event in told] == ["task", "statusUpdate", "statusUpdate"]
    assert told[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    following_it = client.rpc("SubscribeToTask", {"id": task["id"]})
    client.say("Blue.", taskId=task["id"])
    drain()
    told = events(following_it)
    assert told[0]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    said = [event["statusUpdate"]["status"] for event in told if "statusUpdate" in event]
    assert [status["message"]["parts"][0]["text"] for status in said[:2]] == ["Blue.", "echo: Blue."]
    assert told[-2]["artifactUpdate"]["artifact"]["parts"][0] == {"text": "echo: Blue."}
    assert said[-1]["state"] == "TASK_STATE_COMPLETED"


def test_a_message_waits_for_the_answer(client: A2ACaller, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY", 0.001)
    looked: list[str] = []

    def look(caller: Any, team: str, task_id: str) -> Any:
        looked.append(task_id)
        if len(looked) == 2:
            drain()
        return find(caller, team, task_id)

    find = find_task
    monkeypatch.setattr(following, "find_task", look)
    params = send("Write.")
    del params["configuration"]
    assert client.call("SendMessage", params)["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
    monkeypatch.setattr(following, "MAX_WAIT", 0.0)
    params["message"]["messageId"] = "another"
    assert client.call("SendMessage", params)["task"]["status"]["state"] == "TASK_STATE_SUBMITTED"


# --- the frame ---


def test_versions(client: A2ACaller) -> None:
    old = {"message": {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}}
    for version in ("", "0.3", "1.1", "2.0", "x"):
        for method, params in (("message/send", old), ("SendMessage", send("x"))):
            assert client.fail(method, params, version=version) == (-32009, "VERSION_NOT_SUPPORTED")
    assert client.fail("message/send", old) == (-32601, "METHOD_NOT_FOUND")
    assert client.fail("GetTask", {"id": "x"}, version="1.0.3")[1] == "TASK_NOT_FOUND"


def test_what_is_not_supported(client: A2ACaller) -> None:
    for verb in ("Create", "Get", "List", "Delete"):
        name = f"{verb}TaskPushNotificationConfig{'s' if verb == 'List' else ''}"
        assert client.fail(name, {"taskId": "x"})[0] == -32003
    params = send("x")
    params["configuration"]["taskPushNotificationConfig"] = {"url": "http://127.0.0.1/"}
    assert client.fail("SendMessage", params)[0] == -32003
    assert client.fail("GetExtendedAgentCard")[0] == -32004
    for part in ({"raw": "AA=="}, {"url": "file:///etc/passwd"}, {"text": "x", "mediaType": "image/png"}):
        assert client.fail("SendMessage", send("", parts=[part])) == (-32005, "CONTENT_TYPE_NOT_SUPPORTED")


def test_requests_that_cannot_be(client: A2ACaller) -> None:
    for body, code in (
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "2.0", "id": true, "method": "GetTask"}', -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "GetTask"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": []}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask"}', -32602),
    ):
        response = client.raw(body)
        assert (response.status_code, response.json()["error"]["code"]) == (200, code)
    wrongs: tuple[dict[str, Any], ...] = (
        {"messageId": ""},
        {"role": "ROLE_AGENT"},
        {"parts": []},
        {"parts": [{}]},
        {"parts": [{"text": "a", "data": 1}]},
        {"parts": [{"text": " "}]},
        {"contextId": "\x00"},
        {"parts": [{"text": "x" * 9_000}]},
    )
    for wrong in wrongs:
        assert client.fail("SendMessage", send("x", **wrong)) == (-32602, "INVALID_PARAMS"), wrong
    assert Workflow.objects.count() == 0
    assert client.get("/../a2a/teams/writers").status_code in (404, 405)


def test_tokens(client: A2ACaller) -> None:
    secret, client.secret = client.secret, "nxs_wrong"
    for version in ("1.0", "0.3"):
        assert client.fail("ListTasks", status=401, version=version) == (-32000, "UNAUTHENTICATED")
    assert client.rpc("ListTasks")["WWW-Authenticate"].startswith("Bearer")
    client.secret = secret
    reader = A2ACaller("reader", ["messages:read"])
    for method, params in (("SendMessage", send("x")), ("CancelTask", {"id": "x"})):
        assert reader.fail(method, params, status=403)[1] == "PERMISSION_DENIED"
    assert A2ACaller("none", ["workflows:start"]).fail("SendMessage", send("x"), status=403)[1] == "PERMISSION_DENIED"
    slow = A2ACaller("slow", rate=1)
    slow.call("ListTasks")
    assert slow.fail("ListTasks", status=429) == (-32000, "RESOURCE_EXHAUSTED")
    client.team = "secret"
    assert client.rpc("ListTasks").status_code == 404


def test_what_is_known_of_a_task_goes_with_its_workflow(client: A2ACaller) -> None:
    kept, gone = client.say(), client.say()
    A2ATask.objects.filter(pk=gone["id"]).update(workflow_id=uuid4())
    assert forget_removed() == 1
    assert str(A2ATask.objects.get().pk) == kept["id"]
