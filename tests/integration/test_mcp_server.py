"""The MCP server as a real process, asked by the SDK's own client: with tokens, and as an operator."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from django.contrib.auth.models import User
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from agents.models import Approval
from messaging.api import ReliableCommunicationBus
from messaging.models import Message, Workflow
from messaging.testing.servers.nodes import free_port
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from nexus_api.tokens import create_token, revoke_token
from tests.support.paths import ROOT
from tests.support.secret_scan import plant

COMMAND = [str(ROOT / "manage.py"), "nexus_mcp"]


@dataclass
class Answer:
    """What a tool answered: an object, or why not."""

    values: dict[str, Any]
    error: str


async def call(client: Client, tool: str, **arguments: Any) -> Answer:
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(block, "text", "") for block in result.content)
    return Answer({}, text) if result.is_error else Answer(json.loads(text), "")


def stdio(environment: Mapping[str, str], *options: str) -> Any:
    parameters = StdioServerParameters(command=sys.executable, args=[*COMMAND, *options], env=dict(environment))
    return stdio_client(parameters, errlog=sys.__stderr__)
