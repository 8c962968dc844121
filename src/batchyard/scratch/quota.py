"""Scratch space without privilege: a plain directory that is watched against a soft limit, raised while the disk below has room.

Nothing stops a writer at the limit: it is told of (`scratch status`), and the place counts as not healthy.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchyard.scratch import tools
from batchyard.scratch.disk_usage import bytes_in
from batchyard.scratch.ledger import MEMBER, Book, Ledger, Volume
from batchyard.scratch.loop import Step, no_step
from batchyard.scratch.policy import BLOCK_BYTES, MIB
from batchyard.scratch.provision import NoRoom, ScratchError, Usage

KIND = "quota"
_NAME = "limit"
_WALK_PART = 20  # walking takes at most a twentieth of the time
_WALK_EVERY_S = 2.0


class QuotaDirectory:
    """The directory `place`, whose limit stands in the record in `store`."""

    can_shrink = False
    volumes_max: int | None = None
    smallest_bytes = 1 * MIB
    largest_bytes: int | None = None
    unit_bytes = BLOCK_BYTES

    def __init__(
        self,
        store: Path,
        place: Path,
        initial_bytes: int,
        *,
        leave_bytes: int = 256 * MIB,
        step: Step = no_step,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = 60.0,
    ) -> None:
        """`leave_bytes` of the disk below are never promised."""
        self._ledger = Ledger(store, patience_s=patience_s)
        self._store, self._place, self._initial, self._leave = store, place, initial_bytes, leave_bytes
        self._step, self._clock = step, clock
        self._walked = 0
        self._walk_ended_s = float("-inf")
        self._walk_took_s = 0.0
        self._below_free = 0

    def is_up(self) -> bool:
        """See `Backend.is_up`: nothing is mounted."""
        return False

    def ensure(self) -> None:
        """See `Backend.ensure`."""
        self._place.mkdir(parents=True, exist_ok=True)
        place = str(self._place.resolve())
        if self._store.resolve().is_relative_to(self._place.resolve()):
            raise ScratchError(f"{self._store} lies in {self._place}, which it is to watch: give it another --store")
        book = self._ledger.book
        if book is None:
            book = Book(KIND, place, str(uuid.uuid4()), (Volume(_NAME, self._initial, MEMBER),))
            self._ledger.write(book)
        if (book.backend, book.mount) != (KIND, place):
            raise ScratchError(f"{self._store} holds {book.backend} of {book.mount}: give this one a --store of its own")
        self._walk()

    def usage(self) -> Usage:
        """See `Backend.usage`. Between two walks whatever went from the disk below counts as written here."""
        now_s = self._clock()
        if now_s - self._walk_ended_s >= max(_WALK_EVERY_S, self._walk_took_s * _WALK_PART):
            self._walk()
        below = os.statvfs(self._place)
        free_below = below.f_bavail * below.f_frsize
        used = self._walked + max(0, self._below_free - free_below)
        limit = self._book.volumes[0].size_bytes
        return Usage(used, max(0, min(limit - used, free_below)), None, below.f_files, below.f_ffree)

    def volumes(self) -> tuple[int, ...]:
        """See `Backend.volumes`: the limit."""
        return tuple(one.size_bytes for one in self._book.volumes)

    def grows_left(self) -> int | None:
        """See `Backend.grows_left`."""
        return None

    def room_bytes(self) -> int | None:
        """See `Backend.room_bytes`: what the disk below has, and is not promised."""
        below = os.statvfs(self._place)
        promised = sum(self.volumes()) - self.usage().used_bytes
        return max(0, below.f_bavail * below.f_frsize - self._leave - max(0, promised))

    def grow(self, size_bytes: int) -> None:
        """See `Backend.grow`. Refuses to promise what the disk below does not have."""
        left = self.room_bytes() or 0
        if size_bytes > left:
            raise NoRoom(f"the disk of {self._place} has {left} bytes to promise, not {size_bytes} more")
        volumes = (Volume(_NAME, self._book.volumes[0].size_bytes + size_bytes, MEMBER),)
        self._ledger.write(msgspec.structs.replace(self._book, volumes=volumes))
        self._step("grown")

    def shrink(self, index: int) -> None:
        """See `Backend.shrink`: a limit is one volume, so there is none to give back."""
        raise ScratchError("the limit of a directory is one volume; nothing is held that could be given back")

    def stop_shrinking(self) -> None:
        """See `Backend.stop_shrinking`: it never shrinks."""

    def owes_sweep(self) -> bool:
        """See `Backend.owes_sweep`: a directory is all there is."""
        return False

    def sweep(self) -> None:
        """See `Backend.sweep`: a directory is all there is."""

    def probe(self) -> None:
        """See `Backend.probe`. By the last walk: what `usage` adds to it may be written elsewhere on the disk."""
        limit = self._book.volumes[0].size_bytes
        self.usage()  # which walks if it is time
        if self._walked > limit:
            raise ScratchError(f"{self._place} holds {self._walked} bytes, more than its limit of {limit}")
        tools.probe(self._place, 30.0)

    def retire(self) -> None:
        """Forget the limit. What is in the directory is the user's, and stays."""
        self._ledger.forget()

    def close(self) -> None:
        """See `Backend.close`."""
        self._ledger.close()

    @property
    def _book(self) -> Book:
        if self._ledger.book is None:
            raise ScratchError(f"{self._store} holds no limit yet")
        return self._ledger.book

    def _walk(self) -> None:
        began_s = self._clock()
        below = os.statvfs(self._place)
        self._below_free = below.f_bavail * below.f_frsize
        self._walked = bytes_in(self._place)
        self._walk_ended_s = self._clock()
        self._walk_took_s = self._walk_ended_s - began_s
