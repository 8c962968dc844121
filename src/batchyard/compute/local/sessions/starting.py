"""Which kind of session goes with which kind of run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchyard.compute.local.loop import Loop
from batchyard.compute.local.process import ProcessRunner
from batchyard.compute.local.process_run import ProcessRun
from batchyard.compute.local.runner import Run
from batchyard.compute.local.sessions.listener import Client, Session
from batchyard.compute.local.sessions.messages import Begin
from batchyard.compute.local.sessions.processes import ProcessSession

if TYPE_CHECKING:
    from batchyard.compute.local.containers.runner import ContainerRunner


class Starter:
    """Starts commands beside the runs of a node's runners."""

    def __init__(self, processes: ProcessRunner, containers: ContainerRunner | None, loop: Loop) -> None:
        self._processes, self._containers, self._loop = processes, containers, loop

    def __call__(self, run: Run, begin: Begin, client: Client) -> Session:
        """See `listener.Start`."""
        if isinstance(run, ProcessRun):
            process = ProcessSession(begin, client, self._loop)
            process.start(run, self._processes)
            return process
        from batchyard.compute.local.containers.run import ContainerRun
        from batchyard.compute.local.sessions.containers import ContainerSession

        assert isinstance(run, ContainerRun) and self._containers is not None
        container = ContainerSession(begin, client, self._containers.engine, self._loop)
        container.start(run)
        return container
