"""One descriptor on the node's loop, read and written without ever blocking, and with bounds: who writes too much is waited for."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable

from batchyard.compute.local.loop import READ, WRITE, Loop

FULL_BYTES = 256 * 1024  # from here on whoever fills a channel should pause
_READ_BYTES = 64 * 1024
_GONE = getattr(select, "EPOLLHUP", 0)  # both ways are closed; told unasked, also of what is not to be read


class Channel:
    """`received` gets what comes, at least a byte each time; `ended` is told once when nothing comes any more. The descriptor is ours
    from now on, and non-blocking."""

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        received: Callable[[bytes], None] | None = None,
        ended: Callable[[], None] | None = None,
        emptied: Callable[[], None] | None = None,
        is_a_client: bool = False,
    ) -> None:
        """`received` None: it is only written. `emptied` is told when what waited to be written has gone.

        `is_a_client`: nobody else is there to take an answer, so that its leaving is seen while it is not read too.
        """
        self._loop, self._descriptor, self._received, self._ended, self._emptied = loop, descriptor, received, ended, emptied
        self._waiting = bytearray()
        self._paused = received is None
        self._unread = _GONE if is_a_client else 0  # what is watched for while there is nothing to read or write
        self._after: Callable[[int], None] | None = None  # what is to be done once all is written
        os.set_blocking(descriptor, False)
        self._watched = 0
        self._watch()

    @property
    def is_open(self) -> bool:
        """Whether the descriptor is still ours."""
        return self._descriptor >= 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits to be written that no more should come for now."""
        return len(self._waiting) > FULL_BYTES

    def write(self, content: bytes) -> None:
        """Write it, now or when there is room. Nothing happens when it is closed."""
        if self.is_open and self._after is None:
            self._waiting += content
            self._push()

    def finish(self, act: Callable[[int], None]) -> None:
        """Call with the descriptor when all that waits is written."""
        if self.is_open and self._after is None:
            self._after = act
            self._push()

    def pause(self, is_paused: bool) -> None:
        """Read no more for now, or go on."""
        self._paused = is_paused or self._received is None
        self._watch()

    def close(self) -> None:
        """Let go, whatever waits."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if self._watched:
                self._loop.forget(descriptor)
            os.close(descriptor)

    def drain(self) -> None:
        """Read what is there now, also while paused."""
        while self.is_open and self._received is not None and self._pull():
            pass

    def _watch(self) -> None:
        wanted = (0 if self._paused else READ) | (WRITE if self._waiting else 0) or self._unread
        if not self.is_open or wanted == self._watched:
            return
        if wanted:
            self._loop.watch(self._descriptor, self._ready, wanted)
        else:
            self._loop.forget(self._descriptor)
        self._watched = wanted

    def _ready(self, events: int) -> None:
        if events & _GONE and self._unread and self._paused:
            self._over()
            return
        if events & ~READ and self._waiting:  # also when nobody is left to read it: writing tells
            self._push()
        if self.is_open and events & ~WRITE and not self._paused:
            self._pull()

    def _pull(self) -> bool:
        """Read once; whether there was something."""
        try:
            content = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal's way to say that nobody is left on the other side
            content = b""
        if content and self._received:
            self._received(content)
            return True
        self._over()
        return False

    def _over(self) -> None:
        self.close()
        if self._ended:
            self._ended()

    def _push(self) -> None:
        had = bool(self._waiting)
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting[: 1 << 20])]
        except BlockingIOError:
            pass
        except OSError:
            self._waiting.clear()  # nobody reads it any more
        self._watch()
        if not self._waiting and self._after:
            act, self._after = self._after, None
            act(self._descriptor)
        elif had and not self._waiting and self._emptied:
            self._emptied()


def say_that_nothing_follows(descriptor: int) -> None:
    """Of a socket: the other side reads an end, and may go on writing."""
    half = socket.socket(fileno=descriptor)
    try:
        half.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side has gone already
    finally:
        half.detach()
