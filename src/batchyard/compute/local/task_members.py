"""The containers of a running task: how far each is, and what came of them all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from batchyard.compute.local.cage import Usage
from batchyard.compute.local.loop import Timer, boot_s
from batchyard.compute.local.runner import Ending, Run
from batchyard.model.task import ContainerEnd, TaskContainer


class Member:
    """One container of a running task."""

    __slots__ = ("asked", "container", "ending", "kill_timer", "over", "run", "started_at_ms", "started_s", "tried_s")

    def __init__(self, container: TaskContainer) -> None:
        self.container = container
        self.run: Run | None = None  # its runner has it
        self.started_at_ms: int | None = None
        self.started_s = 0.0
        self.tried_s = 0.0  # when its runner was given it
        self.asked = False  # to end, by us
        self.kill_timer: Timer | None = None
        self.ending: Ending | None = None
        self.over = False  # it has ended, or never will start

    @property
    def lives(self) -> bool:
        """Whether its runner has it and it is not over."""
        return self.run is not None and not self.over

    def end(self) -> ContainerEnd:
        """What came of it, as the report says it."""
        ending, usage = self.ending, self.ending.usage if self.ending else None
        ran = self.started_at_ms is not None and ending is not None
        return ContainerEnd(
            name=self.container.name,
            exit_code=ending.exit_code if ending else None,
            reason=ending.reason if ending else "",
            oom=bool(usage and usage.oom),
            started_at_ms=self.started_at_ms,
            stopped_at_ms=(self.started_at_ms or 0) + round((ending.at_s - self.started_s) * 1000) if ran and ending else None,
            peak_memory_mib=round(usage.peak_memory_mib, 2) if usage and usage.peak_memory_mib is not None else None,
            cpu_s=round(usage.cpu_s, 6) if usage and usage.cpu_s is not None else None,
            read_mib=round(usage.read_mib, 2) if usage and usage.read_mib is not None else None,
            written_mib=round(usage.written_mib, 2) if usage and usage.written_mib is not None else None,
        )


def outcome(members: Sequence[Member], counting: Sequence[Member], failure: str, *, lost: bool) -> Ending:
    """The ending of the whole. `counting`: those whose exit codes are the task's; `failure`: why it could not be started, else ""."""
    ends = [member.ending for member in members if member.ending is not None]
    decider = None if failure or lost else _decider(counting)
    oom = bool(decider and decider.usage and decider.usage.oom)
    return Ending(
        decider.exit_code if decider else None,
        max((end.at_s for end in ends), default=boot_s()),
        _together([end.usage for end in ends if end.usage is not None], oom),
        reason=failure,
        lost=lost,
        containers=tuple(member.end() for member in members),
    )


def _decider(counting: Sequence[Member]) -> Ending | None:
    """The ending that is the task's: of a container that failed by itself, else of one that ended by itself, else of any."""
    ran = [member for member in counting if member.ending is not None and member.ending.exit_code is not None]
    ran.sort(key=lambda member: member.ending.at_s if member.ending else 0.0)
    tests: tuple[Callable[[Member], object], ...] = (
        lambda m: not m.asked and m.ending and m.ending.exit_code,
        lambda m: not m.asked,
        lambda m: m.ending and m.ending.exit_code,
        lambda m: True,
    )
    for test in tests:
        for member in ran:
            if test(member):
                return member.ending
    return None


def _together(used: list[Usage], oom: bool) -> Usage | None:
    """What the containers used together. Their peaks need not have come at the same time: the sum is the most that it can have been."""
    if not used:
        return None
    return Usage(
        _sum(usage.peak_memory_mib for usage in used),
        _sum(usage.cpu_s for usage in used),
        oom,
        _sum(usage.read_mib for usage in used),
        _sum(usage.written_mib for usage in used),
    )


def _sum(figures: Iterable[float | None]) -> float | None:
    """Of those that are known; None if none is."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
