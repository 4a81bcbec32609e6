"""One connection to RabbitMQ: opening it within a time limit, reading and writing it without ever blocking for long."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from struct import unpack_from
from time import monotonic
from typing import Any

import amqp
from amqp.exceptions import AMQPError, UnexpectedFrame
from amqp.method_framing import frame_handler as amqp_frame_handler
from amqp.transport import SSLTransport, TCPTransport

from messaging.brokers.rabbitmq.endpoint import Endpoint
from messaging.brokers.rabbitmq.frames import FrameDelivery, delivery_handler

logger = logging.getLogger(__name__)

LINK_ERRORS: tuple[type[BaseException], ...] = (OSError, AMQPError)
"""What py-amqp raises when a connection or channel fails. The link is of no use afterwards."""

_RECEIVE_BYTES = 131072
_USER_TIMEOUT_MILLISECONDS = 20_000  # py-amqp's second would cut a connection to a broker that only pauses
_MAX_WAIT = 1.0  # seconds; then heartbeats are due for a look
_NOT_NOW = (TimeoutError, BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CLOSE_TIMEOUT = 1.0
_GARBLED = (struct.error, LookupError, ValueError, OverflowError)
"""What py-amqp raises, undeclared, on a frame that is not what AMQP allows."""


class _BufferedFrames:
    """Reads what the socket has at once and cuts it into frames; py-amqp makes three system calls a frame."""

    sock: socket.socket
    _received: bytes = b""
    _offset: int = 0

    def take_frame(self) -> tuple[int, int, bytes] | None:
        """Return the next frame that has arrived completely, or None."""
        received, offset = self._received, self._offset
        if len(received) - offset < 8:
            return None
        kind, channel, size = unpack_from(">BHI", received, offset)
        end = offset + 7 + size
        if len(received) <= end:
            return None
        if received[end] != 0xCE:
            raise UnexpectedFrame(f"frame ends with {received[end]:#04x} instead of 0xce")
        self._offset = end + 1
        return kind, channel, received[offset + 7 : end]

    def fill(self) -> None:
        """Read from the socket, as long as the socket's timeout allows."""
        data = self.sock.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        self._received = self._received[self._offset :] + data
        self._offset = 0

    def read_frame(self) -> tuple[int, int, bytes]:
        """Return the next frame, waiting for it as long as the socket's timeout allows (called by py-amqp)."""
        while (frame := self.take_frame()) is None:
            self.fill()
        return frame


class _PlainTransport(_BufferedFrames, TCPTransport):  # type: ignore[misc]  # py-amqp has no types
    pass


class _TLSTransport(_BufferedFrames, SSLTransport):  # type: ignore[misc]
    pass


def _buffered_transport(
    host: str, connect_timeout: float, tls: Any, _read_timeout: None, _write_timeout: None, **options: Any
) -> Any:
    if tls:
        return _TLSTransport(host, connect_timeout=connect_timeout, ssl=tls, **options)
    return _PlainTransport(host, connect_timeout=connect_timeout, **options)


class Link:
    """An open connection, used by one thread.

    Args:
        endpoint: where to connect.
        name: shown by the broker's management as the connection's name.
        connect_timeout: seconds for each step of opening it, and for each answer later on.
        heartbeat: seconds between heartbeats; 0 for none.
        on_delivery: called with each message that arrives.

    Raises:
        OSError, AMQPError: it could not be opened.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str,
        connect_timeout: float,
        heartbeat: float = 0,
        on_delivery: Callable[[FrameDelivery], None] | None = None,
    ) -> None:
        self.blocked = False
        self._last_heartbeat_check = monotonic()
        self._patience = connect_timeout
        self._unsent = memoryview(b"")
        self._connection = amqp.Connection(
            endpoint.host,
            virtual_host=endpoint.virtual_host,
            userid=endpoint.user,
            password=endpoint.password,
            login_method="PLAIN",
            ssl=endpoint.tls or False,
            connect_timeout=connect_timeout,
            heartbeat=heartbeat,
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
            client_properties={"connection_name": name},
            socket_settings={socket.TCP_USER_TIMEOUT: _USER_TIMEOUT_MILLISECONDS},
            frame_handler=self._frame_handler,
        )
        self._on_delivery = on_delivery
        self._connection.Transport = _buffered_transport
        try:
            self._connection.connect()
            self._transport = self._connection.transport
            self._transport.sock.settimeout(connect_timeout)  # bounds every wait inside py-amqp
        except BaseException:
            self.drop()
            raise
        self.frame_max: int = self._connection.frame_max

    def _frame_handler(self, connection: Any, callback: Any) -> Callable[[Any], bool]:
        fallback: Callable[[Any], bool] = amqp_frame_handler(connection, callback)
        return fallback if self._on_delivery is None else delivery_handler(fallback, self._on_delivery)

    def _on_blocked(self, _text: str) -> None:  # py-amqp does not read the broker's reason
        self.blocked = True
        logger.warning("RabbitMQ takes no messages: it has a memory or disk alarm")

    def _on_unblocked(self) -> None:
        self.blocked = False
        logger.info("RabbitMQ takes messages again")

    def open_channel(self) -> Any:
        """Open a channel and return py-amqp's object for it."""
        return self._connection.channel()

    def pump(self, timeout: float) -> bool:
        """Write what is left to write, and handle what has arrived; if that is nothing, wait for something.

        Args:
            timeout: seconds to wait; 0 not to wait. Returns after a second at the latest: call it in a loop.

        Returns:
            Whether anything was handled.

        Raises:
            OSError, AMQPError: the link failed.
        """
        handled = self._handle_frames()
        patience = 0.0 if handled else min(max(timeout, 0.0), _MAX_WAIT)
        if self._unsent:
            self._write_unsent()
            if self._unsent and patience and not self._fill(0.0):
                self._wait_for_room(patience)
                self._write_unsent()
                patience = 0.0
        self._fill(patience)
        handled = self._handle_frames() or handled
        if monotonic() - self._last_heartbeat_check >= _MAX_WAIT and not self._unsent:
            self._last_heartbeat_check = monotonic()
            self._connection.heartbeat_tick()
        return handled

    def _fill(self, timeout: float) -> bool:
        transport, sock = self._transport, self._transport.sock
        sock.settimeout(timeout)
        try:
            transport.fill()
        except _NOT_NOW:
            return False
        finally:
            sock.settimeout(self._patience)
        self._connection.bytes_recv += 1
        return True

    def _handle_frames(self) -> bool:
        transport, handle = self._transport, self._connection.on_inbound_frame
        handled = False
        while (frame := transport.take_frame()) is not None:
            try:
                handle(frame)
            except _GARBLED as error:  # the broker's own words, not a message's: no telling where the next one begins
                raise UnexpectedFrame(f"a frame cannot be decoded ({type(error).__name__}: {error})") from error
            handled = True
        return handled

    def _wait_for_room(self, timeout: float) -> None:
        waiting = select.poll()
        waiting.register(self._transport.sock, select.POLLIN | select.POLLOUT)
        waiting.poll(timeout * 1000)

    def write(self, data: bytes) -> None:
        """Write some frames, waiting as long as the connect timeout for the broker to take them.

        Raises:
            OSError: the link failed.
        """
        self._transport.sock.sendall(data)
        self._connection.bytes_sent += 1

    def write_without_waiting(self, data: bytes) -> None:
        """Write as much of some frames as the socket takes now; ``pump()`` writes the rest.

        Raises:
            OSError: the link failed.
        """
        self._unsent = memoryview(bytes(self._unsent) + data) if self._unsent else memoryview(data)
        self._write_unsent()

    @property
    def congested(self) -> bool:
        """Whether bytes wait for the broker to take them."""
        return bool(self._unsent)

    def _write_unsent(self) -> None:
        sock = self._transport.sock
        sock.settimeout(0.0)
        try:
            while self._unsent:
                self._unsent = self._unsent[sock.send(self._unsent) :]
        except _NOT_NOW:
            pass
        finally:
            sock.settimeout(self._patience)
        self._connection.bytes_sent += 1

    def close(self) -> None:
        """Say goodbye to the broker, for a second at most, and close."""
        if not self.blocked:
            with suppress(*LINK_ERRORS):
                self._transport.sock.settimeout(_CLOSE_TIMEOUT)
                self._connection.close()
        self.drop()

    def drop(self) -> None:
        """Close without a word."""
        transport = self._connection._transport
        if transport is not None and transport.sock is not None:
            transport.sock.close()  # not shutdown(): after a fork the parent uses the same connection
            transport.sock = None
            transport.connected = False
