"""A small MCP server for tests, over standard input and output, without an SDK: it starts at once.

Its tools are slow, fail, talk rubbish, or die.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from typing import Any

SCHEMAS: dict[str, dict[str, Any]] = {
    "add": {"first": {"type": "integer"}, "second": {"type": "integer"}},
    "long": {"characters": {"type": "integer"}},
    "counted": {"name": {"type": "string"}},
    **{name: {} for name in ("slow", "failing", "rubbish", "dying", "secrets", "picture", "huge.one/../x")},
}
WAITING = threading.Event()


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of a tool."""
    if name == "add":
        return text(str(arguments["first"] + arguments["second"]))
    if name == "long":
        return text("x" * arguments["characters"])
    if name == "secrets":
        return text(" ".join(sorted(os.environ)))
    if name == "slow":
        WAITING.wait(60)
    if name == "failing":
        return {**text("the shelf is empty"), "isError": True}
    if name == "picture":
        return {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]}
    if name == "rubbish":
        sys.stdout.write("this is no JSON\n{\n\x00\n[]\n")
    if name == "dying":
        os._exit(3)
    if name == "counted":
        return text(count(arguments["name"]))
    return text("in spite of that")


def count(name: str) -> str:
    """Count a call where it can be seen, and wait there with the second one."""
    url = os.environ["SERVER_URL"]
    with urllib.request.urlopen(f"{url}/count/{name}", data=b"", timeout=10) as response:
        number = json.load(response)["n"]
    if name == "second":
        urllib.request.urlopen(f"{url}/gate/tool", timeout=60).close()
    return f"{name} {number}"


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request: its result, or an error."""
    parameters = request.get("params", {})
    if request["method"] == "initialize":
        info = {"name": "test tools", "version": "1"}
        result = {"protocolVersion": parameters["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
        return {"result": result}
    if request["method"] == "tools/list":
        return {"result": {"tools": [describe(name, properties) for name, properties in SCHEMAS.items()]}}
    if request["method"] == "tools/call":
        try:
            return {"result": call(parameters["name"], parameters.get("arguments", {}))}
        except (KeyError, TypeError) as error:
            return {"error": {"code": -32602, "message": f"invalid arguments: {error}"}}
    return {"error": {"code": -32601, "message": "unknown method"}}


def describe(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": f"It is called {name}.", "inputSchema": schema}


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer(asked)}) + "\n")
            sys.stdout.flush()
