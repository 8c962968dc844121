"""Ends whoever an earlier node left behind, before anything is reported or started: a lost attempt must not go on working."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Sequence

from batchyard.compute.local import proc
from batchyard.compute.local.cage import Tree
from batchyard.compute.local.journal import Begun, Journal, Outcome
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.runner import Runner
from batchyard.model.messages import AttemptEnded

NODE_MARKER = "BATCHYARD_NODE"
_PATIENCE_S = 10.0
_AGAIN_S = 0.02


def end(runners: Sequence[Runner], journal: Journal, loop: Loop) -> int:
    """Kill the orphans, wait until they are gone, and note their attempts as lost. How many would not go within ten seconds."""
    give_up_s = boot_s() + _PATIENCE_S
    while True:
        left = sum(runner.end_orphans() for runner in runners)
        if not left or boot_s() > give_up_s:
            break
        loop.wake_at(boot_s() + _AGAIN_S)
        loop.once()  # a runner may have to ask somebody else
    for attempt in list(journal.intents):
        journal.note(Outcome(AttemptEnded(attempt, wall_ms(), "lost", reason="the node that ran it is gone")))
    journal.flush()
    return left


def end_processes(name: str, tree: Tree, journal: Journal, reserved: range) -> int:
    """Kill the processes that an earlier node of this `name` left behind; how many there were."""
    begun = [entry for entry in journal.begun() if entry.boot_id == proc.boot_id()]
    return tree.end_orphans() + _end_seen(name, begun, reserved)


def _end_seen(name: str, begun: Iterable[Begun], reserved: range) -> int:
    """Kill what /proc shows to be ours; how many there were.

    Ours is what carries our marker, what belongs to a session whose first process is one that we noted (the same id and the same
    start, so that a later process with a recycled id is safe), and what runs as a user id that only such an attempt had.
    """
    ticks = {entry.pid: entry.ticks for entry in begun if entry.ticks}
    uids = {entry.uid for entry in begun if entry.uid in reserved}
    seen = [process for process in proc.processes() if process.state != "Z" and process.pid != os.getpid()]
    sessions = {process.pid for process in seen if ticks.get(process.pid) == process.ticks}
    found = 0
    for process in seen:
        ours = process.session in sessions or process.group in sessions
        ours = ours or proc.environment(process.pid).get(NODE_MARKER.encode()) == name.encode()
        ours = ours or (bool(uids) and proc.owner(process.pid) in uids)
        if ours:
            found += 1
            _kill(process)
    return found


def _kill(process: proc.Seen) -> None:
    """SIGKILL, unless the id has come to mean another process since we looked."""
    with contextlib.suppress(OSError):
        if not hasattr(os, "pidfd_open"):
            os.kill(process.pid, signal.SIGKILL)
            return
        held = os.pidfd_open(process.pid)
        try:
            if proc.start_ticks(process.pid) == process.ticks:
                signal.pidfd_send_signal(held, signal.SIGKILL)
        finally:
            os.close(held)
