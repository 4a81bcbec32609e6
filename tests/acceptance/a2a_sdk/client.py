"""What the official SDK's client does to a team; run by the SDK's own Python. Prints what it saw, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from typing import Any

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskState,
)
from a2a.utils.errors import A2AError
from a2a.utils.signing import create_signature_verifier
from jwt import PyJWK


def message(text: str, **fields: Any) -> SendMessageRequest:
    fields.setdefault("message_id", str(uuid.uuid4()))
    return SendMessageRequest(message=Message(role=Role.ROLE_USER, parts=[Part(text=text)], **fields))


async def code_of(awaitable: Any) -> str:
    try:
        await awaitable
    except A2AError as error:
        return type(error).__name__
    return "no error"


async def verify(http: httpx.AsyncClient, resolver: A2ACardResolver, algorithm: str) -> Any:
    """The card, when a signature of this algorithm holds."""
    found: dict[str, PyJWK] = {}
    raw = (await http.get(f"{resolver.base_url}/.well-known/agent-card.json")).json()
    origin = raw["supportedInterfaces"][0]["url"].partition("/a2a/")[0]
    for key in (await http.get(f"{origin}/a2a/keys")).json()["keys"]:
        found[key["kid"]] = PyJWK(key)
    verifier = create_signature_verifier(lambda kid, jku: found[str(kid)], [algorithm])
    return await resolver.get_agent_card(signature_verifier=verifier)


async def main(base: str, token: str, stranger: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        resolver = A2ACardResolver(http, base)
        card = await verify(http, resolver, "EdDSA")
        seen["verified"] = [(await verify(http, resolver, name)).name for name in ("EdDSA", "ES256")]
        streaming = ClientFactory(ClientConfig(httpx_client=http)).create(card)
        waiting = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)

        first = message("Write.", message_id="the same")
        (answer,) = [event async for event in waiting.send_message(first)]
        seen["question"] = (TaskState.Name(answer.task.status.state), answer.task.status.message.parts[0].text)
        again = [event async for event in waiting.send_message(message("Write.", message_id="the same"))]
        seen["repeated"] = again[0].task.id == answer.task.id

        task = answer.task
        events = []
        reply = message("Blue.", task_id=task.id, context_id=task.context_id)
        async for event in streaming.send_message(reply):
            events.append(event.WhichOneof("payload"))
            last = event
        seen["events"] = events
        seen["last"] = TaskState.Name(last.status_update.status.state)
        got = await waiting.get_task(GetTaskRequest(id=task.id))
        seen["history"] = [entry.parts[0].text for entry in got.history]
        seen["result"] = got.artifacts[0].parts[0].text
        listed = await waiting.list_tasks(ListTasksRequest(context_id=task.context_id))
        seen["listed"] = [entry.id == task.id for entry in listed.tasks]

        (other,) = [event async for event in waiting.send_message(message("Another."))]
        stream = streaming.subscribe(SubscribeToTaskRequest(id=other.task.id))
        seen["subscribed"] = [(await anext(stream)).WhichOneof("payload")]
        await stream.aclose()
        cancelled = await waiting.cancel_task(CancelTaskRequest(id=other.task.id))
        seen["cancelled"] = TaskState.Name(cancelled.status.state)
        seen["cancelled again"] = await code_of(waiting.cancel_task(CancelTaskRequest(id=other.task.id)))

        old_body = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": {"messageId": "m"}}}
        old = await http.post(card.supported_interfaces[0].url, json=old_body, headers={"A2A-Version": ""})
        seen["0.3"] = old.json()["error"]["code"]
    legacy = httpx.AsyncClient(headers={**headers, "A2A-Version": "0.3"}, timeout=60)
    async with legacy as http:
        speaker = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
        seen["0.3 client"] = await code_of(speaker.get_task(GetTaskRequest(id=task.id)))
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {stranger}"}, timeout=60) as http:
        foreign = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
        seen["foreign"] = [
            await code_of(foreign.get_task(GetTaskRequest(id=one))) for one in (task.id, str(uuid.uuid4()))
        ]
    return seen


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
