"""From a container that runs to what came of it.

What the daemon loses is the loss of a host: a container that is gone, or that ended because its daemon did, has no outcome. Podman's
containers live on without the service that started them, and so do Docker's with live-restore: those are found again.
"""

from __future__ import annotations

import os
from typing import Any

from batchyard.compute.local.containers.clearing import PATIENCE_S
from batchyard.compute.local.containers.engine import Engine, EngineError
from batchyard.compute.local.containers.layers import ContainerLayers
from batchyard.compute.local.containers.run import ContainerRun
from batchyard.compute.local.containers.wire import EngineAway
from batchyard.compute.local.loop import Loop, boot_s
from batchyard.compute.local.node_log import say
from batchyard.compute.local.runner import Ending
from batchyard.compute.local.tasks import Promise, Task, both, either, pause

LOG_S = 5.0  # how long the rest of the log is waited for after the end
_AGAIN_S = 0.5
_SOON_S, _SOON_MOST_S = 0.004, 0.25
_KILLED = 137
_REMOVED_S, _REMOVED_BY_PODMAN_S = 0.3, 1.5  # how long somebody may take between the two; Docker tells of a removal from its beginning
_OVER = ("exited", "stopped")
_LOST = ("gone", "removing", "dead")  # somebody else removes it


class Following:
    """Follows the containers of one daemon."""

    def __init__(self, engine: Engine, layers: ContainerLayers, loop: Loop) -> None:
        self._engine, self._layers, self._loop = engine, layers, loop

    async def followed(self, run: ContainerRun, log: Task[None]) -> Ending:
        """Wait for the end, and for the rest of what `log` reads; what came of it."""
        meter = run.meter
        soon_s, was_away, seen_s = _SOON_S, False, boot_s()
        over: Promise[None] | None = meter.ended if self._layers.knows(run.name) else None
        if over is not None:  # there is nothing more to be known of it now
            await either(log, over)
        while True:
            try:
                asked_s, asking = boot_s(), Task(self._engine.inspect(run.name))
                if meter.status is not None:  # the daemon answers when it has tidied up: the kernel says before how it ended
                    await either(asking, both(log, meter.status))
                    if not (asking.done or was_away) and (ending := self._told_by_kernel(run, asked_s)):
                        return ending
                found = await asking
                state: dict[str, Any] = found["State"] if found else {"Status": "gone"}
                run.note_addresses(found or {})
                if state["Status"] in _LOST:
                    run.gone = True
                    return Ending(None, boot_s(), lost=True)
                await self._layers.see(run.launch.attempt, run.name, found or {})
                if state["Status"] in _OVER:
                    return await self._outcome(run, log, state, lost=was_away and not self._engine.is_podman)
                if log.done and was_away:
                    log = Task(run.output.read(await self._engine.attach(run.name)))
                was_away, seen_s = False, boot_s()
                if meter.find(state.get("Pid") or 0, run.id):
                    over = meter.ended
                elif over is None or over.done:
                    over = Task(self._engine.wait(run.name))
            except EngineError as error:
                say(f"container {run.name}: {error}")
                await pause(self._loop, _AGAIN_S)
                continue
            except EngineAway:
                was_away = True
                over_there = meter.ended.done and not self._engine.is_podman if meter.ended else boot_s() > seen_s + PATIENCE_S
                if over_there:
                    return Ending(None, boot_s(), lost=True)
                await pause(self._loop, _AGAIN_S)
                continue
            if over is not None and over.done:  # it has ended, and the daemon has not noticed yet
                told = both(log, meter.status) if meter.status is not None else None
                await (either(told, pause(self._loop, soon_s)) if told and not told.done else pause(self._loop, soon_s))
                soon_s = min(soon_s * 2, _SOON_MOST_S)
            elif log.done:  # it closed its output, or the daemon is going away
                await either(over, pause(self._loop, _AGAIN_S)) if over else await pause(self._loop, _AGAIN_S)
            else:
                await either(log, over) if over else await either(log)

    def _told_by_kernel(self, run: ContainerRun, asked_s: float) -> Ending | None:
        """What came of one that Docker runs, and whose log has come to its end, if it went by itself and nothing is left to ask for.

        `asked_s`: when the daemon, which has not answered yet, was last found to be there. It ends its containers when it ends itself, or
        when it comes back after it was killed; then the log had come to its end before.
        """
        meter = run.meter
        was_there = min(asked_s, run.output.ended_s) >= meter.ended_s and not self._engine.is_podman
        is_certain = was_there and meter.is_whole and self._layers.knows(run.name)
        code = os.waitstatus_to_exitcode(meter.status.result()) if meter.status and is_certain else -1
        if code < 0 or code == _KILLED:
            return None
        run.running = False
        self._layers.over(run.launch.attempt, run.name)
        return Ending(code, boot_s(), meter.usage())

    async def _outcome(self, run: ContainerRun, log: Task[None], state: dict[str, Any], lost: bool) -> Ending:
        run.running = False
        at_s = boot_s()
        await either(log, pause(self._loop, LOG_S))
        is_short = bool(state.get("OOMKilled")) or await run.meter.was_short()
        usage = run.meter.usage()
        if is_short and not usage.oom:  # its cgroup was gone before we looked; so much is certain
            usage = usage._replace(oom=True, peak_memory_mib=max(usage.peak_memory_mib or 0.0, run.launch.needs.memory_mib))
        code = int(state["ExitCode"]) & 0xFF
        if code == _KILLED and not usage.oom and not run.asked:  # by whom? Somebody who removes it does it in two steps
            lost = lost or await self._is_lost(run)
        return Ending(None, at_s, lost=True) if lost else Ending(code, at_s, usage)

    async def _is_lost(self, run: ContainerRun) -> bool:
        """Whether somebody removes it: looked for a moment, and again."""
        give_up_s = boot_s() + (_REMOVED_BY_PODMAN_S if self._engine.is_podman else _REMOVED_S)
        while True:
            await pause(self._loop, _REMOVED_S)
            try:
                found = await self._engine.inspect(run.name)
            except (EngineAway, EngineError):
                return not self._engine.is_podman
            if found is None or found["State"]["Status"] in _LOST:
                return True
            if boot_s() >= give_up_s:
                return False
