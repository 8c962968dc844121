"""Holding writers for a moment: the cgroup freezer, of version 1 and 2, with somebody who thaws them should the daemon be killed."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

from batchyard.scratch.provision import ScratchError

_V1, _V2 = "freezer.state", "cgroup.freeze"
_STOPS_WITHIN_S = 0.5


class Freezer:
    """The processes of one cgroup, and of those below it."""

    def __init__(self, cgroup: Path) -> None:
        """Refuses a folder that is no cgroup with a freezer."""
        if (cgroup / _V1).exists():
            self._knob, self._frozen, self._thawed = cgroup / _V1, "FROZEN", "THAWED"
        elif (cgroup / _V2).exists():
            self._knob, self._frozen, self._thawed = cgroup / _V2, "1", "0"
        else:
            raise ScratchError(f"{cgroup} has neither {_V1} nor {_V2}: it is no cgroup whose processes can be held")
        self._guard: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Thaw what a killed daemon left frozen, and start the guard: it thaws when this process ends, however it does."""
        self.thaw()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", 'trap "" INT TERM HUP; read -r _; echo "$1" > "$2"', "guard", self._thawed, str(self._knob)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def freeze(self) -> None:
        """Hold them. Returns when they stand still, or after half a second: one in the middle of a long write stops at its end."""
        self._put(self._frozen)
        deadline = time.monotonic() + _STOPS_WITHIN_S
        while not self._is_frozen() and time.monotonic() < deadline:
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let them go on."""
        self._put(self._thawed)

    def close(self) -> None:
        """Thaw, and let the guard go."""
        with contextlib.suppress(ScratchError):
            self.thaw()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(5)

    def _put(self, word: str) -> None:
        try:
            self._knob.write_text(word)
        except OSError as error:
            raise ScratchError(f"{self._knob} does not take {word}: {error.strerror}") from error

    def _is_frozen(self) -> bool:
        try:
            if self._knob.name == _V1:
                return self._knob.read_text().strip() == self._frozen
            return "frozen 1" in (self._knob.parent / "cgroup.events").read_text()
        except OSError:
            return True  # the cgroup went: nobody writes there
