"""The desk of a server: what its handlers may reach."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchyard.compute.catalogue import Catalogue
from batchyard.compute.local.link import LocalProvider
from batchyard.compute.local.sessions import messages
from batchyard.compute.local.sessions.messages import Begin
from batchyard.compute.local.sessions.remote import RemoteSession
from batchyard.core.quotas import Bucket
from batchyard.engine.driver import Driver
from batchyard.engine.reader import EngineReader
from batchyard.engine.waiters import Waiters
from batchyard.engine.yard import ENDED_ATTEMPTS_KEPT
from batchyard.main.keys import KeyRing
from batchyard.model.requests import Request
from batchyard.server.inner import InnerDoor
from batchyard.services import Caller, foundations
from batchyard.services.announcing.announcer import Announcer
from batchyard.services.lambda_functions.events import Functions
from batchyard.services.operator_sessions import OpenSessions
from batchyard.services.s3.deliveries import LogDeliveries
from batchyard.store.json_logs import FOLDER
from batchyard.store.logs_store import LogStore
from batchyard.store.objects import ObjectStore
from batchyard.store.sealing import Sealer
from batchyard.store.shelf import Shelf

if TYPE_CHECKING:  # yaml and fifty modules, which a server without stacks never needs
    from batchyard.services.cloudformation.running.stacks import Stacks

CLOUDFORMATION = "cloudformation"  # what the shelf calls the places of stacks
TASK_KEPT_MS = 3_600_000  # for how long ECS tells of a task that has ended, about


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The settings that handlers may ask for (`services.desk.DeskSettings`)."""

    profile: str
    region: str
    account: str
    runtime: str = "process"
    enforce_iam: bool = False
    template_urls: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ServerDesk:
    """Implements `services.desk.Desk` over a running engine."""

    driver: Driver
    read: EngineReader
    settings: ServerSettings
    catalogue: Catalogue
    logs: LogStore
    objects: ObjectStore
    shelf: Shelf
    sealer: Sealer
    keys: KeyRing
    stop: asyncio.Event
    announcer: Announcer
    waiters: Waiters
    functions: Functions
    provider: LocalProvider
    sessions: OpenSessions = field(default_factory=OpenSessions)
    end_node: bool = False
    prepared: dict[str, Any] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    encoded: dict[str, Any] = field(default_factory=dict)
    tagging: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: InnerDoor | None = None  # set once the services are wired
    log_deliveries: LogDeliveries = field(init=False)
    _stacks: Stacks | None = None
    _ended: Mapping[str, str] = field(default_factory=dict)
    _ended_of: Any = None  # the yard beside which they were looked up

    def __post_init__(self) -> None:
        self.log_deliveries = LogDeliveries(self.objects)

    @property
    def json_logs(self) -> Path:
        """Where the node keeps what jobs with the log driver json-file wrote: beside the log streams."""
        return self.logs.root.parent / FOLDER

    @property
    def stacks(self) -> Stacks:
        """The stacks under way, from the first request about any."""
        if self._stacks is None:
            from batchyard.services.cloudformation.running.stacks import Stacks

            self._stacks = Stacks(self)
        return self._stacks

    async def start_stacks(self) -> None:
        """Take up what an earlier server left, if it had stacks at all."""
        if self.shelf.places(CLOUDFORMATION):
            await self.stacks.start()

    async def close_stacks(self) -> None:
        """Let go of what is under way; the next server takes it up."""
        if self._stacks is not None:
            await self._stacks.close()

    def stop_waiting(self) -> None:
        """The server ends: whoever waits for something, or is in a session, is answered."""
        self.waiters.close()
        self.functions.stop()
        self.sessions.close()

    async def open_session(
        self, attempt: str, container: str, command: tuple[str, ...], has_terminal: bool, size: tuple[int, int], term: str
    ) -> RemoteSession:
        """Run a command beside an attempt that runs. OSError if its node does not answer."""
        begin = Begin(messages.VERSION, attempt, container, command, has_terminal, *size, term)
        return await self.provider.open_session(begin)

    def ask(self, request: Request) -> Awaitable[Any]:
        return self.driver.ask(request)

    def now_ms(self) -> int:
        return self.driver.engine.world.now_ms()

    def new_job_id(self) -> str:
        return self.driver.engine.world.job_id(self.now_ms())

    @property
    def known_type(self) -> Callable[[str], bool]:
        return self.catalogue.knows

    def placed(self) -> Iterator[tuple[str, str]]:
        """(job, instance) of every attempt that is held."""
        yard = self.driver.engine.yard
        for job_id in yard.attempts.values():
            current = yard.jobs[job_id].current
            if current is not None:
                yield job_id, current.instance

    def missing(self, caller: Caller, settings: Mapping[str, Any]) -> str:
        return foundations.missing(self.shelf, caller, settings) if self.settings.profile == "aws" else ""

    def tasks(self) -> Mapping[str, str]:
        """attempt -> job, of all that are held and of those that ended lately."""
        yard = self.driver.engine.yard
        return {**self._ended_before(), **yard.ended_attempts, **yard.attempts}

    def job_of_task(self, attempt: str) -> str | None:
        """The job of one such attempt."""
        yard = self.driver.engine.yard
        return yard.attempts.get(attempt) or yard.ended_attempts.get(attempt) or self._ended_before().get(attempt)

    def _ended_before(self) -> Mapping[str, str]:
        """attempt -> job, of those that ended in the hour before the engine read its records, looked up when it is first asked for."""
        engine = self.driver.engine
        if self._ended_of is not engine.yard:
            since_ms = self.now_ms() - TASK_KEPT_MS
            self._ended = engine.store.attempts_ended_since(since_ms, ENDED_ATTEMPTS_KEPT, list(engine.yard.jobs.awake.values()))
            self._ended_of = engine.yard
        return self._ended

    def shut_down(self, keep_jobs: bool) -> None:
        """End the server once what is being answered is answered, and the node too unless jobs are kept."""
        self.end_node = not keep_jobs
        asyncio.get_running_loop().call_later(0.1, self.stop.set)
