"""A `for` loop over the real engine and the real store, in a false world: one seed, one scenario, one run.

Each round moves the clock to the next thing that happens, takes a turn with what has arrived, and checks every invariant. A run with
the same seed and scenario is the same run, on every machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from batchyard.core.scheduling import Rules
from batchyard.engine.dispatch import LaunchOrder
from batchyard.engine.engine import Engine, Options, Turn
from batchyard.engine.launching import AttemptKeys, Launcher
from batchyard.engine.reader import EngineReader
from batchyard.model.capacity import InstanceState, Resources
from batchyard.model.fault import Fault
from batchyard.model.job import Job, Status, child_id, node_id
from batchyard.model.messages import Effect, Report
from batchyard.model.requests import EndAll, Reclaim, Request
from batchyard.simulate import edits, judgement
from batchyard.simulate.callers import Callers
from batchyard.simulate.chance import Chance, require
from batchyard.simulate.disk import DiskFailed, ShakyStore
from batchyard.simulate.invariants import Watch
from batchyard.simulate.node import FalseNode
from batchyard.simulate.scenario import Scenario
from batchyard.simulate.world import FalseWorld

MOST_TURNS = 20_000  # a run that takes more does not come to rest
REMEMBERED = 40  # turns that a failure shows
AGAIN_MS = 5  # as the driver: the shortest time between two turns that only time calls for


class Result(NamedTuple):
    """What a run was: how much of it, which faults happened how often, and a digest of how everything ended."""

    seed: int
    scenario: str
    turns: int
    jobs: int
    fired: Counter[str]
    digest: str


class Failed(AssertionError):
    """A run broke a rule. The message holds the seed, the scenario, and what led to it."""


def run(seed: int, scenario: Scenario) -> Result:
    """One simulation. Raises Failed, which says how to see it again."""
    simulation = Simulation(seed, scenario)
    try:
        return simulation.run()
    except Exception as error:
        story = "\n".join(simulation.story)
        raise Failed(
            f"{type(error).__name__}: {error}\n\nThe last turns:\n{story}\n\n"
            f"See it again: batchyard simulate --seed {seed} --scenario {scenario.name}"
        ) from error


class Simulation:
    """The false world and the real engine in it. `story` holds the last turns, in words."""

    def __init__(self, seed: int, scenario: Scenario) -> None:
        self.seed = seed
        self.scenario = scenario
        self.chance = Chance(seed, scenario.faults)
        host = Resources(scenario.machine.vcpus, scenario.machine.memory_mib)
        self.world = FalseWorld(seed, host)
        self.node = FalseNode(seed, scenario, self.chance)
        self.callers = Callers(seed, scenario, self.world)
        self.store = ShakyStore(self.chance)
        rules = Rules(pass_impossible=scenario.profile == "open", idle_s=scenario.machine.idle_s)
        self._options = Options(rules, scenario.machine.notice_s, most_followed=(1, 3, 1000)[seed % 3])  # few: news must outlive a crash
        self.engine = Engine(self.store, self.world, self._options)
        self.story: deque[str] = deque(maxlen=REMEMBERED)
        self._launcher = Launcher({}, "http://false.world", lambda order: AttemptKeys("key", "secret", "token"))
        self._watch = Watch(host)
        self._random = Random(f"simulation {seed}")
        self._turns = 0
        self._told: dict[str, Job] = {}
        self._wake_ms: int | None = None
        self._begin_ms = self.world.now

    @property
    def read(self) -> EngineReader:
        return EngineReader(self.engine, open_profile=self.scenario.profile == "open")

    def run(self) -> Result:
        """All that callers do, with faults; then none, until all is quiet and can be judged."""
        self.node.connect(self.world.now)
        while self.callers.due_ms is not None:
            self._round()
            self._strike()
        self.chance.stop()
        self.node.scratch.heal()
        self.node.connect(self.world.now)
        self._ask([edits.make_way()])
        self._settle()
        judgement.at_rest(self.engine, self.read, self.node.instances)
        self._ask([EndAll("the end")])
        self._settle()
        judgement.at_the_end(self.engine, self.read, self.callers.submitted)
        self._watch.after_rebuild(self.engine, self.callers.acknowledged)
        return Result(self.seed, self.scenario.name, self._turns, len(self.callers.submitted), self.chance.fired, _digest(self._watch))

    def _settle(self) -> None:
        while self._next_ms() is not None:
            self._round()

    # --- time ---

    def _next_ms(self) -> int | None:
        due = [t for t in (self.node.due_ms, self._wake_ms, self.callers.due_ms) if t is not None]
        return min(due, default=None)

    def _round(self) -> None:
        """Move the clock to what happens next, and take a turn if that is the engine's business."""
        next_ms = self._next_ms()
        assert next_ms is not None
        now = self.world.now = max(self.world.now, next_ms)
        self.node.advance(now)
        reports = self.node.reports(now)
        requests = self.callers.ask(self.read) if self.callers.due_ms is not None and self.callers.due_ms <= now else []
        if requests or reports or (self._wake_ms is not None and self._wake_ms <= now):
            self._turn(requests, reports)

    def _ask(self, requests: Sequence[Request]) -> None:
        self._turn(requests, [])

    # --- a turn, as the driver takes it ---

    def _turn(self, requests: Sequence[Request], reports: Sequence[Report]) -> None:
        self._turns += 1
        require(self._turns < MOST_TURNS, "this does not come to rest")
        now = self.world.now
        self._tell(requests, reports)
        try:
            turn = self.engine.decide(requests, reports, now)
            self._watch.before_write(self.engine, turn)
            if self.chance("crash_before_write"):
                self._crash("crash before the write")
                return
            self._look(between=True)
            if turn.changes:
                self.store.stage(turn.changes)
                self.store.commit()
        except DiskFailed as failure:
            self.story.append(f"    the disk failed: {failure}")
            self.engine.rebuild()
            self._begin_anew()
            return
        if self.chance("crash_after_write"):
            self._crash("crash after the write")
            return
        self.engine.merge(turn)
        self._answer(requests, turn)
        self._carry_out(turn)
        self._wake_ms = None if turn.wake_at_ms is None else max(turn.wake_at_ms, now + AGAIN_MS)
        self._watch.after_turn(self.engine, turn, now)
        self._look()

    def _answer(self, requests: Sequence[Request], turn: Turn) -> None:
        require(len(turn.answers) == len(requests), "a request has no answer")
        for request, answer in zip(requests, turn.answers, strict=True):
            if not isinstance(answer, Fault):
                self.callers.answered(request)
            else:
                require(answer.code == "ClientException", f"{type(request).__name__}: {answer!r}")

    def _carry_out(self, turn: Turn) -> None:
        effects: list[Effect] = []
        ledger = self.engine.ledger
        for provider, effect in turn.effects:
            require(provider == "local", f"an effect for {provider!r}")
            if isinstance(effect, LaunchOrder):
                environment, queue = ledger.environments[effect.attempt.environment], ledger.queues[effect.spec.queue]
                effects.append(self._launcher.launch(effect, environment, queue))
            else:
                effects.append(effect)
        if effects:
            self.story.append(f"    -> {', '.join(_short(effect) for effect in effects)}")
        self.node.send(effects, turn.acknowledge, self.world.now)

    def _look(self, *, between: bool = False) -> None:
        """Somebody looks at some job, after a turn or between its decision and its write. What is said of an end holds for good."""
        if not self.callers.submitted:
            return
        id = self._random.choice(list(self.callers.submitted))
        found = self.read.job(id)
        self.read.explain(id)
        if found is None:
            return
        self.read.waiting_reason(*found)
        parent, spec = found
        counts = dict.fromkeys(Status, 0)
        for index in range(spec.array_size):
            child = self._child(parent, index)
            counts[child.status] += 1
            self._hold(child)
        for node in range(spec.num_nodes):
            one = self.read.job(node_id(parent.id, node))
            require(one is not None, f"node {node} of {parent.id} is not there")
            assert one is not None
            self._hold(one[0])
            self.read.explain(one[0].id)
        self._hold(parent)
        if spec.array_size:
            told = self.read.summary(parent)
            require(sum(told.values()) == spec.array_size, f"{id} counts {told} of {spec.array_size} children")
            require(between or told == counts, f"{id} counts {told}, and its children say {counts}")

    def _child(self, parent: Job, index: int) -> Job:
        """Whether it has a record or not, and whether it ever will."""
        found = self.read.job(child_id(parent.id, index))
        require(found is not None, f"child {index} of {parent.id} is not there")
        assert found is not None
        return found[0]

    def _hold(self, job: Job) -> None:
        """To what was said, if it was the end."""
        if job.status.is_final:
            before = self._told.setdefault(job.id, job)
            require(before == job, f"of {job.id} it was said {before}, and now {job}")

    # --- faults ---

    def _crash(self, what: str) -> None:
        """The server is gone with everything that it had in mind; the next one has only the store."""
        self.story.append(f"    {what}")
        self.engine = Engine(self.store, self.world, self._options)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._watch.after_rebuild(self.engine, self.callers.acknowledged)
        self._wake_ms = None
        self.node.connect(self.world.now, self._random.randint(0, 2000))

    def _strike(self) -> None:
        """Between turns: what hits the node, the connection, and all Spot instances at once."""
        now = self.world.now
        if self.chance_of("disconnect"):
            self.node.connect(now, self._random.randint(1, 60_000))
        if self.node.instances and self.chance_of("lost_instance"):
            self.node.lose_instance(now)
        if self.node.instances and self.chance_of("node_restart"):
            self.node.restart(now)
        if any(a.started_at_ms is not None for a in self.node.attempts.values()) and self.chance_of("missing_attempt"):
            self.node.drop_attempt(now)
        for kind, befall in (("scratch_changed", self.node.scratch.change), ("scratch_unwell", self.node.scratch.turn)):
            if self.chance_of(kind):
                befall()
                self.node.tell_scratch(now)
        spot = [i.id for i in self.engine.ledger.instances.values() if i.spot and i.state is not InstanceState.STOPPING]
        if spot and self.chance_of("reclaim_storm"):
            self._ask([Reclaim(id, self._random.choice((None, 0, 2))) for id in spot])

    def chance_of(self, kind: str) -> bool:
        struck = self.chance(kind)
        if struck:
            self.story.append(f"  {self._clock()} {kind}")
        return struck

    # --- the story ---

    def _tell(self, requests: Sequence[Request], reports: Sequence[Report]) -> None:
        words = [_short(one) for one in (*requests, *reports)]
        self.story.append(f"  {self._clock()} {', '.join(words) or 'time'}")

    def _clock(self) -> str:
        return f"{(self.world.now - self._begin_ms) / 1000:.3f}"


def _short(one: Any) -> str:
    """A request, report or effect in a few words."""
    name = type(one).__name__
    if name == "Submit":
        spec = one.spec
        size = f"[{spec.array_size}]" if spec.array_size else f"#{spec.num_nodes}" if spec.nodes else ""
        waits = "".join(f" after {d.kind}{d.job_id}" for d in spec.depends_on)
        return f"Submit({spec.id}{size} {spec.needs.vcpus:g}x{spec.needs.memory_mib} on {spec.queue.rpartition('/')[2]}{waits})"
    if name == "Edit":
        return f"Edit({one.act.__qualname__.partition('.')[0]})"
    if name == "Launch":
        return f"Launch({one.attempt[:8]} of {one.job_id} #{one.number} on {one.instance})"
    if name == "StartInstance":
        return f"StartInstance({one.instance.id} {one.instance.type_name})"
    if name == "ProviderBack":
        return f"ProviderBack({len(one.instances)} instances, {[a[:8] for a in one.attempts]})"
    fields = [getattr(one, f) for f in one.__struct_fields__ if f in ("attempt", "instance", "job_id", "cause", "exit_code", "reason")]
    return f"{name}({' '.join(str(f)[:40] for f in fields)})"


def _digest(watch: Watch) -> str:
    """The same for the same run: how every job ended, and when."""
    lines = (f"{j.id} {j.status} {j.status_reason} {j.stopped_at_ms} {[a.id for a in j.attempts]}" for _, j in sorted(watch.finals.items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
