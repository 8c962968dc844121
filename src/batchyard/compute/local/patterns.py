"""Searches what a job writes for a pattern of its owner's, and gives up in time: the node's one thread has all jobs to look after.

A search by `re` can take longer than the universe lasts. It looks for signals now and then, so a timer of our own processor time ends it.
"""

from __future__ import annotations

import re
import signal
from types import FrameType

WORK_S = 0.25  # what searching may take of one piece of output, which has 64 KiB at most
_searching = False


class TookTooLong(Exception):
    """This pattern is too hard for this line."""


class Pattern:
    """A regular expression, to be searched for by the main thread only."""

    def __init__(self, expression: str) -> None:
        self._search = re.compile(expression.encode()).search
        self._left_s = WORK_S
        signal.signal(signal.SIGVTALRM, _give_up)

    def begin_piece(self) -> None:
        """Another piece of output is searched."""
        self._left_s = WORK_S

    def is_in(self, line: bytes) -> bool:
        """Whether it is found there. TookTooLong when the work that one piece is worth has been done."""
        global _searching
        _searching = True
        signal.setitimer(signal.ITIMER_VIRTUAL, self._left_s, WORK_S)
        try:
            return self._search(line) is not None
        finally:
            _searching = False
            self._left_s, _ = signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _give_up(_number: int, _frame: FrameType | None) -> None:
    if _searching:
        raise TookTooLong
