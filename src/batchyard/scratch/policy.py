"""When scratch space grows, by how much, and when it is given back: pure, so that every claim about it can be tried a million times.

The trigger is the *projected time to full*: what is free must last longer than it takes to get more, at the rate seen lately, several
times over. A level is only the floor below that. When even that comes too late the writers are held (`freeze`) until the room is there.
Nothing here counts what was attempted: capacity and volumes are what the back end has, so state changes on success only.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_BYTES = 4096
MIB = 1024 * 1024
GIB = 1024 * MIB

_SLACK_S = 0.05  # a look may come this much late on a busy machine
_AT_CAP_S = 0.1
_INODES_PART = 0.05
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows, and what the back end can do."""

    cap_bytes: int  # of all volumes together; holds to the byte
    step_bytes: int  # the smallest volume that is worth making, but for the last one before the cap
    largest_bytes: int = 1024 * GIB  # of one volume, as long as the cap is reached with as many as there may be
    most_bytes: int | None = None  # of one volume: there are no larger ones
    smallest_bytes: int = 16 * MIB  # what a file system can still use
    unit_bytes: int = BLOCK_BYTES  # volumes are whole numbers of these
    volumes_max: int | None = 16  # None: one volume that is made larger
    level: float = 0.2  # less than this part free: grow, whatever the rate
    level_bytes_max: int = 32 * GIB  # ... but a large volume need not have more free than this
    metadata_bytes: int = 64 * MIB  # less than this left for metadata: grow
    safety: float = 3.0  # how many times a grow may take as long as it did
    reserve_bytes: int = 16 * MIB  # what writes that are under way may still take when their writers are held
    fastest_bytes_s: float = 4.0 * GIB  # how fast a writer may begin out of nothing: decides how often one looks
    calm_s: float = 600.0  # so long nothing may have been written before room is given back
    can_shrink: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """What is seen at `now_s`, on a clock that only rises."""

    now_s: float
    volumes: tuple[int, ...]  # sizes in bytes, the first one is never given back
    free_bytes: int
    metadata_free_bytes: int | None = None  # None: the file system keeps metadata where the data is
    inodes: int = 0  # 0: the file system has no fixed number
    inodes_free: int = 0
    rate_bytes_s: float = 0.0
    burst_bytes_s: float = 0.0  # since the look before this one: no rate to plan by, but what the next look has to reckon with
    grow_s: float = 1.0  # how long a grow takes, as measured
    look_s: float = 0.0  # how long ago the look before this one was
    quiet_s: float = 0.0  # for how long nothing was written
    room_bytes: int | None = None  # how much more there is to be had below; None: not known
    grows_left: int | None = None  # how often it may still grow for now, where that is counted
    is_growing: bool = False
    retry_at_s: float = 0.0  # after a failed grow: not before this

    @property
    def capacity_bytes(self) -> int:
        """Of all volumes together."""
        return sum(self.volumes)


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is well, or under way."""


@dataclass(frozen=True, slots=True)
class Grow:
    """Get `bytes` more; with the writers held meanwhile when `freeze`."""

    bytes: int
    freeze: bool
    why: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """A grow is under way and will be late: hold the writers until it is done."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Room is needed, the last grow failed, and it is too early to try again; `freeze` as in `Grow`."""

    until_s: float
    freeze: bool


@dataclass(frozen=True, slots=True)
class Shrink:
    """Give the volume at `index` back."""

    index: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Room is needed and there may be none: `reason` names the limit."""

    reason: str


Decision = Nothing | Grow | Freeze | Wait | Shrink | Refuse


def decide(state: State, limits: Limits) -> Decision:
    """The one thing to do now. Less free, or a higher rate, never leads to less."""
    why = _why_grow(state, limits)
    if state.is_growing:
        return Freeze() if is_urgent(state, limits) else Nothing()
    if why is None:
        index = _to_give_back(state, limits)
        return Nothing() if index is None else Shrink(index)
    size = _size(state, limits)
    if isinstance(size, Refuse):
        return size
    if state.now_s < state.retry_at_s:
        return Wait(state.retry_at_s, is_urgent(state, limits))
    return Grow(size, is_urgent(state, limits), why)


def is_urgent(state: State, limits: Limits) -> bool:
    """Whether the room may be gone by the next look: only holding the writers helps."""
    ahead = max(state.rate_bytes_s, state.burst_bytes_s) * (2 * state.look_s + _SLACK_S)
    if state.free_bytes < limits.reserve_bytes + ahead:
        return True
    floor = _metadata_floor(state.capacity_bytes, limits) // 2 + _chunk(state.capacity_bytes)
    return state.metadata_free_bytes is not None and state.metadata_free_bytes < floor


def trigger_bytes(state: State, limits: Limits) -> int:
    """Less free than this: grow. The rate for as long as a grow may take, but never under the level."""
    return max(_level(state.capacity_bytes, limits), _needed_for_rate(state, limits))


def look_again_s(state: State, limits: Limits) -> float:
    """How soon to look again: eight times before the fastest writer could have filled what is free; at least each second.

    At the cap nothing comes of looking but a record: there it is ten times a second at most.
    """
    room = state.free_bytes
    if state.metadata_free_bytes is not None:
        room = min(room, 8 * state.metadata_free_bytes)
    is_at_cap = not state.is_growing and _below_cap_bytes(state, limits) < limits.smallest_bytes
    return min(1.0, max(_AT_CAP_S if is_at_cap else 0.002, room / max(limits.fastest_bytes_s, state.rate_bytes_s) / 8))


def _why_grow(state: State, limits: Limits) -> str | None:
    if state.free_bytes < _needed_for_rate(state, limits):
        return "at the rate of writing it would be full before a grow is done"
    if state.free_bytes < _level(state.capacity_bytes, limits):
        return "less is free than the level"
    if state.metadata_free_bytes is not None and state.metadata_free_bytes < _metadata_level(state.capacity_bytes, limits):
        return "metadata has little room left"
    if state.inodes and state.inodes_free < state.inodes * _INODES_PART:
        return "few inodes are left"
    return None


def _level(capacity_bytes: int, limits: Limits) -> int:
    return min(int(capacity_bytes * limits.level), limits.level_bytes_max)


def _metadata_floor(capacity_bytes: int, limits: Limits) -> int:
    return min(limits.metadata_bytes, capacity_bytes // 8)


def _metadata_level(capacity_bytes: int, limits: Limits) -> int:
    """Data takes what is not given out yet in chunks, each at once: two more must leave enough."""
    return _metadata_floor(capacity_bytes, limits) + 2 * _chunk(capacity_bytes)


def _chunk(capacity_bytes: int) -> int:
    """What btrfs gives out at a time: a tenth of all, up to a GiB."""
    return min(GIB, capacity_bytes // 10)


def _needed_for_rate(state: State, limits: Limits) -> int:
    if state.rate_bytes_s <= 0:
        return 0
    return limits.reserve_bytes + int(state.rate_bytes_s * (state.grow_s * limits.safety + 2 * state.look_s))


def _below_cap_bytes(state: State, limits: Limits) -> int:
    return (limits.cap_bytes - state.capacity_bytes) // limits.unit_bytes * limits.unit_bytes


def _size(state: State, limits: Limits) -> int | Refuse:
    """How many bytes to ask for: as much again, or what the rate needs, or what is to be had.

    Never past the cap, nor, as long as more is to be had, so little that the cap is out of reach.
    """
    unit = limits.unit_bytes
    room = _below_cap_bytes(state, limits)
    if room < limits.smallest_bytes:
        return Refuse(f"the cap of {limits.cap_bytes} bytes is reached")
    below = room if state.room_bytes is None else state.room_bytes // unit * unit
    if below < limits.smallest_bytes:
        return Refuse(f"what is below has no room for more: {max(0, below)} bytes")
    if state.grows_left == 0:
        return Refuse("it has grown as often as it may for now")
    size = max(limits.step_bytes, state.capacity_bytes, 2 * trigger_bytes(state, limits) - state.free_bytes)
    size = min(size, limits.largest_bytes)
    if limits.volumes_max is not None:
        left = limits.volumes_max - len(state.volumes)
        if left <= 0:
            return Refuse(f"there are {len(state.volumes)} volumes, as many as there may be")
        size = max(size, -(-room // left))
    elif state.grows_left:
        size = max(size, -(-room // state.grows_left))
    size = min(room, -(-size // unit) * unit)
    if room - size < max(limits.smallest_bytes, limits.step_bytes // 4):
        size = room
    return min(size, below, limits.most_bytes or size)


def _to_give_back(state: State, limits: Limits) -> int | None:
    """The largest volume without which there is still twice what would make it grow, and half of all free."""
    if not limits.can_shrink or state.quiet_s < limits.calm_s or state.now_s < state.retry_at_s:
        return None
    best: int | None = None
    for index in range(1, len(state.volumes)):
        size = state.volumes[index]
        capacity = state.capacity_bytes - size
        free = state.free_bytes - size
        enough = max(2 * _level(capacity, limits), 2 * _needed_for_rate(state, limits), int(capacity * _HALF))
        if free < enough:
            continue
        if state.metadata_free_bytes is not None and state.metadata_free_bytes - size < _metadata_level(capacity, limits) + _chunk(
            capacity
        ):
            continue
        if best is None or size > state.volumes[best]:
            best = index
    return best
