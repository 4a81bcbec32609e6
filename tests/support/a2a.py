"""A client of A2A for tests, and a team that it speaks to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from agents.models import Team
from messaging.api import registry
from tests.support.api import ApiCaller

TEAM = "writers"


class A2ACaller(ApiCaller):
    """A program that speaks A2A 1.0 to a team. The arguments are those of ``ApiCaller``."""

    team = TEAM

    def rpc(self, method: str, params: Any = None, version: str = "1.0") -> Any:
        """The response to a JSON-RPC request."""
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        return self.raw(json.dumps(body).encode(), version)

    def raw(self, body: bytes, version: str = "1.0") -> Any:
        """The response to whatever bytes."""
        sent = self._headers({"A2A-Version": version})
        return self.client.post(f"/a2a/teams/{quote(self.team)}", body, content_type="application/json", headers=sent)

    def call(self, method: str, params: Any = None) -> Any:
        """The result of a request that succeeds."""
        answer = self.rpc(method, params).json()
        assert answer["id"] == 7
        assert "error" not in answer, answer
        return answer["result"]

    def fail(self, method: str, params: Any = None, *, status: int = 200, version: str = "1.0") -> tuple[int, str]:
        """Code and reason of a request that fails."""
        response = self.rpc(method, params, version)
        assert response.status_code == status, response.content
        error = response.json()["error"]
        assert error["data"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        return error["code"], error["data"][0]["reason"]

    def say(self, text: str = "Write.", **fields: Any) -> Any:
        """The task of a message, at once."""
        return self.call("SendMessage", send(text, **fields))["task"]


def send(text: str, *, data: Any = None, **fields: Any) -> dict[str, Any]:
    """The parameters of SendMessage; fields in camel case go into the message."""
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    if data is not None:
        parts.append({"data": data})
    message = {"messageId": str(uuid4()), "role": "ROLE_USER", "parts": parts, **fields}
    return {"message": message, "configuration": {"returnImmediately": True}}


def offer(definition: dict[str, Any], name: str = TEAM) -> None:
    """Store a team; its name is in NEXUS_A2A_TEAMS by the settings of the test."""
    Team.objects.update_or_create(name=name, defaults={"definition": json.dumps({**definition, "name": name})})


def forget(*agents: str) -> None:
    """Take agents out of the registry."""
    for agent in agents:
        registry.remove(agent)
