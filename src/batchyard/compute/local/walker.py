"""What directories hold, where only walking tells: in a thread, for at most a twenty-fifth of its time.

It sees what has a name: a file that was removed while somebody has it open is not found.
"""

from __future__ import annotations

import threading
import time

from batchyard.scratch.quota import bytes_in

_REST = 25  # so many times as long as a walk took, nothing is walked
_EVERY_S = 0.25
_AT_ONCE = 500  # entries that are looked at in the path of an end


class Walker:
    """Watches directories; there is a thread as long as there are any."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._due_s: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._thread: threading.Thread | None = None

    def look(self, path: str) -> int | None:
        """What it held when it was looked at last; None if it was not yet: it is from now on."""
        if path not in self._due_s:
            with self._guard:
                self._due_s[path] = time.monotonic()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="walker", daemon=True)
                    self._thread.start()
        return self._seen.get(path)

    def forget(self, path: str) -> None:
        """Look at it no more."""
        with self._guard:
            self._due_s.pop(path, None)
            self._seen.pop(path, None)

    def seen(self, path: str) -> int | None:
        """What it held when it was looked at last; None if it was not yet."""
        return self._seen.get(path)

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._due_s:
                    self._thread = None
                    return
                path = min(self._due_s, key=self._due_s.__getitem__)
                wait_s = self._due_s[path] - time.monotonic()
            if wait_s > 0:
                time.sleep(min(wait_s, _EVERY_S))
                continue
            began_s = time.thread_time(), time.monotonic()
            held = bytes_in(path)
            took_s = max(time.thread_time() - began_s[0], (time.monotonic() - began_s[1]) / 4)
            with self._guard:
                if path in self._due_s:
                    self._seen[path] = held
                    self._due_s[path] = time.monotonic() + max(_EVERY_S, took_s * _REST)
            time.sleep(took_s * _REST)


def bytes_at_once(path: str) -> int:
    """What it holds, or as much of that as can be seen in a moment."""
    return bytes_in(path, entries_most=_AT_ONCE)
