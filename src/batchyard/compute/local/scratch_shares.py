"""Who may take how much of the scratch space: from what there is, who runs with which vCPUs and promise, and what each holds. Pure.

    promised    a job that asked for so much (needs.scratch_mib) may take that, no more and no less
    the others  share what is not promised, in proportion to vCPUs: of those of the machine that jobs with a promise have left over. So a
                share stays what it is as long as none of those comes or goes: room for who is still to be placed is kept already
    no less     than it holds: who was given more earlier keeps it, and what is left for the others is less

The sum is never more than there is, as long as promises and what the others hold are not: the scheduler sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

GRAIN_BYTES = 1024 * 1024  # shares are whole MiB, so that they do not change for nothing
_OVERHEAD = {"btrfs": 0.05, "xfs": 0.02}  # of their volumes: checksums, directories, what is too little for a chunk
_NOT_PROMISED = 0.05
LEAST_VCPUS = 0.0625  # a container of a pod may ask for none


class Tenant(NamedTuple):
    """An attempt that runs. Without a promise (0) it has a share."""

    vcpus: float
    promise_bytes: int = 0
    held_bytes: int = 0


def usable_bytes(kind: str, cap_bytes: int) -> int:
    """What jobs can write on volumes of so many bytes together: `kind` is the back end's name ("loop-btrfs", "loop-xfs", "directory")."""
    return int(cap_bytes * (1 - _OVERHEAD.get(kind.rpartition("-")[2], 0.0)))


def promisable_bytes(room_bytes: int) -> int:
    """What of it may be promised. The rest is for those without a promise: with no room at all, none of them could even begin."""
    return int(room_bytes * (1 - _NOT_PROMISED))


def limits(room_bytes: int, vcpus: float, tenants: Mapping[str, Tenant]) -> dict[str, int]:
    """Each tenant's limit in bytes. `room_bytes`: what there is for them together; `vcpus`: the machine's."""
    found = {name: tenant.promise_bytes for name, tenant in tenants.items() if tenant.promise_bytes}
    sharing = {name: tenant for name, tenant in tenants.items() if not tenant.promise_bytes}
    left = max(0, room_bytes - sum(found.values()))
    free = max(0.0, vcpus - sum(_vcpus(tenants[name]) for name in found))
    while True:  # each round takes out at least one who holds more than its share, so it ends
        weight = max(free, sum(map(_vcpus, sharing.values())))
        shares = {name: share_bytes(left, weight, tenant.vcpus) for name, tenant in sharing.items()}
        above = [name for name, tenant in sharing.items() if tenant.held_bytes > shares[name]]
        if not above:
            return {**found, **shares}
        for name in above:
            tenant = sharing.pop(name)
            found[name] = tenant.held_bytes
            left = max(0, left - tenant.held_bytes)
            free = max(0.0, free - _vcpus(tenant))


def beside(
    leaving_bytes: int, room_bytes: int, vcpus: float, tenants: Mapping[str, Tenant], now: Mapping[str, int]
) -> tuple[dict[str, int], bool]:
    """The limits while so much is still being cleared away, and whether anybody has to wait for that to have what is due.

    `now`: the limits of those that have one. Nobody has less for it than before, if that can be: only what is new or more waits.
    """
    due = limits(room_bytes, vcpus, tenants)
    kept = {name: tenant.promise_bytes or max(tenant.held_bytes, min(now.get(name, 0), due[name])) for name, tenant in tenants.items()}
    spare = room_bytes - leaving_bytes - sum(kept.values())
    wanted = sum(due.values()) - sum(kept.values())
    if spare >= wanted:
        return due, False
    if spare < 0:
        return limits(max(0, room_bytes - leaving_bytes), vcpus, tenants), True
    return {name: kept[name] + int((due[name] - kept[name]) * (spare / wanted)) for name in due}, True


def share_bytes(left_bytes: int, weight_vcpus: float, vcpus: float) -> int:
    """The part of `left_bytes` that so many of `weight_vcpus` have, in whole grains."""
    part = int(left_bytes * (max(vcpus, LEAST_VCPUS) / weight_vcpus))
    return min(part, left_bytes) // GRAIN_BYTES * GRAIN_BYTES


def _vcpus(tenant: Tenant) -> float:
    return max(tenant.vcpus, LEAST_VCPUS)
