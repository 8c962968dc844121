"""The scratch space under the jobs of a service, as its node has written it down."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from batchyard.main.client import EXIT_NO_SERVICE, Trouble
from batchyard.main.commands.checks import node_answers
from batchyard.main.commands.draw import say

STALE_AFTER_S = 15.0
_GIB = 1024**3


def told_of(folder: Path) -> dict[str, Any]:
    """What is under the jobs of the service of `folder`: the fields of its node's `Served` and, where it grows, of its watcher's `Status`,
    with `is_healthy` and `is_watched`. Raises Trouble where no node has written any."""
    import msgspec

    from batchyard.compute.local.scratching.kinds import DIRECTORY
    from batchyard.compute.local.scratching.told import SERVED, Served
    from batchyard.scratch.watching import STATUS, Status

    store = folder / "scratch"
    try:
        served = msgspec.json.decode((store / SERVED).read_bytes(), type=Served)
    except (OSError, msgspec.MsgspecError):
        start = f"Start it: batchyard serve --data {folder}"
        raise Trouble(
            f"The service of {folder} has no scratch space now: its node does not run.", start, exit_code=EXIT_NO_SERVICE
        ) from None
    told: dict[str, Any] = {**msgspec.to_builtins(served), "is_healthy": served.is_ready, "is_watched": node_answers(folder)}
    if served.kind == DIRECTORY:
        below = os.statvfs(served.place)
        return told | {"free_bytes": below.f_bavail * below.f_frsize}
    try:
        status = msgspec.json.decode((store / STATUS).read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError):
        return told | {"is_watched": False}
    why_not = served.why_not or status.why_not
    is_watched = told["is_watched"] and time.time() - status.at_s < STALE_AFTER_S
    return {**told, **msgspec.to_builtins(status), "why_not": why_not, "is_healthy": not why_not, "is_watched": is_watched}


def show(told: dict[str, Any]) -> None:
    """The same in a few lines."""
    health = "healthy" if told["is_healthy"] else f"NOT healthy: {told['why_not']}"
    say(f"{told['kind']} at {told['place']}: {health}; {'watched' if told['is_watched'] else 'NOT watched'}")
    if told["passed_over"]:
        say(f"passed over: {told['passed_over']}")
    if "volumes" not in told:
        cap = f"at most {_gib(told['cap_bytes'])} GiB; " if told["cap_bytes"] else ""
        say(f"{cap}its disk has {_gib(told.get('free_bytes', 0))} GiB free")
        return
    say(
        f"{_gib(told['used_bytes'])} of {_gib(told['capacity_bytes'])} GiB used (peak {_gib(told['used_peak_bytes'])}),"
        f" at most {_gib(told['cap_bytes'])}; {len(told['volumes'])} volume(s)"
    )
    say(f"written lately: {told['rate_bytes_s'] / 1e6:.0f} MB/s; a grow takes {told['grow_s']:.2f} s")
    if told["refusal"]:
        say(f"does not grow: {told['refusal']}")
    say(", ".join(f"{name} {value:g}" for name, value in told["counters"].items()))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f}"
