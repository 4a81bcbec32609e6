"""A private RabbitMQ."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import amqp

from messaging.testing.servers.certificates import ServerCertificate
from messaging.testing.servers.nodes.base import Node, NodeError
from messaging.testing.servers.nodes.erlang import ErlangPortMapper
from messaging.testing.servers.nodes.ports import free_port


def _scripts() -> Path | None:
    """The folder of RabbitMQ's own scripts.

    Debian's /usr/sbin/rabbitmq-server is a wrapper that switches to the user rabbitmq, who cannot use our folder.
    `RABBITMQ_HOME` chooses another installation, such as an unpacked release.
    """
    chosen = os.environ.get("RABBITMQ_HOME")
    candidates = [Path(chosen) / "sbin"] if chosen else []
    candidates.append(Path("/usr/lib/rabbitmq/bin"))
    on_path = shutil.which("rabbitmq-server")
    if on_path is not None:
        candidates.append(Path(on_path).resolve().parent)
    return next((folder for folder in candidates if (folder / "rabbitmq-server").exists()), None)


class RabbitMQNode(Node):
    """A private RabbitMQ on a free loopback port, user guest. Several may run at once and form a cluster.

    Args:
        management: run the management plugin, on `management_port`; starting takes longer.
        memory_watermark: from where publishers are blocked: a fraction of the memory, or a size such as "200MB".
        configuration: further lines of rabbitmq.conf, as name → value.
        certificate: listen with TLS too, on `tls_port`.
    """

    service = "RabbitMQ"
    apt_package = "rabbitmq-server"
    _not_yet = (OSError, amqp.AMQPError)
    _created: ClassVar[int] = 0

    def __init__(
        self,
        *,
        management: bool = False,
        memory_watermark: float | str = 0.4,
        configuration: Mapping[str, str] | None = None,
        certificate: ServerCertificate | None = None,
    ) -> None:
        super().__init__()
        RabbitMQNode._created += 1
        self.name = f"nexus-{os.getpid()}-{RabbitMQNode._created}@localhost"
        self.management_port = free_port() if management else None
        self._distribution_port = free_port()
        self.tls_port = None if certificate is None else free_port()
        kind = "absolute" if isinstance(memory_watermark, str) else "relative"
        self._configuration = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            f"vm_memory_high_watermark.{kind}": str(memory_watermark),
            "disk_free_limit.absolute": "50MB",
            "log.file.level": "info",
            **(
                {"management.tcp.ip": "127.0.0.1", "management.tcp.port": str(self.management_port)}
                if management
                else {}
            ),
            **({} if certificate is None else self._tls_settings(certificate)),
            **(configuration or {}),
        }
        self._erlang = ErlangPortMapper.shared()
        self._write_files()

    def _tls_settings(self, certificate: ServerCertificate) -> Mapping[str, str]:
        return {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": str(certificate.authority),
            "ssl_options.certfile": str(certificate.certificate),
            "ssl_options.keyfile": str(certificate.key),
        }

    def tls_url(self, host: str, authority: Path) -> str:
        """For BROKER_URL, with TLS.

        Args:
            host: as the client calls the server: "127.0.0.1" or "localhost".
            authority: whom the client trusts.

        Raises:
            NodeError: the node was made without a certificate.
        """
        if self.tls_port is None:
            raise NodeError(f"{self} has no certificate; make it with RabbitMQNode(certificate=…)")
        return f"amqps://guest:guest@{host}:{self.tls_port}//?ca_certs={quote(str(authority), safe='')}"

    @classmethod
    def missing(cls) -> str | None:
        """Why RabbitMQ cannot run here, or None."""
        if _scripts() is None:
            return f"rabbitmq-server is not installed (Debian: apt-get install {cls.apt_package})"
        return ErlangPortMapper.missing()

    @property
    def data_folder(self) -> Path:
        """Queues, messages, users: what a disk loss loses."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """For BROKER_URL, virtual host /."""
        return self.url_of("/")

    def url_of(self, virtual_host: str) -> str:
        """For BROKER_URL, with another virtual host; `create_virtual_hosts()` makes it."""
        path = "/" if virtual_host == "/" else f"/{virtual_host}"
        return f"amqp://guest:guest@127.0.0.1:{self.port}{path}" + ("/" if virtual_host == "/" else "")

    @property
    def management_url(self) -> str:
        """The management plugin's HTTP address.

        Raises:
            NodeError: the node was made without it.
        """
        if self.management_port is None:
            raise NodeError(f"{self} has no management plugin; make it with RabbitMQNode(management=True)")
        return f"http://guest:guest@127.0.0.1:{self.management_port}"

    def rabbitmqctl(self, *arguments: str, timeout: float = 60.0, script: str = "rabbitmqctl") -> str:
        """Run rabbitmqctl, or another of RabbitMQ's scripts, against this node. Takes about a second.

        Args:
            arguments: such as "list_queues", "name", "messages".
            timeout: seconds.
            script: such as "rabbitmq-diagnostics" or "rabbitmq-queues".

        Returns:
            What it wrote to its output.

        Raises:
            NodeError: it failed; says how.
        """
        command = [str(self._folder_of_scripts() / script), "-n", self.name, "--quiet", *arguments]
        done = subprocess.run(
            command, env=dict(self._environment()), cwd=self.folder, capture_output=True, text=True, timeout=timeout
        )
        if done.returncode != 0:
            raise NodeError(
                f"{script} {' '.join(arguments)} failed with code {done.returncode}: {done.stdout}{done.stderr}"
            )
        return done.stdout

    def create_virtual_hosts(self, names: Sequence[str]) -> list[str]:
        """Create empty virtual hosts that guest may use; one call for many is as quick as for one.

        Returns:
            Their URLs, in order.
        """
        binaries = ", ".join(f'<<"{name}">>' for name in names)
        self.rabbitmqctl(
            "eval",
            f'[begin ok = rabbit_vhost:add(Name, <<"test">>), '
            f'ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, '
            f'<<"test">>) end || Name <- [{binaries}]], ok.',
        )
        return [self.url_of(name) for name in names]

    def sync_metadata(self) -> None:
        """Write RabbitMQ's registry of quorum queues to disk now.

        RabbitMQ keeps it in a cache for up to three seconds: a node killed sooner after a queue was declared comes
        back with that queue empty and without a leader, for ever (rabbitmq-server#15725). Call this between the
        declaration and `kill()`, unless that very case is tested.
        """
        self.rabbitmqctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()], ok.")

    def set_memory_watermark(self, fraction: float) -> None:
        """Change the memory watermark at run time: 0 raises the alarm and blocks publishers, 0.4 clears it."""
        self.rabbitmqctl("set_vm_memory_high_watermark", str(fraction))

    def close_all_connections(self, reason: str = "test") -> None:
        """Make the broker close every client connection."""
        self.rabbitmqctl("close_all_connections", reason)

    def join_cluster(self, other: RabbitMQNode) -> None:
        """Forget this node's own data and become a member of another node's cluster."""
        for step in (("stop_app",), ("reset",), ("join_cluster", other.name), ("start_app",)):
            self.rabbitmqctl(*step)

    @staticmethod
    def _folder_of_scripts() -> Path:
        folder = _scripts()
        if folder is None:
            raise NodeError("RabbitMQ was removed while it was used")
        return folder

    def _write_files(self) -> None:
        lines = [f"{name} = {value}\n" for name, value in self._configuration.items()]
        (self.folder / "rabbitmq.conf").write_text("".join(lines))
        plugins = "rabbitmq_management" if self.management_port else ""
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        (self.folder / "environment.conf").write_text("")

    def _environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **kept,
            "HOME": str(self._erlang.data_folder),
            "ERL_EPMD_PORT": str(self._erlang.port),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.data_folder),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(self.data_folder / "feature_flags"),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the server instead of watching it: our child is the process to signal.
            "detached": "true",
        }

    def _command(self) -> list[str]:
        return [str(self._folder_of_scripts() / "rabbitmq-server")]

    def _answers(self) -> bool:
        connection = amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=2, read_timeout=5)
        try:
            connection.connect()
        finally:
            connection.collect()
        return True
