"""What the node does with effects, ended containers and time: it starts, watches and ends attempts, and says what it saw.

How a container of an attempt runs is a `Runner`'s business (see `runner`).

Work is gathered and settled once per turn of the loop (`settle`): one sync of the journal covers all intents and outcomes that
came together; only then are attempts started and reports sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from batchyard.compute.local.allotments import Allotments
from batchyard.compute.local.attempt import Attempt
from batchyard.compute.local.instances import Instances
from batchyard.compute.local.journal import Intent, Journal, Outcome
from batchyard.compute.local.loop import Loop, boot_s, wall_ms
from batchyard.compute.local.node_log import say
from batchyard.compute.local.runner import Ending, Run, Runner
from batchyard.compute.local.task import TaskRun, stop_s
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
STARTS_PER_TURN = 16
_CLEARED_S = 0.25  # when it is looked again whether what ended attempts held has been cleared away


class Supervisor:
    """All instances and attempts of the node."""

    def __init__(
        self,
        generation: str,
        work: str,
        runner_of: Callable[[Launch], Runner],
        journal: Journal,
        loop: Loop,
        send: Callable[[list[Report]], None],
        allotments: Allotments,
    ) -> None:
        self.generation = generation
        self.instances = Instances(work)
        self.attempts: dict[str, Attempt] = {}
        self.on_over: Callable[[str], None] = lambda attempt: None  # an attempt is over
        self._runner_of, self._journal, self._loop, self._send = runner_of, journal, loop, send
        self._allotments = allotments
        allotments.on_excess = self._out_of_scratch
        self.may_start: Callable[[], bool] = lambda: True  # whether the ground that jobs write to is there; attempts wait for it
        self.on_waiting: Callable[[], None] = lambda: None  # another attempt does
        self.ground_seen: Callable[[], Sequence[Report]] = tuple  # how the ground is, for a link that has just come
        self._to_start: deque[Attempt] = deque()
        self._by_run: dict[Run, Attempt] = {}
        self._reports: list[Report] = []

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
            self.on_waiting()

    def _stop_attempt(self, name: str, grace_s: float) -> None:
        attempt = self.attempts.get(name)
        if attempt is None:
            # Perhaps its Launch is still to come: from now on it would find the attempt ended.
            ended = self._journal.outcomes.get(name)
            if ended:
                self._reports.append(ended)
            else:
                self._over(AttemptEnded(name, wall_ms(), "stopped"))
        elif attempt.started_at_ms or (attempt.run and attempt.run.running):  # of a task, the first containers run while it is started
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
        elif attempt.run and not attempt.is_over:
            attempt.cause = "lost"
            attempt.run.kill()

    def _instance_gone_if_empty(self, instance: str) -> None:
        if self.instances.is_stopping(instance) and all(attempt.launch.instance != instance for attempt in self.attempts.values()):
            self.instances.remove(instance)
            self._reports.append(InstanceGone(instance, wall_ms()))

    # --- starting ---

    def _withdraw(self, attempt: Attempt, cause: str) -> None:
        """It has not started, and will not."""
        if attempt.begun:
            assert attempt.run is not None
            attempt.cause = "lost" if "lost" in (attempt.cause, cause) else cause
            attempt.run.kill()
            return
        self._to_start.remove(attempt)
        self._allotments.outcome(attempt.launch.attempt)  # of a task for which there was no room, after all
        del self.attempts[attempt.launch.attempt]
        self._over(AttemptEnded(attempt.launch.attempt, wall_ms(), cause))

    def _start_waiting(self) -> None:
        begun, aside = 0, []
        while begun < STARTS_PER_TURN and self._to_start and self.may_start():
            attempt = self._to_start[0]
            if not self._allotments.has_room(attempt.launch.attempt, attempt.launch.needs):
                aside.append(self._to_start.popleft())  # those behind it need not wait for that
                self._loop.wake_at(boot_s() + _CLEARED_S)
                continue
            runner = self._runner_of(attempt.launch)
            attempt.run = runner.prepare(attempt.launch, self)
            self._by_run[attempt.run] = attempt
            attempt.begun = True
            if not runner.begin(attempt.run):
                attempt.begun = False
                del self._by_run[attempt.run]
                self._loop.wake_at(boot_s() + 1.0)  # or sooner, when room is given back
                break
            self._to_start.popleft()
            begun += 1
        if begun == STARTS_PER_TURN:
            self._loop.wake_at(boot_s())
        self._to_start.extendleft(reversed(aside))

    def began(self, run: Run, at_ms: int, at_s: float) -> None:
        """Told by the runner: it runs."""
        attempt = self._by_run[run]
        attempt.started_at_ms, attempt.started_s = at_ms, at_s
        if attempt.launch.timeout_s is not None:
            due_s = at_s + attempt.launch.timeout_s
            attempt.timers.append(self._loop.at(due_s, lambda: self._ask_to_end(attempt, "timeout", TIMEOUT_GRACE_S)))
        self._reports.append(AttemptStarted(attempt.launch.attempt, at_ms))

    # --- ending ---

    def _ask_to_end(self, attempt: Attempt, cause: str, grace_s: float) -> None:
        """SIGTERM now and SIGKILL after the grace; asked again, only an earlier SIGKILL is new.

        The containers of a task have graces of their own, which hold unless the whole is given less than is usual.
        """
        if attempt.run is None or attempt.is_over or attempt.cause == "lost":
            return
        if grace_s >= TIMEOUT_GRACE_S:
            grace_s = max(grace_s, stop_s(attempt.launch))
        kill_at_s = boot_s() + grace_s
        if attempt.kill_at_s is None or cause == "lost":
            attempt.cause = cause
            attempt.run.terminate()
        if attempt.kill_at_s is not None and kill_at_s >= attempt.kill_at_s:
            return
        attempt.kill_at_s = kill_at_s
        attempt.timers.append(self._loop.at(kill_at_s, attempt.run.kill))

    def _out_of_scratch(self, name: str) -> None:
        """It holds more of the scratch space than it may, and writes on: nobody else is to suffer for that."""
        attempt = self.attempts.get(name)
        if attempt and attempt.run and not attempt.is_over:
            attempt.run.kill()

    def ended(self, run: Run, ending: Ending) -> None:
        """Told by the runner: it is over."""
        attempt = self._by_run.pop(run)
        for timer in attempt.timers:
            self._loop.cancel(timer)
        del self.attempts[attempt.launch.attempt]
        self._over(attempt.ended(ending, wall_ms(), self._allotments.outcome(attempt.launch.attempt)))
        self._instance_gone_if_empty(attempt.launch.instance)

    def _over(self, ended: AttemptEnded) -> None:
        self.on_over(ended.attempt)
        self._journal.note(Outcome(ended))
        self._reports.append(ended)

    def run_of(self, attempt: str, container: str) -> Run | None:
        """The run of an attempt's container ("": its only one, or the first that counts); None if there is none."""
        found = self.attempts.get(attempt)
        if found is None or found.run is None:
            return None
        return found.run.member(container) if isinstance(found.run, TaskRun) else found.run

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
        reports.extend(self.ground_seen())
        reports.extend(InstanceUp(instance, now_ms) for instance in self.instances.held())
        for name, attempt in self.attempts.items():
            if attempt.started_at_ms:
                reports.append(AttemptStarted(name, attempt.started_at_ms))
        reports.extend(outcomes.values())
        self._reports = reports

    def tell(self, reports: Sequence[Report]) -> None:
        """Send these with the next ones."""
        self._reports.extend(reports)

    def settle(self) -> None:
        """End of a turn: make notes durable, start what was noted before, send what is durable now."""
        try:
            self._journal.flush()
            self._start_waiting()
            self._journal.flush()
        except OSError as error:
            say(f"cannot write the journal, trying again: {error}")
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
            else:
                self._ask_to_end(attempt, "lost", grace_s)
