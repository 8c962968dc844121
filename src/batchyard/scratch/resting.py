"""How long a watcher may sleep, and how it is called: while nobody can write there is nothing to be ahead of.

Only who knows all writers can allow it, and only for a moment at a time: until a point in time on the clock that all processes of a machine
share. So no message needs to arrive for the watcher to look as often as ever: once that time has passed, it does.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable


class Rest:
    """What was allowed, by a thread that listens, to the thread that looks."""

    def __init__(self, answer: Callable[[str], None] = lambda number: None, clock: Callable[[], float] = time.monotonic) -> None:
        """`answer` is given the number of a call once a look has followed it, and looks are frequent again."""
        self._answer, self._clock = answer, clock
        self._until_s = float("-inf")
        self._asked = self._answered = ""
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def allow(self, until_s: float) -> None:
        """Until then (`time.monotonic`) nobody can write."""
        self._until_s = until_s

    def end(self, number: str) -> None:
        """Somebody is about to write, and waits until call `number` is answered."""
        self._until_s = float("-inf")
        self._asked = number
        self.wake()

    def wake(self) -> None:
        """End a wait. Takes no lock: signal handlers may call it."""
        with contextlib.suppress(BlockingIOError):  # it is being woken already
            os.write(self._writing, b"!")

    def left_s(self) -> float:
        """For how long from now nobody can write, as far as is known; 0.0 if somebody may."""
        return max(0.0, self._until_s - self._clock())

    def look(self, turn: Callable[[], float]) -> None:
        """One look, the answer to who has asked before it, and the pause that it wants, or less when somebody calls."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
        asked = self._asked
        pause_s = turn()
        if asked != self._answered:
            self._answered = asked
            self._answer(asked)
        select.select([self._reading], [], [], max(0.0, pause_s))
