"""Viewers of a live page over HTTP, as browsers are: they come back with the number of the last message.

``python -m tests.support.live_viewers LEGS``: starts a race of so many messages in one workflow, and writes the cookie
of a user's session and the address of a link to the workflow as JSON.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

FAILED = (OSError, http.client.HTTPException)


class LiveViewer:
    """Watches by a stream in a thread of its own until the block ends.

    Args:
        port: of the server on this machine.
        path: of the events.
    """

    def __init__(self, port: int, path: str) -> None:
        self.numbers: list[int] = []
        self.comings = 0
        self._port, self._path = port, path
        self._ending = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._ending.is_set():
            with suppress(*FAILED, AttributeError):  # the server was killed; or the block ends
                self._watch()
            self._ending.wait(0.2)

    def _watch(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            headers = {"Last-Event-ID": str(self.numbers[-1])} if self.numbers else {}
            self._connection.request("GET", self._path, headers=headers)
            response = self._connection.getresponse()
            if response.status != 200:
                return
            self.comings += 1
            name, number, whole = "", 0, False
            for raw in response:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    whole = raw.endswith(b"\n")
                elif not line and name == "message" and whole:
                    self.numbers.append(number)
                    name, whole = "", False
        finally:
            self._connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(2)
        self._thread.join(10)


def get(port: int, path: str, cookie: str = "") -> tuple[int, bytes]:
    """GET; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    from messaging.models import Workflow
    from nexus_live.sharing import make_link
    from tests.support.race import start_race

    start_race(1, int(sys.argv[1]))

    user = User.objects.create_superuser("watcher")
    session: Any = SessionStore()
    session["_auth_user_id"] = str(user.pk)
    session["_auth_user_backend"] = settings.AUTHENTICATION_BACKENDS[-1]
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session.create()
    workflow = Workflow.objects.order_by("-pk").values_list("pk", flat=True)[0]
    _, token = make_link(workflow, user, 3_600.0)
    made = {
        "cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}",
        "events": f"/live/shared/{token}/events",
        "workflow": str(workflow),
    }
    print(json.dumps(made))


if __name__ == "__main__":
    main()
