"""Holding writers for a moment: the cgroup freezer, of version 1 and 2, with somebody who thaws them should the daemon be killed."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path

from batchyard.scratch.provision import ScratchError

_V1, _V2 = "freezer.state", "cgroup.freeze"
_STOPS_WITHIN_S = 0.5
_GUARD = 'trap "" INT TERM HUP; read -r _; IFS=; for knob in $2; do echo "$1" > "$knob"; done'


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

    def open(self, *, thaws: bool = True) -> None:
        """Thaw what a killed daemon left frozen, and start the guard: it thaws when this process ends, however it does."""
        if thaws:
            self.thaw()
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", self._thawed, self._pattern()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def freeze(self) -> None:
        """Hold them. Returns when they stand still, or after half a second: one in the middle of a long write stops at its end."""
        self._put(self._knob, self._frozen)
        self._wait_for([self._knob])

    def thaw(self) -> None:
        """Let them go on."""
        self._put(self._knob, self._thawed)

    def close(self) -> None:
        """Thaw, and let the guard go."""
        with contextlib.suppress(ScratchError):
            self.thaw()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(5)

    def _pattern(self) -> str:
        """What the guard thaws, as a shell finds it."""
        return str(self._knob)

    def _put(self, knob: Path, word: str) -> None:
        try:
            knob.write_text(word)
        except OSError as error:
            raise ScratchError(f"{knob} does not take {word}: {error.strerror}") from error

    def _wait_for(self, knobs: list[Path]) -> None:
        deadline = time.monotonic() + _STOPS_WITHIN_S
        while not all(self._is_frozen(knob) for knob in knobs) and time.monotonic() < deadline:
            time.sleep(0.001)

    def _is_frozen(self, knob: Path) -> bool:
        try:
            if knob.name == _V1:
                return knob.read_text().strip() == self._frozen
            return "frozen 1" in (knob.parent / "cgroup.events").read_text()
        except OSError:
            return True  # the cgroup went: nobody writes there


class JobsFreezer(Freezer):
    """The processes of all cgroups directly below one, but for `home`: there the node itself is, which has to go on."""

    def __init__(self, parent: Path) -> None:
        """Refuses a folder that has no `home` with a freezer."""
        super().__init__(parent / "home")
        self._parent = parent

    def freeze(self, *, waits: bool = True) -> None:
        """Hold them. Groups that are empty are left alone: the node steps into one to start a job."""
        held = []
        for knob in self._knobs():
            with contextlib.suppress(OSError):  # it went with its job
                if (knob.parent / "cgroup.procs").read_text().strip():
                    knob.write_text(self._frozen)
                    held.append(knob)
        if waits:
            self._wait_for(held)

    def thaw(self) -> None:
        """Let them go on."""
        for knob in self._knobs():
            with contextlib.suppress(OSError):
                knob.write_text(self._thawed)

    def _knobs(self) -> list[Path]:
        return [knob for knob in self._parent.glob(f"*/{self._knob.name}") if knob.parent.name != "home"]

    def _pattern(self) -> str:
        return f"{self._parent}/*/{self._knob.name}"
