"""The process that watches the scratch space (`batchyard.scratch.watcher`), as its node sees it: started, heard, spoken to, ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchyard.compute.local.loop import Loop, boot_s
from batchyard.scratch.watching import STATUS, Orders, Status

_SILENT_S, _HUNG_S = 15.0, 60.0  # so long without a word: not healthy; ended


class Watcher:
    """At most one process at a time. It speaks in lines, hears words, and writes down how the space is."""

    def __init__(self, store: Path, loop: Loop, on_word: Callable[[str, str], None], on_end: Callable[[], None]) -> None:
        """`on_word` gets each word of `batchyard.scratch.watching` with what follows it on its line; `on_end` is told of every end."""
        self._file, self._loop, self._on_word, self._on_end = store / STATUS, loop, on_word, on_end
        self._pid = 0
        self._from = self._to = -1
        self._line = b""
        self._heard_s = 0.0  # when it was started, or last wrote down how the space is; by a clock that nobody sets
        self._status_mark = 0
        self.status: Status | None = None  # the last word of this process, or of the one before it

    @property
    def is_there(self) -> bool:
        """Whether there is a process now."""
        return bool(self._pid)

    def start(self, orders: Orders) -> None:
        """Have a process carry them out. There must be none."""
        self._heard_s = time.monotonic()
        with contextlib.suppress(OSError):
            self._status_mark = self._file.stat().st_mtime_ns  # an earlier watcher's word
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "batchyard.scratch.watcher", msgspec.json.encode(orders).decode()],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs_in, 0), (os.POSIX_SPAWN_DUP2, theirs_out, 1)],
                setsid=True,
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        os.set_blocking(self._from, False)
        os.set_blocking(self._to, False)
        self._line = b""
        self._loop.watch(self._from, lambda _: self._hear())

    def say(self, word: str) -> None:
        """Tell it; nothing comes of it when it has died."""
        with contextlib.suppress(OSError):
            os.write(self._to, f"{word}\n".encode())

    def kill(self) -> None:
        """End it at once, if it is there; `on_end` is told later."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def hear_out(self, until_s: float) -> bool:
        """Wait for its end, at most until then by the boot clock: whether it came."""
        poller = select.poll()
        poller.register(self._from, select.POLLIN)
        while (left_s := until_s - boot_s()) > 0:
            poller.poll(left_s * 1000)
            if not self._hear():
                return True
        return False

    def _hear(self) -> bool:
        """Take in what it says; False when it has ended."""
        try:
            said = os.read(self._from, 4096)
        except BlockingIOError:
            return True
        *lines, self._line = (self._line + said).split(b"\n")
        for line in lines:
            word, _, rest = line.decode(errors="replace").partition(" ")
            self._on_word(word, rest)
        if said:
            return True
        self._loop.forget(self._from)
        os.close(self._from)
        os.close(self._to)
        self._pid, self._from, self._to = 0, -1, -1
        self._on_end()
        return False

    # --- what it writes down ---

    def look(self) -> None:
        """Take in `status` if it has written another."""
        try:
            mark = self._file.stat().st_mtime_ns
            if mark != self._status_mark:
                self.status = msgspec.json.decode(self._file.read_bytes(), type=Status)
                self._status_mark, self._heard_s = mark, time.monotonic()
        except (OSError, msgspec.MsgspecError):
            return  # the first one is still to come

    def trouble(self) -> str:
        """Why the space is not healthy by what it last wrote, "" if it is. One that has been silent for too long is ended."""
        if self.status is None:
            return ""  # it has only begun to look
        silent_s = time.monotonic() - self._heard_s
        if silent_s > _HUNG_S:
            self.kill()
        if silent_s > _SILENT_S:
            return f"its watcher has said nothing for {silent_s:.0f} s"
        return self.status.why_not
