"""What directories hold, where only walking tells: walked by a process of its own, for a twenty-fifth of its time where that is enough.

A job may have any number of files: what takes long is walked in slices, between which others have their turn, and after that it is
left alone for as long as it was worth.

A directory of many files is walked seldom then. So it also looks at how much the disk holds: when that has grown by so much that what is
known of a directory may be far off, whoever wrote it, that is walked sooner, for at most a third of the time.

Not by a thread: while the node borrows a job's user id (see docs/decisions/0003), its threads would have it too, and see little.
It sees what has a name: a file that was removed while somebody has it open is not found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Generator

from batchyard.compute.local.sweep import close_all_but
from batchyard.scratch.disk_usage import bytes_in, walk

_REST = 25  # so many times as long as a walk took, it is not walked again; nothing else is either, for
_REST_MOST_S = 0.25
_REST_OVERTAKEN = 2  # ... but what was overtaken by writers
_SLICE_S = 0.1
_DISK_PART, _HELD_PART, _LITTLE_BYTES = 64, 8, 16 * 1024 * 1024  # which is by the most of these: parts of the disk, of what it held
_EVERY_S = 0.25
_INODE_BYTES = 512  # of a file without blocks: a million of them take room too
_AT_ONCE = 500  # entries that are looked at in the path of an end
_WATCH, _FORGET = "+", "-"


class Walker:
    """A forked child that walks the paths written to its pipe, writes back what it found, and ends when the node does."""

    def __init__(self) -> None:
        self._watched: set[str] = set()
        self._seen: dict[str, int] = {}
        self._waiting = bytearray()  # orders that did not fit into the pipe yet
        self._answers = b""
        self._fork()

    def _fork(self) -> None:
        theirs_in, self._orders = os.pipe()
        self._found, theirs_out = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _live(theirs_in, theirs_out)
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(self._orders, False)
        os.set_blocking(self._found, False)

    def look(self, path: str) -> int | None:
        """What it held when it was looked at last; None if it was not yet: it is from now on."""
        if path not in self._watched:
            self._watched.add(path)
            self._order(_WATCH, path)
        return self._seen.get(path)

    def forget(self, path: str) -> int | None:
        """Look at it no more; what it held when it was looked at last, as `look`."""
        if path not in self._watched:
            return None
        self._watched.remove(path)
        self._order(_FORGET, path)
        return self._seen.pop(path, None)

    def take_in(self) -> None:
        """Read what the child has found since the last time."""
        with contextlib.suppress(BlockingIOError):
            while told := os.read(self._found, 65536):
                *pairs, self._answers = (self._answers + told).split(b"\0")
                for pair in pairs:
                    held, _, path = os.fsdecode(pair).partition(" ")
                    if path in self._watched:
                        self._seen[path] = int(held)
        self._push()

    def close(self) -> None:
        """End it at once: nothing of it lies in a place that is to be unmounted."""
        os.close(self._orders)
        os.close(self._found)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _order(self, verb: str, path: str) -> None:
        self._waiting += os.fsencode(f"{verb}{path}") + b"\0"
        self._push()

    def _push(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._orders, self._waiting[:4096])]
        except BlockingIOError:
            pass  # with the next look
        except BrokenPipeError:  # somebody killed it
            self.close()
            self._waiting = bytearray(b"".join(os.fsencode(f"{_WATCH}{path}") + b"\0" for path in self._watched))
            self._answers = b""
            self._fork()


def _live(orders: int, answers: int) -> None:
    """The child's life. As the sweeper it must not hold what is the node's open."""
    try:
        signal.set_wakeup_fd(-1)
        close_all_but(orders, answers)
        os.nice(10)
        _walk_on(orders, answers)
    finally:
        os._exit(0)


class _Place:
    """A directory that is walked again and again, a slice of time at once: when that is due, and what it and its disk held."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.due_s = time.monotonic()
        self.held_bytes: int | None = None  # what a whole walk has found, at its end
        self._walk: Generator[int] | None = None
        self._used_bytes = 0
        self._so_far, self._took_s, self._began_s = 0, 0.0, 0.0
        self._told = 0

    @property
    def has_news(self) -> bool:
        """Whether a walk is over, or has found more than the one before already."""
        return self.held_bytes is not None or self._so_far > self._told

    def told(self) -> int:
        """What it holds, as far as it is known, which is told now."""
        self._told = self._so_far
        return self._told

    def go_on(self) -> float:
        """Walk for a while: how many seconds it took, of the processor, or, where the disk is slow, a part of all, since it is the disk
        that is taken. At the end of a walk `held_bytes` is set, and when the next one is due."""
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        if self._walk is None:
            self._walk, self._so_far, self._took_s, self._began_s = walk(self.path, inode_bytes=_INODE_BYTES), 0, 0.0, began_s
            self._used_bytes = _disk(self.path)[1]
        self.held_bytes = None
        for so_far in self._walk:
            self._so_far = so_far
            if time.monotonic() - began_s > _SLICE_S:
                break
        else:
            self._walk, self.held_bytes = None, self._so_far
        took_s = max(time.process_time() - began_cpu_s, (time.monotonic() - began_s) / 4)
        self._took_s += took_s
        if self.held_bytes is not None:
            self.due_s = max(time.monotonic() + self._took_s * _REST, self._began_s + _EVERY_S)
        return took_s

    def is_overtaken(self) -> bool:
        """Whether so much was written to its disk since that what is known of it may be far off."""
        size_bytes, used_bytes = _disk(self.path)
        return used_bytes - self._used_bytes > max(size_bytes // _DISK_PART, self._told // _HELD_PART, _LITTLE_BYTES)


def _disk(path: str) -> tuple[int, int]:
    """How large the disk of a path is, and how much of it is used."""
    try:
        seen = os.statvfs(path)
    except OSError:
        return 0, 0  # it went
    return seen.f_blocks * seen.f_frsize, (seen.f_blocks - seen.f_bfree) * seen.f_frsize


def _walk_on(orders: int, answers: int) -> None:
    places: dict[str, _Place] = {}
    rest_until_s = rest_overtaken_until_s = 0.0
    waiting = b""
    while True:
        due_s = max(min((place.due_s for place in places.values()), default=0.0), rest_until_s)
        timeout_s = min(_EVERY_S, max(0.0, due_s - time.monotonic())) if places else None
        if select.select([orders], [], [], timeout_s)[0]:
            received = os.read(orders, 65536)
            if not received:
                return
            *told, waiting = (waiting + received).split(b"\0")
            for order in map(os.fsdecode, told):
                if order[0] == _WATCH:
                    places[order[1:]] = _Place(order[1:])
                else:
                    places.pop(order[1:], None)
            continue
        now_s = time.monotonic()
        chosen: _Place | None = None
        if now_s >= due_s:
            chosen = min(places.values(), key=lambda place: place.due_s)
        elif now_s >= rest_overtaken_until_s:
            chosen = next((place for place in places.values() if place.is_overtaken()), None)
        if chosen is None:
            continue
        took_s = chosen.go_on()
        ended_s = time.monotonic()
        rest_until_s, rest_overtaken_until_s = ended_s + min(took_s * _REST, _REST_MOST_S), ended_s + took_s * _REST_OVERTAKEN
        if chosen.held_bytes is None:
            chosen.due_s = rest_until_s
        if chosen.has_news:
            answer = os.fsencode(f"{chosen.told()} {chosen.path}") + b"\0"
            while answer:
                answer = answer[os.write(answers, answer) :]


def bytes_at_once(path: str) -> int:
    """What it holds, or as much of that as can be seen in a moment."""
    return bytes_in(path, entries_most=_AT_ONCE, inode_bytes=_INODE_BYTES)
