"""The nouns of fair share: a policy, what a share has used, and how the shares of a queue stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct


class ShareWeight(Struct, frozen=True, omit_defaults=True):
    """One entry of shareDistribution. An identifier that ends in `*` means all that start so. None: not given, 1.0 holds."""

    identifier: str
    weight: float | None = None


class SchedulingPolicy(Struct, frozen=True, kw_only=True):
    """A scheduling policy of the kind fair share. `decay_s` 0 means AWS's 600 s; `reservation` is a percentage (0 to 99)."""

    arn: str
    name: str
    account: str
    region: str
    decay_s: int = 0
    reservation: int = 0
    distribution: tuple[ShareWeight, ...] = ()
    tags: dict[str, str] = {}
    created_at_ms: int = 0


class ShareUsage(Struct, frozen=True, kw_only=True):
    """What the jobs of one share of a queue had used at a time: vCPU-seconds, older ones counting less (`core/fairshare.py`).

    `run_s` is how long its latest attempts took on average, None before one has ended.
    """

    queue: str  # ARN
    share: str
    vcpu_s: float = 0.0
    at_ms: int = 0
    run_s: float | None = None


class Standing(NamedTuple):
    """How one share stands now. `run_s`: what its jobs are expected to take. `first`: its first ready job's id, "" if none is ready."""

    share: str
    weight: float
    used_vcpu_s: float
    held_vcpus: float
    is_active: bool
    run_s: float
    first: str = ""


class Sharing(NamedTuple):
    """How the shares of a fair-share queue stand now."""

    policy: SchedulingPolicy
    standings: Sequence[Standing]
