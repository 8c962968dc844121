"""What the daemon asks of a back end: a handful of verbs, each of them safe to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class ScratchError(Exception):
    """Something could not be done; the message names it and what to do."""


class NoRoom(ScratchError):
    """What is below the scratch space has no room for more."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used and free at a look, in bytes; read from the kernel, without a process or a call to anybody."""

    used_bytes: int
    free_bytes: int
    metadata_free_bytes: int | None = None
    inodes: int = 0
    inodes_free: int = 0


class Backend(Protocol):
    """Volumes that make up one place to write to."""

    can_shrink: bool
    volumes_max: int | None
    smallest_bytes: int
    largest_bytes: int | None
    unit_bytes: int

    def is_up(self) -> bool:
        """Whether what is recorded is mounted: writers may be at it. Asks nobody but the kernel."""

    def ensure(self) -> None:
        """Bring up what is recorded, or make it; finish or undo what a crash left half-way. Idempotent."""

    def usage(self) -> Usage:
        """Look. Cheap: it is called up to hundreds of times a second."""

    def volumes(self) -> tuple[int, ...]:
        """Sizes in bytes of what is there, the first one first."""

    def grows_left(self) -> int | None:
        """How often it may still grow for now; None: as often as there are volumes to be had."""

    def room_bytes(self) -> int | None:
        """How much more there is to be had below, as far as this machine knows; None: that is known only to who is asked for it."""

    def grow(self, size_bytes: int) -> None:
        """Get `size_bytes` more. When it raises, all is as before."""

    def shrink(self, index: int) -> None:
        """Give the volume at `index` back, with what it holds moved to the others. When it raises, all is as before."""

    def stop_shrinking(self) -> None:
        """Let a `shrink` that is under way in another thread fail soon, if it can still be given up: room is needed."""

    def owes_sweep(self) -> bool:
        """Whether something of ours may be there that was not told of when it was looked for, and by now would be."""

    def sweep(self) -> None:
        """Take away what is ours and on no record."""

    def probe(self) -> None:
        """Write, sync and read back. Raises when the place is not healthy."""

    def retire(self) -> None:
        """Unmount and remove everything, and all that was written there."""

    def close(self) -> None:
        """Let go of the record; what is there stays."""
