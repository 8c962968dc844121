"""What is shown of a job that has only waited so far: what of its records is its own. The rest is the kind's (see `engine/resting.py`)."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Raw, Struct

from batchyard.model.job import Specification, Status


class WaitingJob(Struct, gc=False):
    """Of a `Job` that rests: what others of its kind need not have in common with it."""

    status: Status
    created_at_ms: int
    status_reason: str = ""
    is_cancelled: bool = False
    is_terminated: bool = False


class WaitingSpecification(Struct):
    """The same of its `Specification`."""

    name: str
    tags: dict[str, str] = {}
    effective: Raw = Raw(b"{}")
    extras: Raw = Raw(b"{}")


class Glimpse(NamedTuple):
    """A job that rests. `kind` is the same object for all of its kind."""

    id: str
    kind: Specification
    job: WaitingJob
    spec: WaitingSpecification
