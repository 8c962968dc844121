"""What the node does with effects, ended processes and time: it starts, watches and ends attempts, and says what it saw.

Work is gathered and settled once per turn of the loop (`settle`): one sync of the journal covers all intents and outcomes that
came together; only then are attempts started and reports sent.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from resource import struct_rusage

from batchyard.compute.local import proc
from batchyard.compute.local.attempt import Attempt, Place
from batchyard.compute.local.cage import Tree, Usage
from batchyard.compute.local.instances import Instances
from batchyard.compute.local.journal import Intent, Journal, Outcome
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.slots import Slot, Slots
from batchyard.compute.local.spawn import CannotStart
from batchyard.compute.local.sweep import Sweeper
from batchyard.model.messages import (
    AttemptEnded,
    AttemptStarted,
    Effect,
    InstanceGone,
    InstanceUp,
    Launch,
    NoticeInstance,
    ProviderBack,
    Report,
    StartInstance,
    StopAttempt,
    StopInstance,
)

TIMEOUT_GRACE_S = 30.0  # between SIGTERM and SIGKILL when an attempt has used up its time (aws-batch.md 2.6)
LEFTOVER_S = 5.0  # how long the death of what a job left behind is waited for before its end is reported anyway
PIPE_S = 0.2  # how long a pipe is read that somebody still holds open after all of the job's processes are gone
STARTS_PER_TURN = 16
_AGAIN_S = 0.01
_TICK_S = 0.25
_READS_AT_END = 32


class Supervisor:
    """All instances and attempts of the node."""

    def __init__(
        self,
        generation: str,
        place: Place,
        tree: Tree,
        slots: Slots,
        journal: Journal,
        sweeper: Sweeper,
        loop: Loop,
        send: Callable[[list[Report]], None],
    ) -> None:
        self.generation = generation
        self.instances = Instances(place.work)
        self.attempts: dict[str, Attempt] = {}
        self._place, self._tree, self._slots, self._journal, self._sweeper, self._loop = place, tree, slots, journal, sweeper, loop
        self._send = send
        self._to_start: deque[Attempt] = deque()
        self._by_pid: dict[int, Attempt] = {}
        self._reports: list[Report] = []
        self._quarantine: list[Slot] = []
        self._ticking = False

    # --- effects ---

    def carry_out(self, effect: Effect) -> None:
        """One effect; "already so" is answered with the report that says so."""
        match effect:
            case Launch():
                self._launch(effect)
            case StopAttempt(attempt, grace_s):
                self._stop_attempt(attempt, grace_s)
            case StartInstance(instance):
                if self.instances.start(instance.id):
                    self._reports.append(InstanceUp(instance.id, wall_ms()))
            case StopInstance(instance_id):
                self._stop_instance(instance_id)
            case NoticeInstance(instance_id, reclaim_at_ms):
                self.instances.give_notice(instance_id, reclaim_at_ms)

    def _launch(self, launch: Launch) -> None:
        known = self.attempts.get(launch.attempt)
        ended = self._journal.outcomes.get(launch.attempt)
        if ended:
            self._reports.append(ended)
        elif known:
            if known.started_at_ms:
                self._reports.append(AttemptStarted(launch.attempt, known.started_at_ms))
        elif not self.instances.takes_jobs(launch.instance):
            reason = f"instance {launch.instance} is not here"
            self._over(AttemptEnded(launch.attempt, wall_ms(), "lost", reason=reason))
        else:
            attempt = Attempt(launch)
            self.attempts[launch.attempt] = attempt
            self._journal.note(Intent(launch.attempt))
            self._to_start.append(attempt)

    def _stop_attempt(self, name: str, grace_s: float) -> None:
        attempt = self.attempts.get(name)
        if attempt is None:
            # Perhaps its Launch is still to come: from now on it would find the attempt ended.
            ended = self._journal.outcomes.get(name)
            if ended:
                self._reports.append(ended)
            else:
                self._over(AttemptEnded(name, wall_ms(), "stopped"))
        elif attempt.started_at_ms:
            self._ask_to_end(attempt, "stopped", grace_s)
        else:
            self._withdraw(attempt, "stopped")

    def _stop_instance(self, instance: str) -> None:
        if not self.instances.stop(instance):
            self._reports.append(InstanceGone(instance, wall_ms()))
            return
        for attempt in [attempt for attempt in self.attempts.values() if attempt.launch.instance == instance]:
            self.lose(attempt)
        self._instance_gone_if_empty(instance)

    def lose(self, attempt: Attempt) -> None:
        """End an attempt as the death of its host does: at once, and with no outcome."""
        if not attempt.started_at_ms:
            self._withdraw(attempt, "lost")
        elif attempt.pid:
            attempt.cause = "lost"
            self._kill(attempt)

    def _instance_gone_if_empty(self, instance: str) -> None:
        if self.instances.is_stopping(instance) and all(attempt.launch.instance != instance for attempt in self.attempts.values()):
            self.instances.remove(instance)
            self._reports.append(InstanceGone(instance, wall_ms()))

    # --- starting ---

    def _withdraw(self, attempt: Attempt, cause: str) -> None:
        """It was not begun, and will not be."""
        self._to_start.remove(attempt)
        del self.attempts[attempt.launch.attempt]
        self._over(AttemptEnded(attempt.launch.attempt, wall_ms(), cause))

    def _start_waiting(self) -> None:
        for _ in range(STARTS_PER_TURN):
            if not self._to_start:
                return
            try:
                slot = self._slots.take()
            except OSError as error:
                _say(f"cannot make another slot: {error}")
                slot = None
            if slot is None:
                self._loop.wake_at(boot_s() + 1.0)  # or sooner, when one is given back
                return
            self._start(self._to_start.popleft(), slot)
        self._loop.wake_at(boot_s())

    def _start(self, attempt: Attempt, slot: Slot) -> None:
        now_ms = wall_ms()
        name = attempt.launch.attempt
        try:
            if not self._slots.equip(slot, attempt.launch.needs.gpus):
                raise CannotStart(f"CannotStartContainerError: {attempt.launch.needs.gpus} GPUs are wanted and fewer are free here")
            attempt.start(slot, self._place, now_ms, boot_s())
        except CannotStart as why:
            attempt.close_pipe()
            attempt.finish_output(now_ms, str(why))
            self._give_back(slot, reusable=False)
            del self.attempts[name]
            self._over(attempt.not_started(str(why), now_ms))
            self._instance_gone_if_empty(attempt.launch.instance)
            return
        if not self._tree.outlives_us:
            self._journal.note_begun(name, attempt.pid, proc.start_ticks(attempt.pid), slot.uid if slot.uid is not None else -1)
        self._by_pid[attempt.pid] = attempt
        self._loop.watch(attempt.reading, lambda _: self._readable(attempt))
        if attempt.launch.timeout_s is not None:
            due_s = attempt.started_s + attempt.launch.timeout_s
            attempt.timers.append(self._loop.at(due_s, lambda: self._ask_to_end(attempt, "timeout", TIMEOUT_GRACE_S)))
        if not self._ticking:
            self._ticking = True
            self._loop.at(boot_s() + _TICK_S, self._tick)
        self._reports.append(AttemptStarted(name, now_ms))

    def _readable(self, attempt: Attempt) -> bool:
        """Read once; whether there was something."""
        got = attempt.read(wall_ms())
        if got is False:
            self._loop.forget(attempt.reading)
            attempt.close_pipe()
        return bool(got)

    # --- ending ---

    def _ask_to_end(self, attempt: Attempt, cause: str, grace_s: float) -> None:
        """SIGTERM now and SIGKILL after the grace; asked again, only an earlier SIGKILL is new."""
        if not attempt.pid or attempt.cause == "lost":
            return
        kill_at_s = boot_s() + grace_s
        if attempt.kill_at_s is None or cause == "lost":
            attempt.cause = cause
            attempt.signal(signal.SIGTERM)
        if attempt.kill_at_s is not None and kill_at_s >= attempt.kill_at_s:
            return
        attempt.kill_at_s = kill_at_s
        attempt.timers.append(self._loop.at(kill_at_s, lambda: self._kill(attempt)))

    def _kill(self, attempt: Attempt) -> None:
        if attempt.pid:
            attempt.signal(signal.SIGKILL)
            if attempt.slot:
                attempt.slot.cage.end_all()

    def reap(self) -> None:
        """Take in all children that have ended; among them may be strangers that a job left behind, which we inherit."""
        for pid in proc.ended_children(self._by_pid):
            attempt = self._by_pid.pop(pid, None)
            if attempt:
                # What it leaves in its group goes too. Before it is reaped: until then the number cannot name anybody else.
                attempt.signal(signal.SIGKILL)
            try:
                _, status, waited = os.wait4(pid, 0)
            except ChildProcessError:
                continue
            if attempt:
                attempt.pid, attempt.status, attempt.waited, attempt.exited_s = 0, status, waited, boot_s()
                for timer in attempt.timers:
                    self._loop.cancel(timer)
                self._wind_up(attempt)

    def _wind_up(self, attempt: Attempt) -> None:
        """The first process has ended. Once nobody is left and the pipe is empty, the attempt is over."""
        assert attempt.slot is not None
        now_s = boot_s()
        empty = attempt.slot.cage.end_all()
        for _ in range(_READS_AT_END):
            if attempt.reading < 0 or not self._readable(attempt):
                break
        waited_s = now_s - attempt.exited_s
        if (empty or waited_s > LEFTOVER_S) and (attempt.reading < 0 or waited_s > PIPE_S):
            self._close(attempt, empty)
        else:
            self._loop.at(now_s + _AGAIN_S, lambda: self._wind_up(attempt))

    def _close(self, attempt: Attempt, empty: bool) -> None:
        slot, waited = attempt.slot, attempt.waited
        assert slot is not None and waited is not None
        if attempt.reading >= 0:
            self._loop.forget(attempt.reading)
            attempt.close_pipe()
        attempt.finish_output(wall_ms())
        ended = attempt.ended(self._usage(slot, waited))
        if empty:
            # Without cgroups somebody may have escaped us; that only matters where jobs are to be kept from each other.
            self._give_back(slot, reusable=(self._tree.outlives_us or slot.uid is None) and not attempt.shared)
        else:
            self._quarantine.append(slot)
        del self.attempts[attempt.launch.attempt]
        self._over(ended)
        self._instance_gone_if_empty(attempt.launch.instance)

    def _usage(self, slot: Slot, waited: struct_rusage) -> Usage | None:
        try:
            return slot.cage.usage(waited)
        except (OSError, ValueError) as error:
            _say(f"cannot tell what was used in slot {slot.number}: {error}")
            return None

    def _give_back(self, slot: Slot, reusable: bool) -> None:
        slot.quarters.move_out(self._sweeper, reusable)
        try:
            slot.cage.release()
        except (OSError, ValueError) as error:
            _say(f"slot {slot.number} is given up: {error}")
        else:
            self._slots.give_back(slot)

    def _over(self, ended: AttemptEnded) -> None:
        self._journal.note(Outcome(ended))
        self._reports.append(ended)

    def _tick(self) -> None:
        self._tree.tick()
        for slot in list(self._quarantine):
            if slot.cage.end_all():
                self._quarantine.remove(slot)
                self._give_back(slot, reusable=False)
        self._sweeper.push()
        self._ticking = bool(self.attempts or self._quarantine)
        if self._ticking:
            self._loop.at(boot_s() + _TICK_S, self._tick)

    # --- the other side ---

    def acknowledge(self, attempts: list[str]) -> None:
        """The engine has recorded the end of these."""
        known = [attempt for attempt in attempts if attempt in self._journal.outcomes]
        if known:
            self._journal.forget(known)

    def resync(self) -> None:
        """Put everything that is held first into the reports: for a link that has just come."""
        now_ms = wall_ms()
        outcomes = self._journal.outcomes
        reports: list[Report] = [ProviderBack("local", self.generation, self.instances.held(), (*self.attempts, *outcomes), now_ms)]
        reports.extend(InstanceUp(instance, now_ms) for instance in self.instances.held())
        for name, attempt in self.attempts.items():
            if attempt.started_at_ms:
                reports.append(AttemptStarted(name, attempt.started_at_ms))
        reports.extend(outcomes.values())
        self._reports = reports

    def settle(self) -> None:
        """End of a turn: make notes durable, start what was noted before, send what is durable now."""
        try:
            self._journal.flush()
            self._start_waiting()
            self._journal.flush()
        except OSError as error:
            _say(f"cannot write the journal, trying again: {error}")
            self._loop.wake_at(boot_s() + 1.0)
            return
        if self._reports:
            reports, self._reports = self._reports, []
            self._send(reports)

    def close_down(self, grace_s: float) -> None:
        """End every attempt as lost: SIGTERM now, SIGKILL after the grace. No more are started."""
        for instance in self.instances.held():
            self.instances.stop(instance)
        for attempt in list(self.attempts.values()):
            if not attempt.started_at_ms:
                self._withdraw(attempt, "lost")
            elif attempt.pid:
                self._ask_to_end(attempt, "lost", grace_s)


def _say(sentence: str) -> None:
    """Into the node's log."""
    print(sentence, flush=True)  # noqa: T201 - its log is its output
