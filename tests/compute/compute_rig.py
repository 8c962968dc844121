"""A provider under test with all that it reported, so that a test can say what it wants to see next."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from batchyard.compute.local import proc, protocol
from batchyard.compute.local.link import LocalProvider
from batchyard.compute.provider import Provider
from batchyard.compute.scripted import ScriptedProvider
from batchyard.model.capacity import Instance, InstanceState, Resources
from batchyard.model.messages import AttemptEnded, AttemptStarted, InstanceGone, Launch, ProviderBack, Report, StartInstance, StopInstance
from batchyard.store import logs

PATIENCE_S = 90.0  # far beyond what even a busy machine needs: only a test that fails waits so long
ACCOUNT, REGION, GROUP = "123456789012", "us-east-1", "/aws/batch/job"
AS_ROOT = os.geteuid() == 0
_names = itertools.count(1)
Kind = TypeVar("Kind")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is only not yet reaped does not."""
    seen = proc.process(pid)
    return seen is not None and seen.state != "Z"


def instance(name: str = "i-1") -> Instance:
    return Instance(
        id=name, environment="ce", type_name="m5.large", room=Resources(2, 8192), spot=False, state=InstanceState.PENDING, launched_at_ms=1
    )


class Rig:
    """Wraps a provider; `reports` is everything delivered since the last (re)connection began."""

    def __init__(self, provider: Provider, directory: Path) -> None:
        self.provider = provider
        self.directory = directory
        self.reports: list[Report] = []
        self._news = asyncio.Event()
        self._base = next(_names) * 1000

    def deliver(self, reports: Sequence[Report]) -> None:
        self.reports.extend(reports)
        self._news.set()

    def epoch(self, number: int) -> int:
        """The epochs of this rig are younger than those of all before, since nodes that tests share remember them."""
        return self._base + number

    async def connect(self, epoch: int = 1) -> ProviderBack:
        """(Re)connect; the ProviderBack that comes first."""
        await self.provider.close()
        self.reports.clear()
        await self.provider.start(self.deliver, self.epoch(epoch))
        await self.until(lambda: bool(self.reports))
        first = self.reports[0]
        assert isinstance(first, ProviderBack)
        return first

    async def until(self, satisfied: Callable[[], object]) -> None:
        """Wait until the reports satisfy; fails by a timeout that shows them."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not satisfied():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; reported so far: {self.reports}") from None

    def of(self, kind: type[Kind], **fields: Any) -> list[Kind]:
        """The reports of a kind with these fields."""
        return [
            report
            for report in self.reports
            if isinstance(report, kind) and all(getattr(report, name) == value for name, value in fields.items())
        ]

    async def up(self, name: str = "i-1") -> str:
        self.provider.carry_out([StartInstance(instance(name))])
        return name

    def launch(self, *command: str, on: str = "i-1", memory_mib: int = 256, **fields: Any) -> Launch:
        """A Launch with a name of its own; not sent."""
        attempt = fields.pop("attempt", f"attempt-{next(_names)}")
        return Launch(
            attempt=attempt,
            job_id=fields.pop("job_id", f"job-of-{attempt}"),
            number=1,
            instance=on,
            command=command,
            environment=fields.pop("environment", {}),
            needs=Resources(fields.pop("vcpus", 1), memory_mib),
            log_group=GROUP,
            log_stream=f"definition/default/{attempt}",
            account=ACCOUNT,
            region=REGION,
            **fields,
        )

    async def started(self, attempt: str) -> AttemptStarted:
        await self.until(lambda: self.of(AttemptStarted, attempt=attempt))
        return self.of(AttemptStarted, attempt=attempt)[0]

    async def ended(self, attempt: str) -> AttemptEnded:
        await self.until(lambda: self.of(AttemptEnded, attempt=attempt))
        return self.of(AttemptEnded, attempt=attempt)[0]

    async def run(self, *command: str, **fields: Any) -> tuple[AttemptEnded, list[str]]:
        """Run one attempt to its end: its report and the lines of its log."""
        launch = self.launch(*command, **fields)
        self.provider.carry_out([launch])
        return await self.ended(launch.attempt), self.log(launch.attempt)

    def log(self, attempt: str) -> list[str]:
        """The lines of an attempt's log stream; FileNotFoundError if there is no such stream."""
        path = logs.segment_path(self.directory / "logs", ACCOUNT, REGION, GROUP, f"definition/default/{attempt}")
        with logs.opened(path) as segment:
            return [entry.message.decode() for entry in logs.entries(segment)]

    async def says(self, attempt: str) -> list[str]:
        """Wait until an attempt has written something."""
        await self.started(attempt)
        await self.eventually(lambda: self.log(attempt), f"{attempt} writes")
        return self.log(attempt)

    async def eventually(self, satisfied: Callable[[], object], what: str) -> None:
        """For what no report tells of."""
        give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
        while not satisfied():
            assert asyncio.get_running_loop().time() < give_up_at, f"never happened: {what}"
            await asyncio.sleep(0.01)


class LocalRig(Rig):
    provider: LocalProvider

    async def clear(self) -> None:
        """Leave nothing behind for the next test."""
        back = await self.connect()
        self.provider.carry_out([StopInstance(name) for name in back.instances])
        await self.until(lambda: len(self.of(InstanceGone)) == len(back.instances))
        self.provider.acknowledge([*back.attempts, *(report.attempt for report in self.of(AttemptEnded))])

    @property
    def work(self) -> Path:
        return Path(self.provider.facts["work"])


class ScriptedRig(Rig):
    """The scripted double, playing a machine: `sh -c 'exit N'` ends at once with N, `sleep` runs on."""

    provider: ScriptedProvider

    def deliver(self, reports: Sequence[Report]) -> None:
        super().deliver(reports)
        for report in reports:
            if isinstance(report, AttemptStarted) and report.attempt in self.provider.launches:
                command = self.provider.launches[report.attempt].command
                if command[0] == "sh":
                    self.provider.end(report.attempt, int(command[-1].split()[-1]))


def exits(code: int) -> tuple[str, ...]:
    """A command that both kinds of provider understand."""
    return ("sh", "-c", f"exit {code}")


RUNS_ON = ("sleep", "600")


def node_pid(directory: Path) -> int:
    """The node of a data directory; 0 if there is none."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((directory / protocol.LOCK).read_text())
    return 0


def kill_node(directory: Path) -> None:
    pid = node_pid(directory)
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        if pid and str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
