"""The node's side of sessions: a socket of its own beside the node's, where one connection is one session."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from batchyard.compute.local.door import let_in, listening, same_user
from batchyard.compute.local.loop import Loop
from batchyard.compute.local.protocol import Frames
from batchyard.compute.local.runner import Run
from batchyard.compute.local.sessions import messages
from batchyard.compute.local.sessions.channel import Channel, say_that_nothing_follows
from batchyard.compute.local.sessions.messages import Begin, Input, Output, Over, Resize
from batchyard.compute.local.spawn import CannotStart

MOST = 100  # sessions at a time


class Session(Protocol):
    """A command that runs inside of a job."""

    @property
    def is_full(self) -> bool:
        """It does not read what it is fed: feed no more for now."""
        ...

    def feed(self, content: bytes) -> None:
        """For its stdin; b"" ends it."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Its terminal has this size now; nothing happens without one."""
        ...

    def pause(self, is_paused: bool) -> None:
        """Read what it writes no more, or again: who asked for it takes in no more for now."""
        ...

    def end(self) -> None:
        """Nobody wants it any more."""
        ...


class Client(Protocol):
    """Who is told of a session."""

    def told(self, stream: int, content: bytes) -> None:
        """It has written this."""
        ...

    def emptied(self) -> None:
        """It has taken all that it was fed: if it was full, it can be fed again."""
        ...

    def over(self, code: int | None, reason: str = "") -> None:
        """It has ended, or did not come to run. May be told at once, and again never."""
        ...


# Starts a command beside a run; raises CannotStart.
Start = Callable[[Run, Begin, Client], Session]


class Sessions:
    """Listens. `find` gives the run of a container of an attempt, None if it does not run; `start` starts a command beside it."""

    def __init__(self, directory: Path, loop: Loop, find: Callable[[str, str], Run | None], start: Start) -> None:
        self.loop, self.find, self.start = loop, find, start
        self._open: set[_Connection] = set()
        self._listening = listening(directory, messages.SOCKET)
        loop.watch(self._listening.fileno(), self._knock)

    def close(self) -> None:
        """Let go of all; their commands end with the node's jobs."""
        self.loop.forget(self._listening.fileno())
        self._listening.close()
        for client in list(self._open):
            client.left()

    def _knock(self, _: int) -> None:
        peer = let_in(self._listening, self.loop, self._knock)
        if peer is None:
            return
        if not same_user(peer) or len(self._open) >= MOST:
            peer.close()
            return
        self._open.add(_Connection(self, peer))

    def forget(self, client: _Connection) -> None:
        """The connection has ended."""
        self._open.discard(client)


class _Connection:
    """One of them, a `Client`."""

    def __init__(self, sessions: Sessions, peer: socket.socket) -> None:
        self._sessions = sessions
        self._frames = Frames()
        self._session: Session | None = None
        self._channel = Channel(sessions.loop, peer.detach(), self._received, self.left, self._pushed, is_a_client=True)

    def _received(self, content: bytes) -> None:
        try:
            for body in self._frames.feed(content):
                self._take(messages.down(body))
        except (ValueError, msgspec.MsgspecError) as error:
            self.over(None, f"not understood: {error}")

    def _take(self, message: messages.Down) -> None:
        match message:
            case Begin():
                self._begin(message)
            case Input(content) if self._session:
                self._session.feed(content)
                if self._session.is_full:
                    self._channel.pause(True)
            case Resize(rows, columns) if self._session:
                self._session.resize(rows, columns)

    def _begin(self, begin: Begin) -> None:
        if begin.version != messages.VERSION:
            self.over(None, "the node and the server speak different versions of sessions: end the node with `batchyard down`")
            return
        run = self._sessions.find(begin.attempt, begin.container)
        if run is None or not run.running or self._session is not None:
            self.over(None, "the job's container does not run")
            return
        try:
            self._session = self._sessions.start(run, begin, self)
        except (CannotStart, OSError) as why:
            self.over(None, str(why))

    def told(self, stream: int, content: bytes) -> None:
        """See `Client`."""
        self._channel.write(messages.encoded(Output(stream, content)))
        if self._channel.is_full and self._session:
            self._session.pause(True)

    def _pushed(self) -> None:
        if self._session:
            self._session.pause(False)

    def emptied(self) -> None:
        """See `Client`."""
        self._channel.pause(False)

    def over(self, code: int | None, reason: str = "") -> None:
        """See `Client`."""
        self._session = None
        self._channel.pause(False)
        self._channel.write(messages.encoded(Over(code, reason)))
        # The other side hangs up: whoever closes with something unread takes from the other what was still on its way.
        self._channel.finish(say_that_nothing_follows)

    def left(self) -> None:
        """The client has gone."""
        session, self._session = self._session, None
        if session:
            session.end()
        self._channel.close()
        self._sessions.forget(self)
