"""What the daemon does beside its looking, each piece in a thread: whatever touches a disk may have to wait, and writers do not."""

from __future__ import annotations

import threading
from collections.abc import Callable

from batchyard.scratch.provision import NoRoom, ScratchError


class Work:
    """One such piece, begun at once. What went wrong with it is in `failure`, "" if nothing did."""

    def __init__(self, verb: str, act: Callable[[], None], clock: Callable[[], float]) -> None:
        self.verb, self.failure = verb, ""
        self.met_no_room = False  # that is why it failed
        self.began_s = clock()
        self.took_s = 0.0
        self.is_unwanted = False  # it was told to give up: no failure of its own
        self._act, self._clock = act, clock
        self._thread = threading.Thread(target=self._run, name=f"scratch-{verb}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._act()
        except (ScratchError, OSError) as error:
            self.failure, self.met_no_room = str(error), isinstance(error, NoRoom)
        self.took_s = self._clock() - self.began_s

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end, well or not."""
        return not self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(timeout_s)
