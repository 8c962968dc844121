"""What a node tells of the scratch space under its jobs: to the engine when it is news, to people in a file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
from msgspec import Struct

from batchyard.model.messages import ScratchSeen

SERVED = "served.json"  # in the store: what this node made of it
_PART_TOLD = 100  # a change is told of when it is a hundredth of all


class Served(Struct, frozen=True):
    """The file SERVED, for people: what is under the jobs now. Sizes are bytes.

    `passed_over` says why `auto` did not take what it would rather have.
    """

    kind: str
    place: str
    is_ready: bool
    why_not: str
    cap_bytes: int
    capacity_bytes: int
    passed_over: str
    node_pid: int


def write(store: Path, served: Served) -> None:
    """Write the file, whole or not at all. A disk that is full or read-only is told of by other ways."""
    with contextlib.suppress(OSError):
        store.mkdir(mode=0o700, exist_ok=True)
        partial = store / f"{SERVED}.new"
        partial.write_bytes(msgspec.json.encode(served) + b"\n")
        partial.replace(store / SERVED)


def remove(store: Path) -> None:
    """No node serves it any more."""
    with contextlib.suppress(OSError):
        (store / SERVED).unlink(missing_ok=True)


def is_same_health(new: ScratchSeen, old: ScratchSeen) -> bool:
    """Whether nothing has changed in how well it is."""
    return (new.is_healthy, new.why_not) == (old.is_healthy, old.why_not)


def is_news(new: ScratchSeen, old: ScratchSeen) -> bool:
    """Whether the engine should hear of it: another state of health, or a change by a hundredth of all."""
    if not is_same_health(new, old):
        return True
    little = max(1, new.capacity_mib // _PART_TOLD)
    return abs(new.capacity_mib - old.capacity_mib) >= little or abs(new.unpromised_mib - old.unpromised_mib) >= little
