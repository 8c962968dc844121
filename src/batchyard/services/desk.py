"""What a handler may reach, handed to it instead of being looked up: the engine, the committed state, settings, clock and ids."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from batchyard.model.requests import Request
from batchyard.model.view import Reader


class DeskSettings(Protocol):
    """The part of the server's settings that handlers may ask for."""

    @property
    def profile(self) -> str:
        """ "open", or "aws" with AWS's own limits enforced."""
        ...

    @property
    def region(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def runtime(self) -> str:
        """How jobs run: "process"."""
        ...


@dataclass(slots=True)
class Desk:
    """`ask` answers once the request is durable and may raise a Fault; `read` sees committed state only.

    `known_type` says whether an instance type or family is known. `logs` and `objects` are the stores of other services.
    `prepared` holds job definitions in the form that submissions need (see `batch/submit.py`), by ARN.
    `tagging` makes one step of "read a job's tags, change them, write them back".
    """

    ask: Callable[[Request], Awaitable[Any]]
    read: Reader
    new_job_id: Callable[[], str]
    now_ms: Callable[[], int]
    settings: DeskSettings
    known_type: Callable[[str], bool]
    logs: Any = None
    objects: Any = None
    prepared: dict[str, Any] = field(default_factory=dict)
    tagging: asyncio.Lock = field(default_factory=asyncio.Lock)
