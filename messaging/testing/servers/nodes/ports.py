"""Free loopback ports that stay free while their server is down."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_LOWEST = 15_000
_taken: set[int] = set()


def _first_ephemeral_port() -> int:
    """The lowest port the kernel hands to outgoing connections."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def free_port() -> int:
    """Choose a loopback port that nobody listens on and that this process has not chosen before.

    The port lies below the ephemeral range: a client that retries against an ephemeral port while its server is
    down can be given that very port as its own, connect to itself, and keep the server from coming back.

    Raises:
        OSError: no free port was found in 200 tries.
    """
    highest = max(_first_ephemeral_port() - 1, _LOWEST + 1_000)
    for _ in range(200):
        port = random.randint(_LOWEST, highest)  # nosec B311  # a free port is no secret
        if port in _taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port
    raise OSError(f"no free loopback port between {_LOWEST} and {highest}")
