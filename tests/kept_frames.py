"""Lets the frames of every function that ran live on with all that they held, as those do that are under an exception which is kept.

That happens by itself: the garbage collector may run in the midst of any function, what it finalizes may raise, and whoever keeps that
exception keeps the function's frame, its callers' frames, and a cursor that one of them had read but a part of.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def kept_frames() -> Iterator[None]:
    """Keep the frames of this thread, and of threads that are started meanwhile, until the end of the block."""
    kept: list[FrameType] = []

    def keep(frame: FrameType, event: str, argument: object) -> None:
        kept.append(frame)

    threading.setprofile(keep)
    sys.setprofile(keep)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # as the documentation has it
        kept.clear()
