"""(c) From the command to `ready` (a job submitted now would be placed): in a fresh folder, and with 10,000 waiting jobs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from bench import peers, targets
from bench.load import drive
from bench.peers import NotRun
from bench.report import Line, show, want
from bench.targets import Yard

GOAL_S = 1.0
PEERS: dict[str, Callable[[], AbstractContextManager[Any]]] = {"moto": peers.moto, "localbatch": peers.localbatch}


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print. Peers are ready with their first answer."""
    waiting = 1000 if is_quick else 10_000
    fresh = Line("Batchyard, a fresh folder", unit="s")
    again = Line(f"Batchyard, killed with {waiting:,} jobs waiting", unit="s")
    others = {name: Line(name, unit="s") for name in PEERS}
    for _ in range(alternations):
        with contextlib.ExitStack() as stack:
            started = time.perf_counter()
            stack.enter_context(targets.running_yard())
            fresh.figures.append(time.perf_counter() - started)
        for name, line in others.items():
            try:
                line.figures.append(_seconds_to_answer(PEERS[name]))
            except NotRun as why:
                line.why_not = str(why)
    with targets.full_batchyard() as (yard, target):
        drive(target.address, target.submissions(waiting, "waits"), 16)
        again.figures = [_restart(yard) for _ in range(alternations)]
    for line in (fresh, again):
        want(line, f"< {GOAL_S:g} s", line.median < GOAL_S)
    show("(c) Start to ready", [fresh, again, *others.values()])


def _restart(yard: Yard) -> float:
    yard.kill()
    started = time.perf_counter()
    yard.start()
    return time.perf_counter() - started


def _seconds_to_answer(start: Callable[[], AbstractContextManager[Any]]) -> float:
    started = time.perf_counter()
    with start():
        return time.perf_counter() - started
