"""What a node and the watcher of its scratch space say to each other; light, because the node imports it at every start."""

from __future__ import annotations

from msgspec import Struct

STATUS = "status.json"
MOUNTED, FAILED, AWAKE = "mounted", "failed", "awake"  # the watcher's words; AWAKE with the number of the call that it answers
HELD, FREE, RETIRE = "held", "free", "retire"  # the node's: it holds the writers, or does not; take everything away
REST, WAKE = "rest", "wake"  # ... nobody can write until a time (`time.monotonic`); somebody is about to: a number, to be answered


class Orders(Struct, frozen=True, omit_defaults=True):
    """What a node wants. `kind` is "" for: take away what is there. Paths are absolute, sizes bytes.

    `fresh`: nobody writes there yet, so what cannot be brought up again may be made anew.
    """

    kind: str
    store: str
    mount: str
    initial_bytes: int = 0
    cap_bytes: int = 0
    jobs: str = ""  # the cgroup below which jobs have theirs: they are held if a grow comes late
    fresh: bool = False
    calm_s: float = 600.0


class Status(Struct, frozen=True):
    """The file `status.json`, for people, nodes and metrics. Times are seconds since 1970, sizes bytes."""

    at_s: float
    is_healthy: bool
    why_not: str
    refusal: str
    capacity_bytes: int
    cap_bytes: int
    used_bytes: int
    free_bytes: int
    metadata_free_bytes: int | None
    inodes: int
    inodes_free: int
    volumes: tuple[int, ...]
    rate_bytes_s: float
    grow_s: float
    used_peak_bytes: int
    is_growing: bool
    is_frozen: bool
    counters: dict[str, float]
    room_bytes: int | None = None  # how much more there is to be had below; None: not known
    is_resting: bool = False  # nobody can write, and it looks every few seconds only
