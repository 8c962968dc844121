"""A task of several containers, as one run: who starts when, whose end ends the others, and what the whole came to.

    start    a container starts when those that it waits for are where its conditions want them (START, COMPLETE, SUCCESS)
    running  the task runs once all its essential containers have begun; until then it is being started
    end      the first essential container that ends, ends the task: the others are told to (SIGTERM, after its stopTimeout SIGKILL),
             those that wait for others before those that they wait for
    outcome  the first exit code other than 0 of an essential container that ended by itself; 0 if there is none

A task without essential containers is a pod: it runs once all have begun and ends when all have ended, whatever their codes, and all
of them count. A container that counts and cannot be started fails the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from batchyard.compute.local.loop import Loop, Timer, boot_s
from batchyard.compute.local.runner import Ending, Run, Runner, Watcher
from batchyard.compute.local.task_members import Member, outcome
from batchyard.model.capacity import Resources
from batchyard.model.messages import Launch
from batchyard.model.task import Condition, StartsAfter, TaskContainer

_AGAIN_S = 1.0  # until a container that found no room is tried again


class Room(NamedTuple):
    """What the containers of one task share: a directory for each of its volumes that has no path of its own."""

    volumes: Mapping[str, str]


class Rooms(Protocol):
    """Where a runtime keeps what the containers of a task share."""

    def open(self, launch: Launch) -> Room | None:
        """Made ready for a task; None if there is no room for it now. OSError if it cannot be made."""
        ...

    def furnish(self, launch: Launch, room: Room, name: str) -> Launch:
        """The launch of its container of that name, as its runtime finds the shared volumes."""
        ...

    def close(self, launch: Launch) -> None:
        """The task is over, and all that it shared can go."""
        ...


class Seen(NamedTuple):
    """One container of a running task, for who wants to show it."""

    container: TaskContainer
    run: Run
    started_at_ms: int | None
    ending: Ending | None


class TaskRun:
    """The containers of one attempt, spoken to as one (see `runner.Run`), and their watcher."""

    def __init__(self, launch: Launch, watcher: Watcher, runner: Runner, rooms: Rooms, loop: Loop) -> None:
        self.launch = launch
        self._watcher, self._runner, self._rooms, self._loop = watcher, runner, rooms, loop
        self._members = {container.name: Member(container) for container in launch.containers}
        self._counting = [m for m in self._members.values() if m.container.essential] or list(self._members.values())
        self._is_pod = not any(container.essential for container in launch.containers)
        self._room: Room | None = None
        self._timers: list[Timer] = []
        self._told = False  # that it runs
        self._finished = False
        self._stopping = False
        self._lost = False
        self._failure = ""  # why it could not be started
        self._stepping = False

    def members(self) -> list[Seen]:
        """Its containers that were handed to a runner, as they are now, in start order."""
        return [
            Seen(member.container, member.run, member.started_at_ms, member.ending)
            for member in self._members.values()
            if member.run is not None
        ]

    def member(self, name: str) -> Run | None:
        """One of its containers by name, or the first that counts (""); None if there is none, or it was not begun."""
        member = self._members.get(name) if name else self._counting[0]
        return member.run if member else None

    @property
    def running(self) -> bool:
        return any(member.run is not None and member.run.running for member in self._members.values())

    def begin(self) -> bool:
        """Start what can start; False if there is no room for the task."""
        try:
            self._room = self._rooms.open(self.launch)
        except OSError as error:
            self._stopping = True
            self._failure = f"CannotStartContainerError: {error.strerror or error} ({error.filename})"
            for member in self._members.values():
                member.over = True
            self._step()
            return True
        if self._room is None:
            return False
        self._step()
        if self._finished or any(member.run is not None or member.over for member in self._members.values()):
            return True
        # Not even one container found room: hold nothing while waiting for it.
        self._rooms.close(self.launch)
        self._cancel_timers()
        return False

    def terminate(self) -> None:
        """SIGTERM to its containers, each when those that wait for it have ended."""
        self._stopping = True
        self._step()

    def kill(self) -> None:
        """SIGKILL to all of its containers."""
        self._stopping = True
        for member in list(self._members.values()):
            if member.run is not None and member.lives:
                member.asked = True
                member.run.kill()
        self._step()

    # --- told by the runner ---

    def began(self, run: Run, at_ms: int, at_s: float) -> None:
        """One of the containers runs."""
        member = self._member_of(run)
        member.started_at_ms, member.started_s = at_ms, at_s
        if not self._told and all(counting.started_at_ms is not None for counting in self._counting):
            self._told = True
            self._watcher.began(self, at_ms, at_s)
        self._step()

    def ended(self, run: Run, ending: Ending) -> None:
        """One of the containers is over."""
        self._over(self._member_of(run), ending)
        self._step()

    def _member_of(self, run: Run) -> Member:
        return next(member for member in self._members.values() if member.run is run)

    def _over(self, member: Member, ending: Ending) -> None:
        member.ending, member.over = ending, True
        self._loop.cancel(member.kill_timer)
        if ending.lost:
            self._lost = True
            self.kill()
        elif member in self._counting:
            if ending.exit_code is None and not self._stopping:
                self._failure = self._failure or ending.reason
                self._stopping = True
            elif not self._is_pod:
                self._stopping = True

    # --- the next steps ---

    def _step(self) -> None:
        """Do all that follows from how things are now. What runners answer at once is seen in the next round."""
        if self._stepping or self._finished:
            return
        self._stepping = True
        try:
            while self._stop_some() if self._stopping else self._start_some():
                pass
        finally:
            self._stepping = False
        if all(member.over for member in self._members.values()):
            self._finish()

    def _start_some(self) -> bool:
        """Start, or give up, the first container that can be; False if all there is to do is to wait."""
        for member in self._members.values():
            if member.run is not None or member.over:
                continue
            verdicts = [self._verdict(after) for after in member.container.depends_on]
            hopeless = next((verdict for verdict in verdicts if verdict), "")
            if hopeless:
                self._over(member, Ending(None, boot_s(), reason=f"DependencyError: {hopeless}"))
                return True
            if None not in verdicts and self._begin(member):
                return True
        return False

    def _verdict(self, after: StartsAfter) -> str | None:
        """ "" if a condition is met, None if it is to be waited for, else why it never will be met."""
        other = self._members[after.container]
        name, code = after.container, other.ending.exit_code if other.ending else None
        if after.condition is Condition.START and other.started_at_ms is not None:
            return ""
        if other.over:
            if code is None:
                return f"container {name} was not started"
            return "" if code == 0 or after.condition is Condition.COMPLETE else f"container {name} ended with exit code {code}, not 0"
        limit_s = other.container.start_timeout_s
        if limit_s is not None and other.run is not None and boot_s() >= other.tried_s + limit_s:
            return f"container {name} has not reached {after.condition} within its startTimeout of {limit_s} seconds"
        return None

    def _begin(self, member: Member) -> bool:
        """Hand it to its runner; False if that has no room now."""
        assert self._room is not None
        launch = self._rooms.furnish(_launch_of(self.launch, member.container), self._room, member.container.name)
        member.run, member.tried_s = self._runner.prepare(launch, self, member.container.name), boot_s()
        if not self._runner.begin(member.run):
            member.run = None
            self._timers.append(self._loop.at(boot_s() + _AGAIN_S, self._step))
            return False
        if member.container.start_timeout_s is not None:
            self._timers.append(self._loop.at(member.tried_s + member.container.start_timeout_s, self._step))
        return True

    def _stop_some(self) -> bool:
        """Tell the first container to end whose turn it is; False if all there is to do is to wait."""
        for member in self._members.values():
            if member.over or member.asked:
                continue
            if member.run is None:
                member.over = True
                return True
            if member.started_at_ms is None:
                member.asked = True
                member.run.kill()  # it is being started: give it up
                return True
            if member.run.running and not any(other.lives for other in self._waiting_for(member)):
                member.asked = True
                member.run.terminate()
                member.kill_timer = self._loop.at(boot_s() + member.container.stop_timeout_s, member.run.kill)
                return True
        return False

    def _waiting_for(self, member: Member) -> list[Member]:
        name = member.container.name
        return [other for other in self._members.values() if any(after.container == name for after in other.container.depends_on)]

    # --- the end ---

    def _finish(self) -> None:
        self._finished = True
        self._cancel_timers()
        if self._room is not None:
            self._rooms.close(self.launch)
        ran = [member for member in self._counting if member.started_at_ms is not None and not member.asked]
        if ran and not (self._told or self._is_pod or self._failure):
            # An essential container ended before another one had begun.
            first = min(ran, key=lambda member: member.started_s)
            self._watcher.began(self, first.started_at_ms or 0, first.started_s)
        members = list(self._members.values())
        self._watcher.ended(self, outcome(members, self._counting, self._failure, lost=self._lost))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            self._loop.cancel(timer)


class TaskRunner:
    """Runs tasks of several containers by a runner of single ones (see `runner.Runner`)."""

    def __init__(self, runner: Runner, rooms: Rooms, loop: Loop) -> None:
        self._runner, self._rooms, self._loop = runner, rooms, loop

    def prepare(self, launch: Launch, watcher: Watcher, name: str = "") -> TaskRun:
        return TaskRun(launch, watcher, self._runner, self._rooms, self._loop)

    def begin(self, run: Run) -> bool:
        assert isinstance(run, TaskRun)
        return run.begin()

    def reap(self) -> None:
        self._runner.reap()

    def end_orphans(self) -> int:
        return self._runner.end_orphans()

    def busy(self) -> bool:
        return self._runner.busy()

    def close(self) -> None:
        self._runner.close()


def stop_s(launch: Launch) -> float:
    """How long the containers of a task may take to stop, one after the other where they wait for one another; 0 for a single one."""
    took: dict[str, float] = {}
    for container in reversed(launch.containers):  # in start order: whoever waits for a container stands behind it
        waits = (took[c.name] for c in launch.containers if any(after.container == container.name for after in c.depends_on))
        took[container.name] = container.stop_timeout_s + max(waits, default=0.0)
    return max(took.values(), default=0.0)


def _launch_of(launch: Launch, container: TaskContainer) -> Launch:
    """What a runner of single containers is told about one of a task."""
    properties: dict[str, Any] = container.container
    return replace(
        launch,
        command=container.command,
        environment=container.environment,
        needs=Resources(container.vcpus, container.memory_mib, container.gpus, launch.needs.scratch_mib),
        log_group=container.log_group,
        log_stream=container.log_stream,
        log_begins=container.log_begins,
        log_driver=container.log_driver,
        log_options=container.log_options,
        timeout_s=None,
        user=container.user,
        container={"image": container.image, **properties},
        containers=(),
        registry_auth=container.registry_auth,
    )
