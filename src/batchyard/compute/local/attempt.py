"""One attempt on this machine: what it runs as, when it began, how it was asked to end, and what came of it."""

from __future__ import annotations

from batchyard.compute.local.allotment import Outcome
from batchyard.compute.local.loop import Timer
from batchyard.compute.local.runner import Ending, Run
from batchyard.model.messages import AttemptEnded, Launch

_REASON_LENGTH = 255  # of container.reason in the Batch API


class Attempt:
    """An attempt that is about to start, runs, or is being wound up."""

    __slots__ = ("begun", "cause", "kill_at_s", "launch", "run", "started_at_ms", "started_s", "timers")

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.run: Run | None = None
        self.begun = False  # its runner has it
        self.cause = "exited"
        self.kill_at_s: float | None = None  # set once it was asked to stop
        self.started_at_ms = 0
        self.started_s = 0.0
        self.timers: list[Timer] = []

    @property
    def is_over(self) -> bool:
        """Its end was seen, though perhaps not told yet."""
        return self.started_at_ms != 0 and (self.run is None or not self.run.running)

    def ended(self, ending: Ending, now_ms: int, scratch: Outcome | None = None) -> AttemptEnded:
        """The report. The end of what ran is counted from its start on the boot clock, so that durations are true.

        `scratch`: what it held of the scratch space. One that failed at its limit there is told of that.
        """
        name = self.launch.attempt
        if ending.lost:
            self.cause = "lost"
        lost, usage = self.cause == "lost", ending.usage
        if not self.started_at_ms:
            cause = self.cause if self.cause != "exited" else "not-started"
            reason = ending.reason[:_REASON_LENGTH] if cause == "not-started" else ""
            return AttemptEnded(name, now_ms, cause, reason=reason, containers=() if lost else ending.containers)
        return AttemptEnded(
            name,
            self.started_at_ms + round((ending.at_s - self.started_s) * 1000),
            self.cause,
            exit_code=None if lost else ending.exit_code,
            oom=bool(usage and usage.oom) and not lost,
            reason=scratch.reason[:_REASON_LENGTH] if scratch and self.cause == "exited" and ending.exit_code else "",
            peak_memory_mib=round(usage.peak_memory_mib, 2) if usage and usage.peak_memory_mib is not None else None,
            cpu_s=round(usage.cpu_s, 6) if usage and usage.cpu_s is not None else None,
            read_mib=round(usage.read_mib, 2) if usage and usage.read_mib is not None else None,
            written_mib=round(usage.written_mib, 2) if usage and usage.written_mib is not None else None,
            started_at_ms=self.started_at_ms,
            disk_peak_mib=scratch.peak_mib if scratch else None,
            containers=() if lost else ending.containers,
        )
