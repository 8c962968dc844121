"""Instance types and what they cost. Sizes and prices are facts from elsewhere, with source and date in the data file itself.

Prices are on-demand, Linux, us-east-1, in USD; they turn job times into a cost to compare with, and are no bill. Where the source
has no price, and for slices cut to measure, the price is estimated from vCPUs and memory. A Spot price is assumed to be a fixed
part of the on-demand price (`SPOT_PART`): real ones move, and no offline source has them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from batchyard.model.capacity import Resources, Shape

# AWS Batch's own groups (model documentation of instanceTypes; specification, section 4.2)
GROUPS = {
    "optimal": ("m6i", "c6i", "r6i", "c7i", "m4", "c4", "r4", "m5", "c5", "r5"),
    "default_x86_64": ("m6i", "c6i", "r6i", "c7i"),
    "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
}
SPOT_PART = 0.35
FARGATE = "fargate"  # stands for slices of exactly the size of a task
# AWS Fargate's price list, Linux on x86, us-east-1 (2024)
FARGATE_USD_PER_VCPU_HOUR = 0.04048
FARGATE_USD_PER_GIB_HOUR = 0.004445
# A line through c5.large (2 vCPUs, 4 GiB) and r5.large (2 vCPUs, 16 GiB)
USD_PER_VCPU_HOUR = 0.0357
USD_PER_GIB_HOUR = 0.0034


class InstanceType(NamedTuple):
    """One type, as AWS publishes it."""

    name: str
    room: Resources
    is_arm: bool
    price_per_hour: float  # USD, 0 where unknown


class Catalogue:
    """The known instance types. `path` may name another file of the same form (own machines, newer prices)."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or Path(__file__).parent / "instance_types.json"

    @cached_property
    def types(self) -> dict[str, InstanceType]:
        """All types by name."""
        rows = json.loads(self._path.read_text())["types"]
        return {
            name: InstanceType(name, Resources(vcpus, memory_mib, gpus), bool(arm), price)
            for name, (vcpus, memory_mib, gpus, arm, price) in rows.items()
        }

    @cached_property
    def prices_from(self) -> str:
        """Where the prices come from, with their date; "" when the file does not say."""
        return str(json.loads(self._path.read_text()).get("prices_from", ""))

    @cached_property
    def families(self) -> frozenset[str]:
        """The families of all types: what stands before the dot."""
        return frozenset(name.partition(".")[0] for name in self.types)

    def knows(self, name: str) -> bool:
        """Whether `name` is a type, a family, or one of AWS Batch's groups."""
        return name in self.types or name in self.families or name in GROUPS

    def is_arm(self, name: str) -> bool:
        """Whether a type, family or group has ARM processors."""
        if name in self.types:
            return self.types[name].is_arm
        family = GROUPS[name][0] if name in GROUPS else name
        return any(t.is_arm for t in self.types.values() if t.name.partition(".")[0] == family)

    def shapes(self, names: tuple[str, ...], host: Resources, *, in_order: bool = False) -> Sequence[Shape]:
        """What an environment with these instance types may start here, cheapest per vCPU first, then smallest; or as they stand.

        Groups and families may be cut to any size up to the host's, Fargate to the size of a task; named types are exact.
        """
        shapes = [Shape(n, self.types[n].room) if n in self.types else Shape(n, host, exact=False, single=n == FARGATE) for n in names]
        return shapes if in_order else sorted(shapes, key=lambda s: (self._per_vcpu(s), s.room.vcpus, s.room.memory_mib))

    def price(self, shape: Shape, room: Resources, spot: bool) -> float:
        """USD per hour of an instance of `shape` with `room`."""
        if shape.single:
            on_demand = room.vcpus * FARGATE_USD_PER_VCPU_HOUR + room.memory_mib / 1024 * FARGATE_USD_PER_GIB_HOUR
            return on_demand * (SPOT_PART if spot else 1.0)
        known = self.types[shape.name].price_per_hour if shape.exact else 0.0
        on_demand = known or room.vcpus * USD_PER_VCPU_HOUR + room.memory_mib / 1024 * USD_PER_GIB_HOUR
        return on_demand * (SPOT_PART if spot else 1.0)

    def _per_vcpu(self, shape: Shape) -> float:
        if not shape.exact:
            return 0.0
        return self.price(shape, shape.room, spot=False) / max(shape.room.vcpus, 1)
