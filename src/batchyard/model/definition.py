"""A job definition: how a job runs, as it was registered."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Definition(Struct, frozen=True, kw_only=True):
    """One revision of a job definition. `properties` holds what was registered, in AWS's spelling, to be echoed exactly."""

    arn: str
    name: str
    revision: int
    account: str
    region: str
    active: bool = True
    inactive_since_ms: int | None = None  # None also of those that a version before this one took out of use
    properties: dict[str, Any] = {}
    tags: dict[str, str] = {}
    created_at_ms: int = 0
