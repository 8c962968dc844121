"""A node that is not there: it keeps every promise of `compute/provider.py`, and everything that may go wrong goes wrong.

Effects and acknowledgements come in over a connection, in order and a little late; reports go out over it. Reports about one thing
keep their order; between things they may overtake each other. When the connection breaks, what is under way is lost (of the
effects a part may have come through), and the next connection begins with ProviderBack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from random import Random

from batchyard.model.capacity import NOTHING, Resources
from batchyard.model.messages import (
    AttemptEnded,
    AttemptStarted,
    Effect,
    InstanceGone,
    InstanceUp,
    Launch,
    ProviderBack,
    Report,
    StartInstance,
    StopAttempt,
    StopInstance,
)
from batchyard.model.task import ContainerEnd
from batchyard.simulate.chance import Chance, require
from batchyard.simulate.scenario import Scenario
from batchyard.simulate.scratch import FalseScratch

LATENCY_MS = 15  # at most, each way
LATE_MS = 90_000


class Running:
    """An attempt on the node, from its Launch to its end."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.started_at_ms: int | None = None
        self.cause = "exited"
        self.exit_code: int | None = 0
        self.oom = False


class Connection:
    """One connection to the engine: what is on its way in either direction."""

    def __init__(self, begins_ms: int) -> None:
        self.effects: deque[tuple[int, Effect | tuple[str, ...]]] = deque()  # a tuple: attempts whose end is acknowledged
        self.reports: list[tuple[int, int, Report]] = []  # a heap
        self.sent = 0
        self.last_ms = begins_ms  # of the last report that keeps the order
        self.last_of: dict[str, int] = {}  # the same for each thing that is reported about


class FalseNode:
    """The scripted provider. Times in milliseconds of the false clock."""

    def __init__(self, seed: int, scenario: Scenario, chance: Chance) -> None:
        self.instances: dict[str, Resources] = {}  # up
        self.attempts: dict[str, Running] = {}
        self.begun: set[str] = set()
        self.vanished: set[str] = set()  # begun, and gone without a trace
        self._host = Resources(scenario.machine.vcpus, scenario.machine.memory_mib)
        self._start_ms = int(scenario.machine.start_s * 1000)
        self._work = scenario.workload
        self._chance = chance
        self._random = Random(f"node {seed}")
        self.scratch = FalseScratch(seed, scenario.machine.scratch_gib * 1024)
        self._generation = 0
        self._starting: dict[str, Resources | None] = {}  # None: does not answer
        self._gone: set[str] = set()  # instances that were reported gone: they do not come back under their ids
        self._outcomes: dict[str, AttemptEnded] = {}  # kept until acknowledged
        self._live_jobs: dict[str, str] = {}  # job -> its attempt that is alive
        self._events: list[tuple[int, int, str, str]] = []  # a heap: when, number, what, of whom
        self._count = 0
        self._line: Connection | None = None

    # --- the engine's side ---

    def connect(self, now_ms: int, after_ms: int = 0) -> None:
        """Break the connection, if there is one, and come back after a while with all that is held."""
        if self._line is not None:
            for _, effect in list(self._line.effects)[: self._random.randint(0, len(self._line.effects))]:
                self._take(effect, now_ms)
            self._line = None
        self._at(now_ms + after_ms, "connect", "")

    def send(self, effects: Sequence[Effect], acknowledged: Sequence[str], now_ms: int) -> None:
        """Effects and acknowledgements on their way to the node; without a connection they are lost."""
        if self._line is None:
            return
        due_ms = max(now_ms + self._random.randint(0, LATENCY_MS), self._line.effects[-1][0] if self._line.effects else 0)
        self._line.effects.extend((due_ms, effect) for effect in effects)
        if acknowledged:
            self._line.effects.append((due_ms, tuple(acknowledged)))

    def reports(self, now_ms: int) -> list[Report]:
        """What has arrived at the engine until now."""
        arrived: list[Report] = []
        while self._line is not None and self._line.reports and self._line.reports[0][0] <= now_ms:
            arrived.append(heappop(self._line.reports)[2])
        return arrived

    # --- time ---

    @property
    def due_ms(self) -> int | None:
        """When something happens next; None when all is quiet."""
        due = [self._events[0][0]] if self._events else []
        if self._line is not None:
            due += [self._line.effects[0][0]] if self._line.effects else []
            due += [self._line.reports[0][0]] if self._line.reports else []
        return min(due, default=None)

    def advance(self, now_ms: int) -> None:
        """Everything that is due until now, in order."""
        while self._events and self._events[0][0] <= now_ms:
            _, _, what, whom = heappop(self._events)
            getattr(self, f"_{what}")(whom, now_ms)
        while self._line is not None and self._line.effects and self._line.effects[0][0] <= now_ms:
            self._take(self._line.effects.popleft()[1], now_ms)

    def _at(self, due_ms: int, what: str, whom: str) -> None:
        self._count += 1
        heappush(self._events, (due_ms, self._count, what, whom))

    def _soon(self, now_ms: int, most_ms: int) -> int:
        return now_ms + self._random.randint(1, most_ms)

    # --- faults that hit the node itself ---

    def lose_instance(self, now_ms: int) -> None:
        """A host dies: sometimes each attempt is reported, sometimes only the host."""
        id = self._random.choice(sorted(self.instances))
        tells = self._random.random() < 0.5
        for name in self._on(id):
            attempt = self._forget(name)
            if tells:
                self._over(AttemptEnded(name, now_ms, "lost", started_at_ms=attempt.started_at_ms), now_ms)
        del self.instances[id]
        self._leave(id, now_ms)

    def restart(self, now_ms: int) -> None:
        """The node's process dies: it comes back with its journal and without instances. Begun attempts are lost ones."""
        for name in list(self.attempts):
            attempt = self._forget(name)
            self._outcomes[name] = AttemptEnded(name, now_ms, "lost", started_at_ms=attempt.started_at_ms)
        self.instances.clear()
        self._starting.clear()
        self._generation += 1
        self._line = None
        self.connect(now_ms, self._random.randint(1, 3000))

    def drop_attempt(self, now_ms: int) -> None:
        """An attempt vanishes without a trace; only the next ProviderBack shows it."""
        name = self._random.choice(sorted(self.attempts))
        self._forget(name)
        self.vanished.add(name)
        self.connect(now_ms, self._random.randint(1, 3000))

    # --- effects ---

    def _take(self, effect: Effect | tuple[str, ...], now_ms: int) -> None:
        match effect:
            case tuple():
                for name in effect:
                    self._outcomes.pop(name, None)
            case StartInstance(instance):
                self._start(instance.id, instance.room, now_ms)
            case StopInstance(id):
                self._stop(id, now_ms)
            case Launch():
                self._launch(effect, now_ms)
            case StopAttempt(name, grace_s):
                self._stop_attempt(name, grace_s, now_ms)

    def _start(self, id: str, room: Resources, now_ms: int) -> None:
        if id in self._gone:
            self._leave(id, now_ms)
        elif id in self.instances:
            self._report(InstanceUp(id, now_ms), id, now_ms)
        elif self._starting.get(id) is None:
            if id not in self._starting and self._chance("unanswered_start"):
                self._starting[id] = None
                return
            self._starting[id] = room
            slow = self._random.randint(30_000, 200_000) if self._chance("slow_start") else 0
            self._at(now_ms + self._starts_in_ms() + slow, "up", id)

    def _starts_in_ms(self) -> int:
        return self._random.randint(1, 2 * self._start_ms)

    def _runs_for_ms(self, _launch: Launch) -> int:
        return int(self._random.random() * self._work.most_run_s * 1000)

    def _up(self, id: str, now_ms: int) -> None:
        room = self._starting.pop(id, None)
        if room is None:
            return
        self.instances[id] = room
        total = _sum(self.instances.values())
        require(total.fits(self._host), f"instances take {total} of {self._host}")
        self._report(InstanceUp(id, now_ms), id, now_ms)

    def _stop(self, id: str, now_ms: int) -> None:
        for name in self._on(id):
            attempt = self._forget(name)
            self._over(AttemptEnded(name, now_ms, "lost", started_at_ms=attempt.started_at_ms), now_ms)
        self.instances.pop(id, None)
        self._starting.pop(id, None)
        self._leave(id, now_ms)

    def _leave(self, id: str, now_ms: int) -> None:
        self._gone.add(id)
        self._report(InstanceGone(id, now_ms), id, now_ms)

    def _launch(self, launch: Launch, now_ms: int) -> None:
        name = launch.attempt
        known = self.attempts.get(name)
        if name in self._outcomes:
            self._report(self._outcomes[name], name, now_ms)
        elif known is not None:
            if known.started_at_ms is not None:
                self._report(AttemptStarted(name, known.started_at_ms), name, now_ms)
        elif launch.instance not in self.instances:
            self._over(AttemptEnded(name, now_ms, "lost", reason=f"instance {launch.instance} is not here"), now_ms)
        else:
            self._hold(launch)
            self._at(self._soon(now_ms, self._random.choice((100, 100, 4000))), "begin", name)

    def _hold(self, launch: Launch) -> None:
        """The promises of the engine, seen from where the jobs run."""
        again = launch.attempt in self.begun and launch.attempt not in self.vanished
        require(not again, f"attempt {launch.attempt} of {launch.job_id} is launched a second time after it ended")
        other = self._live_jobs.get(launch.job_id)
        require(other is None, f"{launch.job_id} is launched as {launch.attempt} while {other} is alive")
        containers = {one.name: {after.container for after in one.depends_on} for one in launch.containers}
        earlier: set[str] = set()
        for one, waits_for in containers.items():
            require(waits_for <= earlier, f"{one} of {launch.job_id} stands before a container that it waits for")
            earlier.add(one)
        self.begun.add(launch.attempt)
        self.attempts[launch.attempt] = Running(launch)
        self._live_jobs[launch.job_id] = launch.attempt
        held = _sum(self.attempts[name].launch.needs for name in self._on(launch.instance))
        promised_mib = sum(attempt.launch.needs.scratch_mib for attempt in self.attempts.values())
        require(promised_mib <= self.scratch.whole_mib, f"{promised_mib} MiB of scratch space are promised of {self.scratch.whole_mib}")
        require(held.fits(self.instances[launch.instance]), f"{launch.instance} has {self.instances[launch.instance]} and holds {held}")

    def _begin(self, name: str, now_ms: int) -> None:
        attempt = self.attempts.get(name)
        if attempt is None:
            return
        dice = self._random.random()
        if dice < self._work.not_started:
            self._forget(name)
            reason = "CannotPullContainerError: no such image"
            ends = _ends(attempt.launch, None, reason)
            self._over(AttemptEnded(name, now_ms, "not-started", reason=reason, containers=ends), now_ms)
            return
        attempt.started_at_ms = now_ms
        run_ms = self._runs_for_ms(attempt.launch)
        if self._random.random() < self._work.failures:
            attempt.exit_code = self._random.choice((1, 2, 75, 137))
            attempt.oom = attempt.exit_code == 137
        if attempt.launch.timeout_s is not None and run_ms > attempt.launch.timeout_s * 1000:
            run_ms = attempt.launch.timeout_s * 1000 + self._random.randint(0, 3000)
            attempt.cause, attempt.exit_code, attempt.oom = "timeout", 137, False
        self._at(now_ms + run_ms, "end", name)
        self._report(AttemptStarted(name, now_ms), name, now_ms)

    def _stop_attempt(self, name: str, grace_s: float, now_ms: int) -> None:
        attempt = self.attempts.get(name)
        if attempt is None:
            self._over(self._outcomes.get(name) or AttemptEnded(name, now_ms, "stopped"), now_ms)
        elif attempt.started_at_ms is None:
            self._forget(name)
            self._over(AttemptEnded(name, now_ms, "stopped"), now_ms)
        else:
            attempt.cause, attempt.exit_code, attempt.oom = "stopped", 143, False
            self._at(now_ms + int(self._random.random() * grace_s * 1000), "end", name)

    def _end(self, name: str, now_ms: int) -> None:
        if name not in self.attempts:
            return
        attempt = self._forget(name)
        self._over(
            AttemptEnded(
                name,
                now_ms,
                attempt.cause,
                exit_code=attempt.exit_code,
                oom=attempt.oom,
                started_at_ms=attempt.started_at_ms,
                containers=_ends(attempt.launch, attempt.exit_code, "", attempt.oom),
            ),
            now_ms,
        )

    # --- reports ---

    def _connect(self, _whom: str, now_ms: int) -> None:
        # The first report may be long under way, and effects that were sent before it has arrived are not in it.
        self._line = Connection(now_ms + self._random.choice((0, 0, 500, 5000)))
        held = (*self.attempts, *self._outcomes)
        self._report(ProviderBack("local", f"node-{self._generation}", (*self.instances, *self._starting), held, now_ms), "", now_ms)
        self.tell_scratch(now_ms)
        for id in self.instances:
            self._report(InstanceUp(id, now_ms), id, now_ms)
        for name, attempt in self.attempts.items():
            if attempt.started_at_ms is not None:
                self._report(AttemptStarted(name, attempt.started_at_ms), name, now_ms)
        for name, ended in self._outcomes.items():
            self._report(ended, name, now_ms)

    def tell_scratch(self, now_ms: int) -> None:
        """The state of the scratch space: in order, for the engine goes by what came last."""
        self._report(self.scratch.seen(now_ms), "", now_ms)

    def _over(self, ended: AttemptEnded, now_ms: int) -> None:
        self._outcomes[ended.attempt] = ended
        self._report(ended, ended.attempt, now_ms)

    def _report(self, report: Report, subject: str, now_ms: int) -> None:
        line = self._line
        if line is None:
            return
        due_ms = max(now_ms + self._random.randint(0, LATENCY_MS), line.last_ms, line.last_of.get(subject, 0))
        if subject and self._chance("late_report"):
            due_ms += self._random.randint(1000, LATE_MS)
        elif subject and self._chance("reordered_report"):
            due_ms += self._random.randint(20, 2000)
        else:
            line.last_ms = max(line.last_ms, min(due_ms, now_ms + LATENCY_MS))
        line.last_of[subject] = due_ms
        self._put(line, due_ms, report)
        if subject and self._chance("duplicate_report"):
            self._put(line, due_ms + self._random.randint(0, LATE_MS), report)

    def _put(self, line: Connection, due_ms: int, report: Report) -> None:
        line.sent += 1
        heappush(line.reports, (due_ms, line.sent, report))

    # --- what is held ---

    def _on(self, instance: str) -> list[str]:
        return [name for name, attempt in self.attempts.items() if attempt.launch.instance == instance]

    def _forget(self, name: str) -> Running:
        attempt = self.attempts.pop(name)
        del self._live_jobs[attempt.launch.job_id]
        return attempt


def _ends(launch: Launch, exit_code: int | None, reason: str, oom: bool = False) -> tuple[ContainerEnd, ...]:
    """What came of each container of a task: the essential one decides, and those before it went well."""
    return tuple(
        ContainerEnd(name=one.name, exit_code=exit_code, reason=reason, oom=oom)
        if one.essential
        else ContainerEnd(name=one.name, exit_code=0)
        for one in launch.containers
    )


def _sum(rooms: Iterable[Resources]) -> Resources:
    total = NOTHING
    for room in rooms:
        total = total.plus(room)
    return total
