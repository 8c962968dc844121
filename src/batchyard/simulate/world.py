"""The false world's clock, ids and machine: everything that the engine asks of the outside, from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from batchyard.compute.catalogue import Catalogue
from batchyard.engine.world import JobIds
from batchyard.model.capacity import Environment, Resources, Shape

BEGIN_MS = 1_700_000_000_000
_CATALOGUE = Catalogue()


class FalseWorld:
    """Implements `engine.world.World`. The clock stands still until the simulation moves it."""

    def __init__(self, seed: int, host: Resources) -> None:
        self.now = BEGIN_MS
        self.host = host
        self._random = Random(f"world {seed}")
        self._ids = JobIds()

    def now_ms(self) -> int:
        return self.now

    def job_id(self, now_ms: int) -> str:
        return self._ids.next(now_ms, self._random.getrandbits(62))

    def hex_id(self, digits: int) -> str:
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"

    def host_room(self, provider: str) -> Resources | None:
        return self.host

    def shapes(self, environment: Environment) -> Sequence[Shape]:
        return _CATALOGUE.shapes(environment.instance_types, self.host, in_order=environment.in_order)

    def price(self, shape: Shape, room: Resources, spot: bool) -> float:
        return _CATALOGUE.price(shape, room, spot)
