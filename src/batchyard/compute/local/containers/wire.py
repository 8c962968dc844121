"""HTTP/1.1 over a unix socket on the node's loop: one connection per request, never blocking, every wait bounded by the caller."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from batchyard.compute.local.loop import READ, WRITE, Loop, Timer, boot_s
from batchyard.compute.local.tasks import Promise, pause

NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_READ_BYTES = 65536
_HEAD_BYTES_MAX = 65536
_FULL_S = 0.02  # a daemon whose queue of connections is full is asked again after so long


class EngineAway(Exception):
    """The daemon does not answer, hung up in the middle, or answered something that is no HTTP."""


class EngineSlow(EngineAway):
    """The daemon did not answer within the time that it was given."""


class Head(NamedTuple):
    """The beginning of an answer: its status and its headers, with names in small letters."""

    status: int
    headers: dict[str, str]


class Answer(NamedTuple):
    """A whole answer. `content` is its JSON, or its bytes where it is none."""

    status: int
    content: Any


class Connection:
    """One connection and its one request. Close it in any case."""

    def __init__(self, loop: Loop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._buffer = b""
        self._body: list[bytes] = []
        self._timer: Timer | None = None
        self._waiting: Promise[None] | None = None
        self._failure: EngineAway | None = None

    def within(self, seconds: float | None, what: str) -> None:
        """From now on it fails with EngineSlow after so long; None: no more."""
        self._loop.cancel(self._timer)
        self._timer = None
        if seconds is not None:
            message = f"{what}: no answer within {seconds:g} s"
            self._timer = self._loop.at(boot_s() + seconds, lambda: self._fail(EngineSlow(message)))

    def close(self) -> None:
        """Hang up; who still waits for something gets EngineAway."""
        self._loop.cancel(self._timer)
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
        self._fail(EngineAway("closed"))

    def detach(self) -> tuple[int, bytes]:
        """After an upgrade: the descriptor, which is the caller's from now on, and what has come already."""
        self._loop.cancel(self._timer)
        buffer, self._buffer = self._buffer, b""
        return self._socket.detach(), buffer

    def _fail(self, why: EngineAway) -> None:
        self._failure = self._failure or why
        if self._waiting:
            self._waiting.fail(self._failure)

    async def _ready(self, events: int) -> None:
        """Wait until the socket can be read or written."""
        if self._failure:
            raise self._failure
        promise: Promise[None] = Promise()
        self._waiting = promise
        descriptor = self._socket.fileno()
        self._loop.watch(descriptor, lambda _: promise.keep(None), events)
        try:
            await promise
        finally:
            self._waiting = None
            if self._socket.fileno() >= 0:
                self._loop.forget(descriptor)

    async def send(
        self, method: str, target: str, body: Any = None, *, upgrade: bool = False, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        """Connect and send a request; `body` goes as JSON."""
        content = json.dumps(body).encode() if body is not None else b""
        lines = [f"{method} {target} HTTP/1.1", "Host: engine", f"Content-Length: {len(content)}"]
        lines += ["Content-Type: application/json"] if content else []
        lines += ["Upgrade: tcp", "Connection: Upgrade"] if upgrade else ["Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        waiting = memoryview("\r\n".join((*lines, "", "")).encode() + content)
        try:
            await self._connect()
            while waiting:
                try:
                    waiting = waiting[self._socket.send(waiting) :]
                except BlockingIOError:
                    await self._ready(WRITE)
        except OSError as error:
            raise EngineAway(f"cannot connect to the daemon at unix://{self._path}: {error.strerror}") from error

    async def _connect(self) -> None:
        while True:
            try:
                self._socket.connect(self._path)
            except BlockingIOError:
                if self._failure:
                    raise self._failure from None
                await pause(self._loop, _FULL_S)
            else:
                return

    async def read(self) -> bytes:
        """What comes next; b"" at the end."""
        while True:
            try:
                return self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                await self._ready(READ)
            except OSError as error:
                raise EngineAway(f"the daemon hung up: {error.strerror}") from error

    async def _more(self) -> None:
        piece = await self.read()
        if not piece:
            raise EngineAway("the daemon hung up in the middle of an answer")
        self._buffer += piece

    async def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > _HEAD_BYTES_MAX:
                raise EngineAway("what answers there does not speak HTTP")
            await self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    async def head(self) -> Head:
        """The status and headers of the answer."""
        try:
            version, status, *_ = (await self._line()).split(b" ", 2)
            if not version.startswith(b"HTTP/1."):
                raise ValueError(version)
            number = int(status)
        except ValueError as error:
            raise EngineAway(f"what answers there does not speak HTTP: {error}") from None
        headers: dict[str, str] = {}
        while line := await self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return Head(number, headers)

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """The pieces of the body as they come."""
        if head.status in (204, 304):
            return
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            while size := _number(await self._line(), 16):
                yield await self._exactly(size)
                await self._line()
            await self._line()
        elif "content-length" in head.headers:
            yield await self._exactly(_number(head.headers["content-length"].encode(), 10))
        else:
            async for piece in self.rest():
                yield piece

    async def rest(self) -> AsyncIterator[bytes]:
        """All that comes until the daemon hangs up."""
        if self._buffer:
            piece, self._buffer = self._buffer, b""
            yield piece
        while piece := await self.read():
            yield piece

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        return content


def _number(text: bytes, base: int) -> int:
    try:
        return int(text.partition(b";")[0], base)
    except ValueError:
        raise EngineAway("what answers there does not speak HTTP") from None


async def request(loop: Loop, path: str, method: str, target: str, body: Any = None, *, within_s: float) -> Answer:
    """One request and its whole answer. EngineAway, or EngineSlow after `within_s`."""
    connection = Connection(loop, path)
    try:
        connection.within(within_s, f"{method} {target.partition('?')[0]}")
        await connection.send(method, target, body)
        head = await connection.head()
        pieces = [piece async for piece in connection.body(head)]
    finally:
        connection.close()
    content = b"".join(pieces)
    if "json" in head.headers.get("content-type", "") and content.strip():
        try:
            return Answer(head.status, json.loads(content))
        except ValueError:
            pass
    return Answer(head.status, content)
