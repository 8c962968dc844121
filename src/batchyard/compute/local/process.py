"""The process runtime: starts processes, reads what they write, reaps them, and ends what they leave behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from resource import struct_rusage

from batchyard.compute.local import orphans, proc
from batchyard.compute.local.cage import Tree, Usage, of_storage
from batchyard.compute.local.journal import Journal
from batchyard.compute.local.loop import URGENT, Loop, boot_s, wall_ms
from batchyard.compute.local.node_log import say
from batchyard.compute.local.output import Attention
from batchyard.compute.local.place import Place
from batchyard.compute.local.process_run import READ_BYTES, Household, ProcessRun
from batchyard.compute.local.runner import Ending, Run, Watcher
from batchyard.compute.local.slots import Slot, Slots
from batchyard.compute.local.spawn import CannotStart, Identity
from batchyard.compute.local.sweep import Sweeper
from batchyard.model.messages import Launch

LEFTOVER_S = 5.0  # how long the death of what a job left behind is waited for before its end is reported anyway
PIPE_S = 0.2  # how long a pipe is read that somebody still holds open after all of the job's processes are gone
_AGAIN_S = 0.01
_TICK_S = 0.25
_READS_AT_END = 32
_SPARE_S, _NEXT_SPARE_S = 0.0005, 0.005  # after the end of a job was told, and from one to the next


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
        self._bare: list[Slot] = []  # that were given back without namespaces
        self._sparing = False
        self.is_ending = False  # the node is: nothing is made ahead of need any more
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
            say(f"cannot make another slot: {error}")
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
    def tree_outlives_us(self) -> bool:
        """See `cage.Tree`."""
        return self._tree.outlives_us

    @property
    def has_leftovers(self) -> bool:
        """Whether anybody is left of a container that has ended, and does not die."""
        return bool(self._quarantine)

    def _usage(self, slot: Slot, waited: struct_rusage) -> Usage | None:
        try:
            return slot.cage.usage(waited)
        except (OSError, ValueError) as error:
            say(f"cannot tell what was used in slot {slot.number}: {error}")
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
            say(f"slot {slot.number} is given up: {error}")
        else:
            self._slots.give_back(slot)
            if bubbles and slot.bubble is None and self._tree.outlives_us:
                self._make_spares_soon(slot)

    def _make_spares_soon(self, *bare: Slot) -> None:
        self._bare.extend(bare)
        if not self._sparing:
            self._sparing = True
            self._loop.at(boot_s() + (_SPARE_S if bare else _NEXT_SPARE_S), self._make_spare)

    def _make_spare(self) -> None:
        """Begin namespaces for a slot that has none, the one that goes out first: its next job does not wait for them, or not as long."""
        self._sparing = False
        bubbles = self._place.bubbles
        while self._bare and bubbles and not self.is_ending:
            slot = self._bare.pop()
            if slot.bubble is not None or slot not in self._slots.idle:
                continue
            try:
                name = slot.quarters.make_ready(None if slot.uid is None else Identity(slot.uid, slot.uid))
            except OSError as error:
                say(f"no directories are made ahead of need: {error}")
                continue
            slot.bubble = bubbles.spare(name)
            self._make_spares_soon()
            return

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
