"""Lets the watcher of the scratch space sleep while nothing can write, and has it awake before anything may.

Rest is allowed for a few seconds at a time, and again and again. What gets lost (a word, the watcher, this node) therefore means that it
looks as often as ever, at once or a few seconds later, and no attempt waits for it longer than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from batchyard.compute.local.loop import Loop, boot_s
from batchyard.scratch.watching import REST, WAKE

_UNUSED_S = 3.0  # so long nothing may have been there that could write: jobs that follow each other never find it asleep
REST_S = 5.0  # much less than the silence after which a watcher counts as hung


class Rests:
    """The rest of one watcher after the other."""

    def __init__(
        self, say: Callable[[str], None], loop: Loop, is_in_use: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`say` tells the watcher; `is_in_use`: whether anything is there that writes, or may at any moment."""
        self._say, self._loop, self._is_in_use, self._clock = say, loop, is_in_use, clock
        self._unused_s: float | None = None  # since when nothing could write
        self._until_s = float("-inf")  # it may sleep until then, by `time.monotonic`
        self._call = 0
        self._is_called = False

    @property
    def is_awake(self) -> bool:
        """Whether it has looked since the last rest, or that has ended by itself: then something may be started that writes."""
        return self._until_s <= self._clock()

    def tick(self) -> None:
        """From time to time, while there is a watcher: allow it some more rest, if that can be."""
        if self._is_in_use():
            self._unused_s = None
            if self._is_called and not self.is_awake:
                self._say(f"{WAKE} {self._call}")  # the word may have been lost
            return
        now_s = self._clock()
        if self._unused_s is None:
            self._unused_s = now_s
        if now_s - self._unused_s >= _UNUSED_S:
            self._is_called = False
            self._until_s = now_s + REST_S
            self._say(f"{REST} {self._until_s!r}")

    def end(self) -> None:
        """Something is about to be started that writes: `is_awake` will be so soon, and the loop wakes when it is."""
        self._unused_s = None
        if not self.is_awake and not self._is_called:
            self._is_called = True
            self._call += 1
            self._say(f"{WAKE} {self._call}")
            self._loop.wake_at(boot_s() + self._until_s - self._clock())

    def answered(self, number: str) -> None:
        """The watcher has looked since that call."""
        if number == str(self._call) and self._is_called:
            self.lost()

    def lost(self) -> None:
        """The watcher that was allowed to sleep does not, or is gone."""
        self._until_s = float("-inf")
        self._is_called = False
