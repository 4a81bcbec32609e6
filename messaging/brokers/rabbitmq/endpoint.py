"""Where RabbitMQ is: the broker URL, taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from messaging.core.errors import ConfigurationError

SCHEMES = ("amqp", "amqps", "pyamqp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a node of the broker is and how to log in.

    Args:
        host: name or address, and port, such as ``"rabbit1:5672"``.
        virtual_host: the broker's name space.
        user: login name.
        password: login password.
        tls: None for plain TCP, otherwise py-amqp's ``ssl`` options.
    """

    host: str
    virtual_host: str
    user: str
    password: str
    tls: dict[str, Any] | None

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read ``amqp://user:password@host:port/virtual_host``; ``amqps`` for TLS, with ``?ca_certs=<file>``.

        Raises:
            ConfigurationError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ConfigurationError(f"broker URL: expected amqp:// or amqps://, got {parts.scheme or 'no scheme'!r}")
        try:
            port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        except ValueError as error:
            raise ConfigurationError(f"broker URL: {error}; expected amqp://user:password@host:port/vhost") from None
        host = parts.hostname or "localhost"
        tls = None
        if parts.scheme == "amqps":
            certificates = parse_qs(parts.query).get("ca_certs", [None])[0]
            tls = {
                "context": {"check_hostname": True, "cafile": certificates},
                "server_hostname": host,
                "do_handshake_on_connect": False,
            }
        return cls(
            host=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            virtual_host=unquote(parts.path[1:]) or "/",
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            tls=tls,
        )
