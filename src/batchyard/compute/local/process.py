"""The process runtime: a container is a process of this machine, with a user, a cage, directories and a log stream of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from resource import struct_rusage
from typing import TYPE_CHECKING, Any, NamedTuple

from batchyard.compute.local import orphans, proc, spawn
from batchyard.compute.local.cage import USUAL, Limits, Tree, Usage, of_storage, together
from batchyard.compute.local.instances import notice_path
from batchyard.compute.local.journal import Journal
from batchyard.compute.local.loop import URGENT, Loop, boot_s, wall_ms
from batchyard.compute.local.output import MIB, Attention, Sink, sink_of
from batchyard.compute.local.runner import About, Ending, Run, Watcher
from batchyard.compute.local.slots import Slot, Slots
from batchyard.compute.local.spawn import CannotStart, Order
from batchyard.compute.local.sweep import Sweeper
from batchyard.compute.local.users import identity
from batchyard.compute.local.watched import MARKER
from batchyard.model.messages import Launch
from batchyard.store.logs import file_name

if TYPE_CHECKING:
    from batchyard.compute.local.bubbles import Bubble, Bubbles
    from batchyard.compute.local.doors.doors import Doors

READ_BYTES = 65536
LEFTOVER_S = 5.0  # how long the death of what a job left behind is waited for before its end is reported anyway
PIPE_S = 0.2  # how long a pipe is read that somebody still holds open after all of the job's processes are gone
_AGAIN_S = 0.01
_TICK_S = 0.25
_READS_AT_END = 32


class Place(NamedTuple):
    """What attempts of one node have in common."""

    node: str  # the node's own name, a marker by which its processes are found
    work: str  # where the private directories are made
    logs: Path
    reserved: range
    allow_any_user: bool
    limits: Limits = USUAL
    bubbles: Bubbles | None = None  # makes the namespaces that jobs live in, where that can be
    doors: Doors | None = None  # what jobs can ask of us


class Household(NamedTuple):
    """What the containers of a task have in common where they are processes: a user, and the directory in which they all live."""

    uid: int | None
    directory: str


class ProcessRun:
    """See `runner.Single`. A process that is about to start, runs, or is being wound up."""

    __slots__ = (
        "launch",
        "left_some",
        "name",
        "output",
        "pid",
        "reading",
        "session",
        "shared",
        "slot",
        "status",
        "stopped_at_s",
        "uid",
        "waited",
        "watcher",
    )

    def __init__(self, launch: Launch, watcher: Watcher, name: str) -> None:
        self.launch = launch
        self.watcher = watcher
        self.name = name
        self.pid = 0  # 0 before it is started and after its end was seen
        self.session = 0  # the id that it had, which is its session's
        self.slot: Slot | None = None
        self.reading = -1
        self.output: Sink | None = None
        self.shared = False  # it runs as a user that may have other processes here
        self.uid: int | None = None  # that user; None: our own
        self.status = 0
        self.stopped_at_s = 0.0
        self.waited: struct_rusage | None = None
        self.left_some = False  # processes that had to be ended after its first one

    @property
    def running(self) -> bool:
        return bool(self.pid)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.pid:
            self.signal(signal.SIGKILL)
            if self.slot:
                self.slot.cage.end_all()

    def signal(self, number: int) -> None:
        """To the whole process group; one that is stopped is woken up, or the signal would wait for ever."""
        if self.pid:
            for each in (number, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, each)

    def account(self, waited: struct_rusage) -> None:
        """Count what one of its processes used that was waited for."""
        self.waited = together(self.waited, waited) if self.waited else waited

    def start(self, slot: Slot, place: Place, now_ms: int, household: Household | None) -> None:
        """Start the process. CannotStart with the reason; the log stream is there in any case where it can be.

        `household` is what it has in common with the other containers of its task.
        """
        task_uid = household.uid if household else None
        launch = self.launch
        try:
            self.output = sink_of(place.logs, launch, self.name, now_ms, place.limits.log_mib * MIB)
            if launch.runtime == "container":
                raise CannotStart("CannotStartContainerError: this node runs processes only: no Docker or Podman daemon was found")
            if not launch.command:
                raise CannotStart(
                    "CannotStartContainerError: no command specified: this environment starts processes and does not look into "
                    "images, so the job definition or the submission has to name the command"
                )
            who = identity(launch.user, slot.uid if task_uid is None else task_uid, place.reserved, place.allow_any_user)
            if task_uid is not None and who is not None:
                who = who._replace(shared=True)
            self.slot = slot
            self.shared, self.uid = who is not None and who.shared, who.uid if who else None
            if household:
                home, temporary = slot.quarters.move_inside(f"{household.directory}/in-{file_name(self.name)}", who)
            else:
                home, temporary = slot.quarters.move_in(launch.attempt, launch.needs, directory_name(launch.attempt), who)
            self.reading, writing = os.pipe()
            try:
                os.set_blocking(self.reading, False)
                inside = self._bubble(slot, place, home, household) if place.bubbles else None
                order = Order(launch.command, self._environment(place, home, temporary), home, writing, who, inside)
                if slot.gpus:
                    numbers = ",".join(str(number) for number in slot.gpus)
                    order.environment["NVIDIA_VISIBLE_DEVICES"] = order.environment["CUDA_VISIBLE_DEVICES"] = numbers
                self.pid = self.session = slot.cage.start(order, launch.needs)
            finally:
                os.close(writing)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise CannotStart(f"CannotStartContainerError: {error.strerror or error}{where}") from error

    def _bubble(self, slot: Slot, place: Place, home: str, household: Household | None) -> Bubble:
        """The namespaces for this job: those that the slot has, if they fit."""
        assert place.bubbles is not None
        shared = (f"{household.directory}/home",) if household else ()
        name = home.removeprefix(f"{place.work}/").removesuffix("/home")
        if slot.bubble and slot.quarters.are_new:
            slot.bubble.end()
            slot.bubble = None
        slot.bubble = place.bubbles.fitting(slot.bubble, self.launch, name, slot.gpus, shared)
        return slot.bubble

    def _environment(self, place: Place, home: str, temporary: str) -> dict[str, str]:
        """Exactly what the launch says, and what only the node knows. Nothing of our own environment."""
        launch = self.launch
        return {
            "PATH": spawn.DEFAULT_PATH,
            "HOME": home,
            "PWD": home,
            "TMPDIR": temporary,
            **(place.doors.environment_of(launch, self.name) if place.doors else {}),
            **launch.environment,
            MARKER: f"{launch.attempt}/{self.name}" if self.name else launch.attempt,
            orphans.NODE_MARKER: place.node,
            "BATCHYARD_SPOT_NOTICE_FILE": notice_path(place.work, launch.instance),
            **of_needs(launch),
        }

    def group_id(self) -> int:
        return self.slot.cage.group_id() if self.pid and self.slot else 0

    def pids(self) -> list[int]:
        return self.slot.cage.members() if self.pid and self.slot else []

    def addresses(self) -> tuple[str, ...]:
        return ()

    async def about(self) -> About:
        """Nothing that others would not know: it has neither an image nor a daemon."""
        return About()

    async def stats(self) -> dict[str, Any] | None:
        """What its cage counts, in Docker's shape; None without a cage of the kernel's."""
        from batchyard.compute.local.doors import stats

        if not self.pid or self.slot is None:
            return None
        return stats.of_process(self.pid, self.name or self.launch.attempt, self.slot.cage.cpu_before_ns)

    def read(self, now_ms: int) -> int | None:
        """Take over what is in the pipe, at most READ_BYTES: how many there were. 0 at its end, None if nothing is there now."""
        try:
            content = os.read(self.reading, READ_BYTES)
        except BlockingIOError:
            return None
        if content and self.output:
            self.output.feed(content, now_ms)
        return len(content)

    def close_pipe(self) -> None:
        """Read its output no more."""
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1

    def finish_output(self, now_ms: int, note: str = "") -> None:
        """Close the log stream, with a line of our own if there is something to say."""
        if self.output:
            self.output.finish(now_ms, note)
            self.output = None


def directory_name(attempt: str) -> str:
    """What an attempt's directory is called."""
    plain = attempt.islower() and attempt.isascii() and attempt.replace("-", "").isalnum()
    return attempt if plain else file_name(attempt)


def of_needs(launch: Launch) -> dict[str, str]:
    """What a job is told about the room that it has."""
    needs = launch.needs
    promised = {"BATCHYARD_SCRATCH_MIB": str(needs.scratch_mib)} if needs.scratch_mib else {}
    return {
        **promised,
        "BATCHYARD_VCPUS": f"{needs.vcpus:g}",
        "BATCHYARD_MEMORY_MIB": str(needs.memory_mib),
        "BATCHYARD_GPUS": str(needs.gpus),
    }


class ProcessRunner:
    """See `runner.Runner`. Starts, watches and reaps processes."""

    def __init__(self, place: Place, tree: Tree, slots: Slots, journal: Journal, sweeper: Sweeper, loop: Loop) -> None:
        self._place, self._tree, self._slots, self._journal, self._sweeper, self._loop = place, tree, slots, journal, sweeper, loop
        self.households: dict[str, Household] = {}  # of the tasks whose containers are processes, by attempt
        self.strangers: dict[int, Callable[[int], None]] = {}  # children that are no runs of ours: who wants to hear how they ended
        self._by_pid: dict[int, ProcessRun] = {}
        self._winding_up: list[ProcessRun] = []
        self._quarantine: list[Slot] = []
        self._ticking = False
        self._attention = Attention()
        if place.bubbles:
            loop.watch(place.bubbles.mounts, self._mounts_changed, URGENT)

    def prepare(self, launch: Launch, watcher: Watcher, name: str = "") -> ProcessRun:
        return ProcessRun(launch, watcher, name)

    def begin(self, run: Run) -> bool:
        assert isinstance(run, ProcessRun)
        try:
            slot = self._slots.take()
        except OSError as error:
            _say(f"cannot make another slot: {error}")
            return False
        if slot is None:
            return False
        self._start(run, slot)
        return True

    def _start(self, run: ProcessRun, slot: Slot) -> None:
        now_ms, now_s = wall_ms(), boot_s()
        try:
            if not self._slots.equip(slot, run.launch.needs.gpus):
                raise CannotStart(f"CannotStartContainerError: {run.launch.needs.gpus} GPUs are wanted and fewer are free here")
            household = self.households.get(run.launch.attempt)
            run.start(slot, self._place, now_ms, household)
        except CannotStart as why:
            run.close_pipe()
            run.finish_output(now_ms, str(why))
            self._give_back(slot, reusable=False)
            run.watcher.ended(run, Ending(None, now_s, reason=str(why)))
            return
        if not self._tree.outlives_us:
            uid = household.uid if household else slot.uid
            self._journal.note_begun(run.launch.attempt, run.pid, proc.start_ticks(run.pid), -1 if uid is None else uid, run.name)
        self._by_pid[run.pid] = run
        self._loop.watch(run.reading, lambda _: self._readable(run))
        if not self._ticking:
            self._ticking = True
            self._loop.at(boot_s() + _TICK_S, self._tick)
        run.watcher.began(run, now_ms, now_s)

    def _readable(self, run: ProcessRun) -> bool:
        """Read once; whether there was something."""
        began_s = boot_s()
        got = run.read(wall_ms())
        if not got and got is not None:
            self._loop.forget(run.reading)
            run.close_pipe()
        elif got == READ_BYTES and run.pid:  # it writes faster than we read: it waits, and others get their turn
            self._loop.forget(run.reading)
            self._loop.at(boot_s() + self._attention.begin_rest(boot_s() - began_s), lambda: self._rested(run))
        return bool(got)

    def _rested(self, run: ProcessRun) -> None:
        self._attention.end_rest()
        if run.pid and run.reading >= 0:
            self._loop.watch(run.reading, lambda _: self._readable(run))

    def reap(self) -> None:
        """Take in all children that have ended; among them may be strangers that a job left behind, which we inherit."""
        for pid in proc.ended_children(self._by_pid):
            run = self._by_pid.pop(pid, None)
            left_by = None if run else self._who_left(pid)
            if run:
                # What it leaves in its group goes too. Before it is reaped: until then the number cannot name anybody else.
                run.signal(signal.SIGKILL)
            try:
                _, status, waited = os.wait4(pid, 0)
            except ChildProcessError:
                continue
            if left_by:
                left_by.account(waited)
            if told := self.strangers.pop(pid, None):
                told(status)
            if run:
                run.pid, run.status, run.stopped_at_s = 0, status, boot_s()
                run.account(waited)
                self._winding_up.append(run)
                self._wind_up(run)

    def _who_left(self, pid: int) -> ProcessRun | None:
        """Whose process it was that has ended as our child though we did not start it: by its session, or else by its user."""
        seen = proc.process(pid)
        if seen is None:
            return None
        runs = (*self._by_pid.values(), *self._winding_up)
        of_session = self._by_pid.get(seen.session) or next((run for run in self._winding_up if run.session == seen.session), None)
        if of_session:
            return of_session
        uid = proc.owner(pid)
        return next((run for run in runs if run.slot and run.slot.uid is not None and run.slot.uid == uid), None)

    def _wind_up(self, run: ProcessRun) -> None:
        """The first process has ended. Once nobody is left and the pipe is empty, the container is over."""
        assert run.slot is not None
        now_s = boot_s()
        empty = self._is_empty(run.slot)
        if not empty:
            run.left_some = True
        elif run.left_some:  # they are dead, and we have yet to take in those that have become our children
            run.left_some, empty = False, False
        for _ in range(_READS_AT_END):
            if run.reading < 0 or not self._readable(run):
                break
        waited_s = now_s - run.stopped_at_s
        if (empty or waited_s > LEFTOVER_S) and (run.reading < 0 or waited_s > PIPE_S):
            self._close(run, empty)
        else:
            self._loop.at(now_s + _AGAIN_S, lambda: self._wind_up(run))

    def _is_empty(self, slot: Slot) -> bool:
        """Kill who is left; whether nobody is."""
        empty = slot.cage.end_all()
        if slot.bubble and not self._tree.outlives_us:  # somebody may have escaped the cage, but not this
            slot.bubble.kill()
            empty = empty and not slot.bubble.stands
        return empty

    def _close(self, run: ProcessRun, empty: bool) -> None:
        slot = run.slot
        assert slot is not None and run.waited is not None
        self._winding_up.remove(run)
        if slot.bubble:
            run.account(of_storage(*slot.bubble.inherited_bytes()))
        if run.reading >= 0:
            self._loop.forget(run.reading)
            run.close_pipe()
        run.finish_output(wall_ms())
        usage = self._usage(slot, run.waited)
        if empty:
            # Without cgroups somebody may have escaped us; that only matters where jobs are to be kept from each other.
            self._give_back(slot, reusable=(self._tree.outlives_us or slot.uid is None) and not run.shared)
        else:
            self._quarantine.append(slot)
        code = os.waitstatus_to_exitcode(run.status)
        run.watcher.ended(run, Ending(code if code >= 0 else 128 - code, run.stopped_at_s, usage))

    @property
    def has_leftovers(self) -> bool:
        """Whether anybody is left of a container that has ended, and does not die."""
        return bool(self._quarantine)

    def _usage(self, slot: Slot, waited: struct_rusage) -> Usage | None:
        try:
            return slot.cage.usage(waited)
        except (OSError, ValueError) as error:
            _say(f"cannot tell what was used in slot {slot.number}: {error}")
            return None

    def _give_back(self, slot: Slot, reusable: bool) -> None:
        bubbles = self._place.bubbles
        is_tidy = reusable and slot.quarters.tidy(bubbles.furniture if bubbles else frozenset())
        if slot.bubble and not (bubbles and is_tidy and bubbles.can_be_kept(slot.bubble)):
            slot.bubble.end()
            slot.bubble = None
        slot.quarters.move_out(self._sweeper, is_tidy)
        try:
            slot.cage.release()
        except (OSError, ValueError) as error:
            _say(f"slot {slot.number} is given up: {error}")
        else:
            self._slots.give_back(slot)

    def _tick(self) -> None:
        self._tree.tick()
        for run in self._by_pid.values():
            if run.output:
                run.output.tick(wall_ms())
        for slot in list(self._quarantine):
            if self._is_empty(slot):
                self._quarantine.remove(slot)
                self._give_back(slot, reusable=False)
        self._sweeper.push()
        self._ticking = bool(self._by_pid or self._winding_up or self._quarantine)
        if self._ticking:
            self._loop.at(boot_s() + _TICK_S, self._tick)

    def end_orphans(self) -> int:
        return orphans.end_processes(self._place.node, self._tree, self._journal, self._place.reserved)

    def busy(self) -> bool:
        return False  # the sweeper finishes by itself

    def _mounts_changed(self, _: int) -> None:
        """Namespaces that wait for their next job hold on to what was mounted when they were made, and do not see what is new."""
        if self._place.bubbles:
            self._place.bubbles.note_change()
            for slot in self._slots.idle:
                if slot.bubble:
                    slot.bubble.end()
                    slot.bubble = None

    def let_go(self) -> None:
        """Nothing is running any more: hold on to no file system, which may be about to be taken away."""
        if self._place.bubbles:
            self._place.bubbles.let_go(self._slots.bubbles)

    def close(self) -> None:
        self._tree.remove()


def _say(sentence: str) -> None:
    """Into the node's log."""
    print(sentence, flush=True)  # noqa: T201 - its log is its output
