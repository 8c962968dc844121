"""Scratch space in a simulation: what the false node says of its own, and what must hold of what is promised."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from batchyard.core import scratch_space
from batchyard.engine.engine import Engine
from batchyard.model.capacity import Queue
from batchyard.model.job import NodeGroup, Specification
from batchyard.model.messages import ScratchSeen
from batchyard.simulate.chance import require

SIZES_MIB = (1, 512, 4096, 10_240, 30_720, 1 << 30)  # the last is more than anybody has


def asking(spec: Specification, mib: int) -> Specification:
    """The specification with so much scratch space for the job, or for each of its nodes."""
    nodes: tuple[NodeGroup, ...] = tuple(replace(group, needs=group.needs._replace(scratch_mib=mib)) for group in spec.nodes)
    return replace(spec, needs=spec.needs._replace(scratch_mib=mib), nodes=nodes)


class FalseScratch:
    """What there is on the false node. `whole_mib` at first and in the end; meanwhile less, and not always in health."""

    def __init__(self, seed: int, whole_mib: int) -> None:
        self.whole_mib = whole_mib
        self._random = Random(f"scratch {seed}")
        self._now = ScratchSeen("local", True, "", whole_mib, 0, 0)

    def seen(self, now_ms: int) -> ScratchSeen:
        return replace(self._now, at_ms=now_ms)

    def change(self) -> None:
        """Another capacity, and others who take of it, more or less than before; perhaps less than is promised."""
        capacity_mib = self._random.randint(0, self.whole_mib)
        self._now = replace(self._now, capacity_mib=capacity_mib, unpromised_mib=self._random.randint(0, capacity_mib))

    def turn(self) -> None:
        """From health to illness, or back."""
        why_not = "a device is lost" if self._now.is_healthy else ""
        self._now = replace(self._now, is_healthy=not why_not, why_not=why_not)

    def heal(self) -> None:
        self._now = ScratchSeen("local", True, "", self.whole_mib, 0, 0)


class Promised:
    """Watches what is placed: compares the attempts that are held after each turn with those before it."""

    def __init__(self) -> None:
        self._before: set[str] = set()

    def note(self, engine: Engine) -> None:
        """The engine has begun anew."""
        self._before = set(engine.yard.attempts)

    def check(self, engine: Engine) -> None:
        """At the time of placing no more is promised than there is, and nobody is placed on a machine that is not healthy."""
        yard, before = engine.yard, self._before
        self.note(engine)
        held_mib = sum(_asked_mib(engine, job_id) for job_id in yard.attempts.values())
        new = [yard.attempts[attempt] for attempt in yard.attempts.keys() - before]
        seen = yard.scratch("local")
        require(seen is None or seen.promised_mib == held_mib, f"{held_mib} MiB of scratch space are held and the yard says {seen}")
        if not new:
            return
        require(seen is None or seen.is_healthy, f"{new} were placed although the scratch space is not healthy")
        if any(_asked_mib(engine, job_id) for job_id in new):
            require(seen is not None, f"scratch space was promised to {new}, and nobody knows how much there is")
            assert seen is not None
            require(seen.free_mib >= 0, f"more scratch space was promised than there is: {seen}")


def _asked_mib(engine: Engine, job_id: str) -> int:
    job = engine.yard.jobs[job_id]
    return engine.yard.specifications[job.spec_id].needs_of(job).scratch_mib


def keeps_waiting(engine: Engine, queue: Queue, spec: Specification) -> bool:
    """Whether the head of a queue waits for scratch space: there is too little, or what there is, is kept for others."""
    if scratch_space.is_short_now(engine.yard, queue, spec.scratch_mib):
        return True
    return bool(scratch_space.kept_for_others(engine.yard, queue, spec.scratch_mib, engine.scratch_kept))
