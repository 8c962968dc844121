"""What the engine asks of the outside world: the time, new ids, the size of the host, and the catalogue of instance types."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Protocol

from batchyard.model.capacity import Environment, Resources, Shape


class World(Protocol):
    """The simulation has its own; `RealWorld` is the one that serves."""

    def now_ms(self) -> int: ...
    def job_id(self, now_ms: int) -> str: ...
    def hex_id(self, digits: int) -> str: ...
    def host_room(self, provider: str) -> Resources | None: ...
    def shapes(self, environment: Environment) -> Sequence[Shape]: ...
    def price(self, shape: Shape, room: Resources, spot: bool) -> float: ...


class JobIds:
    """UUID texts with a version nibble of 4 whose leading 60 bits are time and a counter, so that they rise with every id.

    Monotone across restarts: `last` is the highest id ever given, and no id is given that is not above it.
    """

    def __init__(self, last: str = "") -> None:
        self._last = _leading(last) if last else 0

    def next(self, now_ms: int, noise: int) -> str:
        """The next id; `noise` gives its 62 trailing random bits."""
        # 48 bits of milliseconds and 12 of a counter stand left of the version nibble and just behind it
        self._last = max(self._last + 1, now_ms << 12)
        head, low = self._last >> 12, self._last & 0xFFF
        variant = 0x8 | noise & 0x3
        return f"{head >> 16:08x}-{head & 0xFFFF:04x}-4{low:03x}-{variant:x}{noise >> 2 & 0xFFF:03x}-{noise >> 14 & 0xFFFFFFFFFFFF:012x}"


def _leading(job_id: str) -> int:
    digits = job_id.replace("-", "")
    return int(digits[:12] + digits[13:16], 16)


class RealWorld:
    """The wall clock and the system's randomness. `now_ms` never runs backwards, not even behind the last submission committed."""

    def __init__(self, host: Resources, catalogue: Catalogue, last_job_id: str = "") -> None:
        self._host = host
        self._catalogue = catalogue
        self._ids = JobIds(last_job_id)
        self._last_ms = _leading(last_job_id) >> 12 if last_job_id else 0

    def now_ms(self) -> int:
        self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000)
        return self._last_ms

    def job_id(self, now_ms: int) -> str:
        return self._ids.next(now_ms, int.from_bytes(os.urandom(8)))

    def hex_id(self, digits: int) -> str:
        return os.urandom(digits // 2 + 1).hex()[:digits]

    def host_room(self, provider: str) -> Resources | None:
        return self._host if provider == "local" else None

    def shapes(self, environment: Environment) -> Sequence[Shape]:
        return self._catalogue.shapes(environment.instance_types, self._host, in_order=environment.in_order)

    def price(self, shape: Shape, room: Resources, spot: bool) -> float:
        return self._catalogue.price(shape, room, spot)


class Catalogue(Protocol):
    """Instance types and prices (see `compute/catalogue.py`)."""

    def shapes(self, names: tuple[str, ...], host: Resources, *, in_order: bool = False) -> Sequence[Shape]: ...
    def price(self, shape: Shape, room: Resources, spot: bool) -> float: ...
