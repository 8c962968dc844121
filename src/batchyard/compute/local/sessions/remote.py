"""The server's side of a session: one connection to the node, read only as quickly as the client does."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from batchyard.compute.local.protocol import Frames
from batchyard.compute.local.sessions import messages
from batchyard.compute.local.sessions.messages import Begin, Input, Output, Over, Resize

_READ_BYTES = 256 * 1024


class RemoteSession:
    """One session with a node. The node ends the command when the connection is closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: Begin) -> None:
        self._reader, self._writer = reader, writer
        self._frames = Frames()
        self._reading = asyncio.Lock()
        self._over: Over | None = None
        writer.write(messages.encoded(begin))

    async def read(self, within_s: float) -> tuple[list[Output], Over | None]:
        """What it wrote since the last time, waited for at most so long, and its end if that has come."""
        async with self._reading:
            found: list[Output] = []
            if self._over is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(within_s):
                        found = await self._more()
            return found, self._over

    async def _more(self) -> list[Output]:
        found: list[Output] = []
        while not found and self._over is None:
            content = b""
            try:
                content = await self._reader.read(_READ_BYTES)
                for body in self._frames.feed(content):
                    message = messages.up(body)
                    if isinstance(message, Over):
                        self._over = message
                    else:
                        found.append(message)
            except (OSError, ValueError, msgspec.MsgspecError) as error:
                self._over = Over(None, f"the connection to the node broke: {error}")
            if not content and self._over is None:
                self._over = Over(None, "the node has gone")
        return found

    async def write(self, content: bytes) -> None:
        """For its stdin; b"" ends it. Waits while the command does not read."""
        await self._send(Input(content))

    async def resize(self, rows: int, columns: int) -> None:
        """Its terminal has this size now."""
        await self._send(Resize(rows, columns))

    async def _send(self, message: messages.Down) -> None:
        with contextlib.suppress(OSError):
            self._writer.write(messages.encoded(message))
            await self._writer.drain()

    def close(self) -> None:
        """At once: what a command does not read would be waited for."""
        self._writer.transport.abort()
