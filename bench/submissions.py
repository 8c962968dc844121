"""(a) SubmitJob per second: durable, distinct signed requests, over 1 and 16 connections, beside moto's server and localbatch."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from bench import scratch, targets
from bench.load import WrongAnswer, drive
from bench.peers import NotRun
from bench.report import Line, compare, show, want
from bench.targets import Target, Yard

CONNECTIONS = (1, 16)
GOAL_PER_SECOND = 5000
GOAL_OVER_MOTO = 15
PEERS: dict[str, Callable[[], AbstractContextManager[Target]]] = {
    "moto": targets.moto_target,
    "moto, jobs simulated": lambda: targets.moto_target(simulated=True),
    "localbatch": targets.localbatch_target,
}


def run(alternations: int, *, is_quick: bool) -> None:
    """Measure and print. Raises AssertionError if a job that Batchyard acknowledged is not there after `kill -9`."""
    counts = {"Batchyard": (400, 1600)} if is_quick else {"Batchyard": (2500, 10_000)}
    peer_counts = (60, 60) if is_quick else (500, 500)
    lines: dict[tuple[str, int], Line] = {}
    client_shares: list[float] = []
    with contextlib.ExitStack() as stack:
        yard, ours = stack.enter_context(targets.full_batchyard())
        running = {"Batchyard": ours} | _peers(stack, lines)
        syncs = Line("append 4 KiB and fdatasync, one by one")
        for alternation in range(alternations):
            syncs.figures.append(_syncs_per_second(50 if is_quick else 400))
            for name, target in running.items():
                for connections, count in zip(CONNECTIONS, counts.get(name, peer_counts), strict=True):
                    line = lines.setdefault((name, connections), Line(name))
                    share = _measure(target, line, alternation, connections, count)
                    if name == "Batchyard" and share is not None:
                        client_shares.append(share)
        _survives(yard, ours)
    _goals(lines)
    for connections in CONNECTIONS:
        plural = "s" if connections > 1 else ""
        show(f"(a) SubmitJob, {connections} connection{plural}", [line for (_, c), line in lines.items() if c == connections])
    show("    the disk", [syncs])
    print(f"  all {len(ours.answered):,} jobs that Batchyard acknowledged were there after kill -9 and a restart;")
    print(f"  the load generator used at most {max(client_shares):.0%} of a core while Batchyard was measured")


def _peers(stack: contextlib.ExitStack, lines: dict[tuple[str, int], Line]) -> dict[str, Target]:
    running = {}
    for name, start in PEERS.items():
        try:
            running[name] = stack.enter_context(start())
        except NotRun as why:
            for connections in CONNECTIONS:
                lines[name, connections] = Line(name, why_not=str(why))
    return running


def _measure(target: Target, line: Line, alternation: int, connections: int, count: int) -> float | None:
    """One run; the share of a core that the load generator took. A peer that breaks is shown as such; our own breaks the bench."""
    if line.why_not:
        return None
    try:
        driven = drive(target.address, target.submissions(count, f"j{alternation}-{connections}"), connections)
        target.note(driven.bodies)
    except (WrongAnswer, OSError, KeyError) as broken:
        if target.name == "Batchyard":
            raise
        line.why_not = f"it answered wrongly: {broken}"[:150]
        return None
    line.figures.append(driven.per_second)
    return driven.client_cpu_s / driven.seconds


def _goals(lines: dict[tuple[str, int], Line]) -> None:
    for connections in CONNECTIONS:
        ours = lines["Batchyard", connections]
        for name in PEERS:
            is_goal = name == "moto" and connections == max(CONNECTIONS)
            compare(ours, lines[name, connections], at_least=GOAL_OVER_MOTO if is_goal else None)
    want(ours, f">= {GOAL_PER_SECOND:,}/s", ours.median >= GOAL_PER_SECOND)


def _survives(yard: Yard, target: Target) -> None:
    """Durable means: still there after the server was killed."""
    yard.kill()
    yard.start()
    again: Any = targets.batchyard_target(yard)
    lost = set(target.answered) - again.listed(("RUNNABLE",))
    assert not lost, f"{len(lost)} acknowledged jobs are lost"


def _syncs_per_second(count: int) -> float:
    """What the disk allows someone who waits for it each time: the bound of one connection."""
    with open(scratch.folder() / "synced", "wb") as file:
        started = time.perf_counter()
        for _ in range(count):
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
        return count / (time.perf_counter() - started)
