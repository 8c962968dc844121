"""A command in a job's container, by the daemon's own exec."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchyard.compute.local import knobs
from batchyard.compute.local.containers.engine import Demultiplexer, Engine, EngineError
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.sessions.channel import FULL_BYTES, Channel, say_that_nothing_follows
from batchyard.compute.local.sessions.messages import STDOUT, Begin
from batchyard.compute.local.tasks import Cancelled, Promise, Task, pause

if TYPE_CHECKING:
    from batchyard.compute.local.containers.run import ContainerRun
    from batchyard.compute.local.sessions.listener import Client

_GRACE_S = 5.0


class ContainerSession:
    """See `listener.Session`. One such command."""

    def __init__(self, begin: Begin, client: Client, engine: Engine, loop: Loop) -> None:
        self._begin, self._client, self._engine, self._loop = begin, client, engine, loop
        self._id = ""
        self._container = ""
        self._stream: Channel | None = None
        self._early: list[bytes] = []  # input that came before it was started
        self._frames = Demultiplexer()
        self._life: Task[None] | None = None

    def start(self, run: ContainerRun) -> None:
        """Start it, soon."""
        self._container = run.id
        self._life = Task(self._live(run.name))

    async def _live(self, container: str) -> None:
        begin = self._begin
        try:
            self._id = await self._engine.make_exec(
                container, begin.command, {"TERM": begin.term} if begin.has_terminal else {}, begin.has_terminal
            )
            descriptor, first = await self._engine.start_exec(self._id, begin.has_terminal)
            ended: Promise[None] = Promise()
            self._stream = Channel(self._loop, descriptor, self._received, lambda: ended.keep(None), self._client.emptied)
            if first:
                self._received(first)
            if begin.has_terminal:
                self.resize(begin.rows, begin.columns)
            for content in self._early:
                self.feed(content)
            if not self._stream.is_full:
                self._client.emptied()
            await ended
            code = await self._engine.exec_code(self._id)
        except Cancelled:
            return
        except (EngineError, EngineAway) as error:
            self._client.over(None, str(error))
        else:
            self._client.over(code, "")

    def _received(self, content: bytes) -> None:
        if self._begin.has_terminal:
            self._client.told(STDOUT, content)
            return
        for stream, piece in self._frames.frames(content):
            self._client.told(stream, piece)

    # --- from the client ---

    @property
    def is_full(self) -> bool:
        if self._stream is None:
            return sum(map(len, self._early)) > FULL_BYTES
        return self._stream.is_full

    def feed(self, content: bytes) -> None:
        """For its stdin; b"" ends it."""
        if self._stream is None:
            self._early.append(content)
        elif content:
            self._stream.write(content)
        elif self._begin.has_terminal:
            self._stream.write(b"\x04")
        else:
            self._stream.finish(say_that_nothing_follows)

    def resize(self, rows: int, columns: int) -> None:
        if self._id and self._begin.has_terminal:
            _aside(self._engine.resize_exec(self._id, rows, columns))

    def pause(self, is_paused: bool) -> None:
        if self._stream:
            self._stream.pause(is_paused)

    def end(self) -> None:
        """The client has gone: so does the command. The daemon's API has no verb for that, so its process gets the signal from us."""
        if self._life:
            self._life.cancel()
        if self._stream:
            self._stream.close()
        if self._id:
            _aside(self._end_process())

    async def _end_process(self) -> None:
        for number in (signal.SIGHUP, signal.SIGKILL):
            pid = await self._engine.exec_pid(self._id)
            # The number is the daemon's, which may live on another kernel (a virtual machine): only one of our own kernel is meant.
            if not pid or self._container not in knobs.read(Path(f"/proc/{pid}/cgroup")):
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
            await pause(self._loop, _GRACE_S)


def _aside(steps: Coroutine[Any, Any, None]) -> None:
    """Have it done; that it cannot be is no reason to end anything."""
    Task(steps)
