"""What attempts and their containers used, in the members in which our own routes and records show it."""

from __future__ import annotations

from typing import Any

from batchyard.model.job import Attempt
from batchyard.model.task import ContainerEnd


def of_attempt(attempt: Attempt) -> dict[str, Any]:
    """What was measured of an attempt, and of each container of a task of several. None for what nobody could tell."""
    shown = {**_of(attempt), "diskPeakMiB": attempt.disk_peak_mib}
    if attempt.containers:
        shown["containers"] = [{"name": container.name, **_of(container)} for container in attempt.containers]
    return shown


def _of(one: Attempt | ContainerEnd) -> dict[str, Any]:
    return {"peakMemoryMiB": one.peak_memory_mib, "cpuSeconds": one.cpu_s, "readMiB": one.read_mib, "writtenMiB": one.written_mib}
