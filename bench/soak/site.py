"""A private installation of Nexus for a soak: servers, a proxy on every way between two of its parts, processes."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from bench.paths import ROOT
from bench.soak.ledger import SoakLedger
from bench.soak.names import (
    ATTEMPTS_FILE,
    BRAKE_FILE,
    CLOCK_FILE,
    MASTER_KEY,
    OUTSIDE,
    TILLS,
    VAULT_FILE,
    VERSION_FILE,
)
from bench.soak.operating import OperatorProcess
from bench.soak.version import MIGRATION, SEEN
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.tcp_proxy import TcpProxy

DATABASE = "soak"
ROLES = ("worker", "relay", "sender", "web")
BOOT = 60.0
INSTALLED = ROOT / "bench" / "soak" / "installed"


class Site:
    """Args:
    folder: for logs and files; emptied by the caller.
    brokers: how many RabbitMQ nodes; more than one form a cluster.
    rate: messages that the sender sends a second.
    """

    def __init__(self, folder: Path, *, brokers: int = 1, rate: float = 40.0) -> None:
        self.folder = folder
        self.postgres = PostgresNode()
        self.tills = PostgresNode(settings={"max_prepared_transactions": "64"})
        self.brokers = [RabbitMQNode() for _ in range(brokers)]
        self.database_proxies: dict[str, TcpProxy] = {}
        self.broker_proxies: dict[str, list[TcpProxy]] = {}
        self.processes: dict[str, Supervised] = {}
        self._rate = rate
        self._secret = secrets.token_urlsafe(40)
        self._master = secrets.token_hex(32)
        self.web_port = free_port()
        self.events = ""
        """The path of a live page's events."""
        self.mended = 0

    # --- start ---

    def __enter__(self) -> Self:
        try:
            self._start_servers()
            self._prepare_database()
            self._start_processes()
        except BaseException:
            self.close()
            raise
        return self

    def _start_servers(self) -> None:
        self.postgres.start()
        for broker in self.brokers:
            broker.start()
        for broker in self.brokers[1:]:
            broker.join_cluster(self.brokers[0])
        self.postgres.create_database(DATABASE)
        self.tills.start()
        for till in TILLS:
            with psycopg.connect(self.tills.create_database(till), connect_timeout=5) as connection:
                connection.execute("CREATE TABLE soak_transfer (run text NOT NULL, amount integer NOT NULL)")
        self.ledger = SoakLedger(self.postgres.url(DATABASE), outside=True)
        for role in ROLES:
            self.database_proxies[role] = TcpProxy(self.postgres.port).start()
            self.broker_proxies[role] = [TcpProxy(broker.port, amqp=True).start() for broker in self.brokers]

    def _prepare_database(self) -> None:
        environment = {**self.environment("relay"), "DATABASE_URL": self.postgres.url(DATABASE)}
        del environment[VAULT_FILE]  # no fault touches the operator
        self.operator = OperatorProcess(environment, self.folder / "operator.log")
        self.operator.ask("manage", "migrate", "--verbosity", "0")
        self.ledger.create()
        self.ledger.query(MIGRATION)
        self.change_policy("access.yaml")

    def change_policy(self, name: str) -> None:
        """Make one of the soak's access policies the one that holds."""
        self.operator.ask("manage", "nexus_access", "import", str(INSTALLED / name))

    def mend(self) -> int:
        """Release what a failing rule quarantined, replay what the changed policy refused; return how much it was."""
        waiting = "SELECT count(*) FROM nexus_verdict WHERE state = 'waiting'"
        refused = "SELECT count(*) FROM nexus_dead_letter WHERE status = 'open' AND reason = 'not_authorized'"
        if not any(self.ledger.query(question)[0][0] for question in (waiting, refused)):
            return 0
        count = int(self.operator.ask("mend"))
        self.mended += count
        return count

    def _start_processes(self) -> None:
        worker = [
            sys.executable,
            "-m",
            "celery",
            "--app",
            "nexus_site",
            "worker",
            "--concurrency",
            "1",
            "--loglevel",
            "info",
            "--without-mingle",
            "--without-gossip",
        ]
        relay = [sys.executable, "manage.py", "nexus_relay"]
        sender = [sys.executable, "-m", "bench.soak.sender", str(self._rate)]
        outside = self._set_up_outside()
        web = [sys.executable, "-m", "uvicorn", "nexus_site.asgi:application", "--port", str(self.web_port)]
        commands = {
            "worker-1": [*worker, "--hostname", "one@%h"],
            "worker-2": [*worker, "--hostname", "two@%h"],
            "relay-1": relay,
            "relay-2": relay,
            "sender": sender,
            "web": [*web, "--log-level", "warning"],
            "outside": [sys.executable, "-m", "bench.soak.outside", f"http://127.0.0.1:{self.web_port}/api", outside],
        }
        for name, command in commands.items():
            role = name.partition("-")[0]
            environment = self.environment(role if role in ROLES else "web")
            log_file = self.folder / f"{name}.log"
            self.processes[name] = Supervised(command, log_file=log_file, environment=environment, name=name)
            self.processes[name].keep_running()

    def _set_up_outside(self) -> str:
        """Make what the processes outside need; return the token of the program outside."""
        made: dict[str, Any] = self.operator.ask("setup")
        self.events = made["events"]
        return str(made["token"])

    def environment(self, role: str) -> dict[str, str]:
        """The environment of a process; its servers are reached by the role's own proxies."""
        database = self.postgres.url(DATABASE).replace(
            f":{self.postgres.port}/", f":{self.database_proxies[role].port}/"
        )
        urls = [f"amqp://guest:guest@127.0.0.1:{proxy.port}//" for proxy in self.broker_proxies[role]]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
        return {
            **kept,
            "DATABASE_URL": database,
            **{f"DATABASE_URL_{till.upper()}": self.tills.url(till) for till in TILLS},
            "BROKER_URL": ";".join(urls),
            "REDIS_URL": "",
            "SECRET_KEY": self._secret,
            "NEXUS_DATA_DIR": str(self.folder / "data"),
            "NEXUS_APPS": "bench.soak.installed",
            "NEXUS_AGENTS": "bench.soak.agents" + (",bench.soak.version" if role == "worker" else ""),
            "NEXUS_SIGNING": "enforce",
            "NEXUS_KEY_VAULT": "bench.soak.vault.make",
            "NEXUS_VERIFICATION_RULES": str(INSTALLED / "verification.yaml"),
            "NEXUS_API_RATE": "1000000",
            MASTER_KEY: self._master,
            VAULT_FILE: str(self.folder / "vault.away"),
            BRAKE_FILE: str(self.folder / "brake"),
            VERSION_FILE: str(self.folder / "version"),
            SEEN: str(self.folder / "newer.seen"),
            OUTSIDE: "1",
            "NEXUS_LEASE_SECONDS": "6",
            "NEXUS_REDELIVERY_AFTER": "5",
            "NEXUS_GAP_TIMEOUT": "10",
            "NEXUS_MAX_ATTEMPTS": "15",
            "NEXUS_RETRY_CAP": "5",
            CLOCK_FILE: str(self.folder / f"{role}.clock"),
            ATTEMPTS_FILE: str(self.folder / "attempts.log"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
        }

    # --- parts ---

    def workers(self) -> list[Supervised]:
        """The Celery workers."""
        return [process for name, process in self.processes.items() if name.startswith("worker")]

    def relays(self) -> list[Supervised]:
        """The relays; one of them leads."""
        return [process for name, process in self.processes.items() if name.startswith("relay")]

    @property
    def sender(self) -> Supervised:
        """The sending process."""
        return self.processes["sender"]

    @property
    def web(self) -> Supervised:
        """The web server."""
        return self.processes["web"]

    @property
    def outside(self) -> Supervised:
        """The program outside."""
        return self.processes["outside"]

    def all_proxies(self) -> Iterator[TcpProxy]:
        """Every proxy."""
        yield from self.database_proxies.values()
        for proxies in self.broker_proxies.values():
            yield from proxies

    # --- end ---

    def close(self) -> None:
        """Kill and remove everything but the folder."""
        for process in self.processes.values():
            process.stop()
        if hasattr(self, "operator"):
            self.operator.close()
        for proxy in self.all_proxies():
            proxy.close()
        if hasattr(self, "ledger"):
            self.ledger.close()
        for broker in self.brokers:
            broker.remove()
        self.postgres.remove()
        self.tills.remove()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
