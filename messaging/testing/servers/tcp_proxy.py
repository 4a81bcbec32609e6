"""A TCP proxy that misbehaves on demand: cuts, stalls, swallows what a server answers, drops publisher confirms."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from struct import unpack_from
from types import TracebackType
from typing import Any, Self

from messaging.testing.servers.nodes.ports import free_port

_CHUNK = 65_536
_BASIC_ACK = (60, 80)
_METHOD_FRAME = 1


class _ConfirmFilter:
    """Cuts what an AMQP server sends into frames and leaves basic.ack out while it is told to."""

    def __init__(self, proxy: TcpProxy) -> None:
        self._proxy = proxy
        self._rest = b""

    def __call__(self, data: bytes) -> bytes:
        data = self._rest + data
        position, kept = 0, []
        while len(data) - position >= 8:
            kind, _channel, size = unpack_from(">BHI", data, position)
            end = position + size + 8
            if len(data) < end:
                break
            is_ack = kind == _METHOD_FRAME and size >= 4 and unpack_from(">HH", data, position + 7) == _BASIC_ACK
            if is_ack and self._proxy.dropping_confirms:
                self._proxy.dropped_confirms += 1
            else:
                kept.append(data[position:end])
            position = end
        self._rest = data[position:]
        return b"".join(kept)


class TcpProxy:
    """Forwards a loopback port to a server's, in a thread of its own.

    Args:
        target_port: the server's port on 127.0.0.1.
        amqp: the server speaks AMQP 0-9-1, so that confirms can be dropped.
    """

    def __init__(self, target_port: int, *, amqp: bool = False) -> None:
        self.port = free_port()
        self.dropping_confirms = False
        self.dropped_confirms = 0
        self.stalled_bytes = 0
        self.swallowed_bytes = 0
        self._target_port = target_port
        self._amqp = amqp
        self._refusing = False
        self._swallowing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)
        self._server: asyncio.Server | None = None

    # --- life ---

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        self._run(self._listen())
        return self

    def close(self) -> None:
        """Cut everything and end."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- faults ---

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._writers) // 2

    def cut(self) -> int:
        """Reset every connection; return how many there were. New ones are taken."""
        return int(self._run(self._cut()))

    def refuse(self, refusing: bool) -> None:
        """Reset every new connection at once, or take them again."""
        self._refusing = refusing

    def stall(self, stalling: bool) -> None:
        """Stop reading from both sides, as a network that swallows packets does, or go on without losing a byte."""
        self._run(self._set_flowing(not stalling))

    def swallow(self, swallowing: bool) -> None:
        """Throw away what the server sends, and cut when it ends: bytes are missing, so nothing could follow."""
        self._swallowing = swallowing
        if not swallowing:
            self.cut()

    def drop_confirms(self, dropping: bool) -> None:
        """Leave the confirms out of what an AMQP server sends; everything else passes."""
        if not self._amqp:
            raise ValueError("drop_confirms() needs TcpProxy(…, amqp=True)")
        self.dropping_confirms = dropping

    # --- forwarding ---

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _set_flowing(self, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _cut(self) -> int:
        count = self.connections
        for writer in list(self._writers):
            writer.transport.abort()
        return count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        confirms = _ConfirmFilter(self) if self._amqp else None
        pumps = [
            asyncio.create_task(self._pump(reader, server_writer, None, from_server=False)),
            asyncio.create_task(self._pump(server_reader, writer, confirms, from_server=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._writers -= both
            for end in both:
                with contextlib.suppress(OSError):
                    end.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        confirms: _ConfirmFilter | None,
        *,
        from_server: bool,
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await reader.read(_CHUNK):
                if not self._flowing.is_set():
                    self.stalled_bytes += len(data)
                    await self._flowing.wait()
                if from_server and self._swallowing:
                    self.swallowed_bytes += len(data)
                    continue
                writer.write(confirms(data) if confirms else data)
                await writer.drain()
