"""Nexus and Celery behind the same small Django site, which gunicorn runs with 8 threads."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import ClassVar

from bench.systems.base import System
from bench.systems.celery import PlainCelery
from bench.systems.client import Client
from bench.systems.nexus import NexusSystem
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until

THREADS = 8
SETTINGS = "bench.apps.web.settings"


class _InView(System):
    """What both have in common: the site, and who posts to it."""

    kind: ClassVar[str]
    _web: Supervised | None = None
    _port: int = 0

    def site_environment(self) -> Mapping[str, str]:
        """Of the site's process, beside that of the workers."""
        return {**self._environment, "DJANGO_SETTINGS_MODULE": SETTINGS, "BENCH_WEB": self.kind}

    def start_web(self) -> None:
        """Start the site and wait for its first answer."""
        environment = dict(self.site_environment())
        self.ground.run(
            [self.ground.python, "-m", "django", "migrate", "--run-syncdb", "--skip-checks", "-v", "0"], environment
        )
        self._port = free_port()
        bind = ["--bind", f"127.0.0.1:{self._port}", "--worker-class", "gthread", "--threads", str(THREADS)]
        self._web = Supervised(
            [self.ground.program("gunicorn"), *bind, "bench.apps.web.wsgi"],
            log_file=self.folder / "web.log",
            environment=environment,
            name=f"{self.name} web",
        ).start()
        self._processes.append(self._web)
        wait_until(self._answers, 30, "the site to answer", interval=0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def posting(self, requests: int) -> Client:
        """A process that posts, with as many threads as the site has."""
        command = [self.ground.python, "-m", "bench.apps.poster", str(self._port), str(requests), str(THREADS)]
        return Client(command, self._environment, self.folder / "poster.log")

    def web_parts(self) -> dict[str, list[int]]:
        """Root processes for the meter; who posts does not count."""
        assert self._web is not None
        return {
            "workers": [process.pid for process in self._processes if process is not self._web],
            "web": [self._web.pid],
            "postgresql": [self.ground.postgres.pid],
            "rabbitmq": [self.ground.rabbitmq.pid],
        }


class NexusInView(_InView, NexusSystem):
    """See the module."""

    kind = "nexus"


class CeleryInView(_InView, PlainCelery):
    """See the module."""

    kind = "celery"

    def prepare(self) -> Mapping[str, str]:
        return {**super().prepare(), "DATABASE_URL": self.ground.new_database(self.tag)}

    def clean_up(self) -> None:
        super().clean_up()
        self.ground.postgres.drop_database(self.tag)
