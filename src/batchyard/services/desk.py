"""What a handler may reach, handed to it instead of being looked up: the engine, the committed state, settings, clock and ids."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from batchyard.core.quotas import Bucket
from batchyard.model.requests import Request
from batchyard.model.view import Reader
from batchyard.services import Caller
from batchyard.store.shelf import Drawer, Place

Answer = TypeVar("Answer")


class DeskSettings(Protocol):
    """The part of the server's settings that handlers may ask for."""

    @property
    def profile(self) -> str:
        """`open`, or `aws` with AWS's own limits enforced."""
        ...

    @property
    def region(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def runtime(self) -> str:
        """How jobs run where no tag says otherwise: `container` or `process`."""
        ...

    @property
    def enforce_iam(self) -> bool:
        """Whether IAM's policies decide what users, roles and jobs may do."""
        ...

    @property
    def template_urls(self) -> tuple[tuple[str, str], ...]:
        """What URLs of templates begin with, and what they are read from instead."""
        ...


class Desk(Protocol):
    """What the handlers of Batch need; other services ask for the members that they need themselves."""

    @property
    def read(self) -> Reader:
        """Committed state."""
        ...

    @property
    def settings(self) -> DeskSettings: ...

    @property
    def known_type(self) -> Callable[[str], bool]:
        """Whether an instance type or family is known."""
        ...

    @property
    def prepared(self) -> dict[str, Any]:
        """Job definitions in the form that submissions need, by ARN (see `batch/submit.py`)."""
        ...

    @property
    def buckets(self) -> dict[str, Bucket]:
        """What is left of each account's submissions per second."""
        ...

    @property
    def encoded(self) -> dict[str, Any]:
        """Jobs as DescribeJobs last sent them, by id (see `batch/rendering.py`)."""
        ...

    @property
    def tagging(self) -> asyncio.Lock:
        """Makes one step of "read a job's tags, change them, write them back"."""
        ...

    def missing(self, caller: Caller, settings: Mapping[str, Any]) -> str:
        """What of an environment's computeResources does not exist, as a statusReason; "" when all does, or nobody asks (profile open)."""
        ...

    def ask(self, request: Request) -> Awaitable[Any]:
        """The engine's answer once it is durable; raises a Fault if it was refused."""
        ...

    def new_job_id(self) -> str: ...

    def now_ms(self) -> int: ...


class Shelf(Protocol):
    """Durable documents of the small services (see `store/shelf.py`; `services/shelved.py` makes handlers over it)."""

    @property
    def version(self) -> int:
        """Another number after every committed change."""
        ...

    def change(self, place: Place, act: Callable[[Drawer], Answer]) -> Future[Answer]:
        """Run `act` as one transaction; the future gets its answer once that is durable, or what it raised."""
        ...

    def look(self, place: Place, ask: Callable[[Drawer], Answer]) -> Answer:
        """The answer of `ask` on one snapshot of what is committed."""
        ...


class Sealing(Protocol):
    """Hides secrets from who copies the store (see `store/sealing.py`)."""

    def seal(self, text: bytes, context: str) -> bytes: ...
    def open(self, sealed: bytes, context: str) -> bytes: ...


class Keys(Protocol):
    """Makes temporary credentials (see `main/keys.py`)."""

    def mint_session(self, account: str, arn: str, user_id: str, expires_s: int, policy: str) -> tuple[str, str, str]:
        """(access key id, secret, session token) that are `arn`'s until `expires_s`, narrowed by `policy` unless that is empty."""
        ...
