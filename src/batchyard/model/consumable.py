"""Consumable resources: what a job needs besides a machine, such as licences, and there is only so much of (AWS: resource-aware
scheduling)."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

REPLENISHABLE = "REPLENISHABLE"
NON_REPLENISHABLE = "NON_REPLENISHABLE"


class Consumption(NamedTuple):
    """So much of a resource (ARN) is held by each attempt of a job."""

    resource: str
    quantity: int


Wants = tuple[Consumption, ...]


class CountedUpdate(Struct, frozen=True):
    """An update with a client token: the same one within its time is not counted again."""

    token: str
    asked: str  # operation and quantity
    at_ms: int


class Consumable(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A consumable resource. What of it is in use is never stored: it follows from the attempts that run."""

    arn: str
    name: str
    account: str
    region: str
    kind: str = REPLENISHABLE
    total: int = 0
    tags: dict[str, str] = {}
    created_at_ms: int = 0
    updates: tuple[CountedUpdate, ...] = ()
