"""(m) A million waiting jobs: what each costs in memory, and what they cost everybody else: submissions, turns, lists, a restart.

A tenth of the jobs is submitted as users do it, over 16 connections, each with a command and a variable of its own; the others, which would
take as long again nine times, are put into the stopped service's folder by its own engine, with the same records. The queue's one vCPU is
held by a sleeping job. BENCH_MILLION=100000 makes it a smaller number.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import re
import time
import urllib.request
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from batchyard.compute.catalogue import Catalogue
from batchyard.core.submission import prepare, specify
from batchyard.engine.engine import Engine
from batchyard.engine.world import RealWorld
from batchyard.model.capacity import Resources
from batchyard.model.requests import Submit
from batchyard.store.sql import Store
from bench import targets
from bench.load import drive, paced
from bench.peers import NotRun
from bench.report import Line, compare, percentile, show, want
from bench.targets import Target, Yard

CONNECTIONS = 16
BLOCK = 20_000  # submissions that are signed ahead
DESCRIBED = 100
GOAL_BYTES = 1500
GOAL_PART = 0.8
GOAL_READY_S = 15.0
GOAL_DESCRIBE = 1000
PER_SECOND = 100.0

_TURN_S = re.compile(r"^batchyard_turn_seconds_total (\S+)", re.MULTILINE)
_TURNS = re.compile(r"^batchyard_turns_total (\S+)", re.MULTILINE)


def run(*, is_quick: bool) -> None:
    """Measure and print; minutes, unless it is quick."""
    jobs = int(os.environ.get("BENCH_MILLION", "20000" if is_quick else "1000000"))
    sample = 1000 if is_quick else 10_000
    measured = _Measured(jobs, sample)
    with targets.full_batchyard() as (yard, target):
        measured.fill(yard, target)
        measured.lists(target)
        measured.describe(target)
        measured.beside_lists(target, 2.0 if is_quick else 20.0)
        measured.restart(yard, target)
    measured.describe_by_moto()
    measured.print()


class _Measured:
    """What was found, row by row."""

    def __init__(self, jobs: int, sample: int) -> None:
        self.jobs, self.sample = jobs, sample
        self.memory: list[Line] = []
        self.rates: list[Line] = []
        self.turns: list[Line] = []
        self.answers: list[Line] = []
        self.described: list[Line] = []
        self.ids: list[str] = []
        self.again: Line = Line("killed with -9 and started again, to ready", unit="s")

    # --- submissions ---

    def fill(self, yard: Yard, target: Target) -> None:
        """Submit all; then the rate and the time of a turn, a tenth of the way and at its end, in turns with a service that is empty."""
        empty_mib = _resident_mib(yard)
        while len(self.ids) < self.jobs // 10:
            self._submit(target, min(BLOCK, self.jobs // 10 - len(self.ids)), f"fill-{len(self.ids)}")
        self.memory.append(self._memory("as submitted", yard, empty_mib, len(self.ids)))
        self._compare(yard, target, self.jobs // 10)
        assert yard.stop() == 0
        self.ids += fill_stopped(yard.data / "batchyard.db", target, self.jobs - len(self.ids))
        yard.start()
        target.url = yard.url
        self._compare(yard, target, self.jobs)

    def _compare(self, yard: Yard, target: Target, mark: int) -> None:
        rates = [Line(f"SubmitJob over {CONNECTIONS} connections, {name}") for name in ("an empty service", f"{mark:,} waiting")]
        costs = [Line(f"the server's CPU for a SubmitJob, {name}", unit="us") for name in ("an empty service", f"{mark:,} waiting")]
        turns = [Line(f"a turn, {name}", unit="ms") for name in ("an empty service", f"{mark:,} waiting")]
        with targets.full_batchyard() as (empty_yard, empty):
            for part in range(PARTS):
                for at, (where, whom) in enumerate(((empty_yard, empty), (yard, target))):
                    requests = whom.submissions(self.sample // PARTS, f"rate-{mark}-{part}")
                    used_s = _cpu_s(where)
                    driven = drive(whom.address, requests, CONNECTIONS)
                    costs[at].figures.append((_cpu_s(where) - used_s) / len(requests) * 1e6)
                    rates[at].figures.append(driven.per_second)
                    bodies = [*driven.bodies, *self._turn(where, whom, turns[at], f"turn-{mark}-{part}")]
                    if at:
                        self.ids += [_id_of(body) for body in bodies]
        for lines, sense in ((rates, 1), (costs, -1), (turns, -1)):
            part_of_empty = (lines[1].median / lines[0].median) ** sense
            lines[1].compared = f"{part_of_empty:.2f} x the empty service"
            want(lines[1], f">= {GOAL_PART:g} x the empty service", part_of_empty >= GOAL_PART)
        self.rates += [*rates, *costs]
        self.turns += turns

    def _submit(self, target: Target, count: int, prefix: str) -> int:
        bodies = drive(target.address, target.submissions(count, prefix), CONNECTIONS).bodies
        self.ids += [_id_of(body) for body in bodies]
        return count

    def _turn(self, yard: Yard, target: Target, line: Line, prefix: str) -> list[bytes]:
        """The engine's own figure: decide, statements, merge, answers; without the wait for the disk. One submission in each."""
        seconds, turns = _turns_of(yard)
        driven = drive(target.address, target.submissions(TURNS, prefix), 1)
        seconds_then, turns_then = _turns_of(yard)
        line.figures.append((seconds_then - seconds) / (turns_then - turns) * 1000)
        return driven.bodies

    def _memory(self, when: str, yard: Yard, empty_mib: float, jobs: int) -> Line:
        used = _resident_mib(yard)
        line = Line(f"memory of a waiting job, {when}", [(used - empty_mib) * 2**20 / jobs], "bytes")
        line.compared = f"{used:,.0f} MiB for {jobs:,} jobs, {empty_mib:.0f} MiB for none"
        want(line, f"<= {GOAL_BYTES:,} bytes", line.median <= GOAL_BYTES)
        return line

    def restart(self, yard: Yard, target: Target) -> None:
        """Kill, start, and see that nothing is lost."""
        yard.kill()
        started = time.perf_counter()
        yard.start()
        self.again.figures.append(time.perf_counter() - started)
        want(self.again, f"<= {GOAL_READY_S:g} s", self.again.median <= GOAL_READY_S)
        with targets.running_yard("--vcpus", "1", "--memory-mib", "1024") as empty:
            self.memory.append(self._memory("after a restart", yard, _resident_mib(empty), len(self.ids)))
        chosen = random.Random(1).sample(self.ids, min(1000, len(self.ids)))
        found = targets.batchyard_target(yard)
        described = drive(found.address, list(_describes(found, chosen)), 1).bodies
        lost = set(chosen) - {job["jobId"] for body in described for job in json.loads(body)["jobs"]}
        assert not lost, f"{len(lost)} of {len(chosen)} acknowledged jobs are lost"

    # --- reads ---

    def lists(self, target: Target) -> None:
        """Each question on one connection, one after another."""
        for name, question in _questions():
            body = {"jobQueue": target.queue, **question}
            driven = drive(target.address, [target.signed("/v1/listjobs", body) for _ in range(LISTS)], 1)
            found = len(json.loads(driven.bodies[0])["jobSummaryList"])
            for part in (0.5, 0.99):
                line = Line(f"ListJobs, {name}, p{part * 100:g}", [percentile(driven.latencies_s, part) * 1000], "ms")
                line.compared = f"{found} jobs"
                self.answers.append(line)

    def describe(self, target: Target) -> None:
        """100 ids in each call: the same ones, as someone asks who waits for them, and others each time."""
        dice = random.Random(2)
        same = [self.ids[-DESCRIBED:]] * DESCRIBES
        others = [dice.sample(self.ids, DESCRIBED) for _ in range(DESCRIBES)]
        for name, wanted in (("the same each time", same), ("any of all", others)):
            line = Line(f"Batchyard, {name}")
            requests = [target.signed("/v1/describejobs", {"jobs": ids}) for ids in wanted]
            for _ in range(3):
                line.figures.append(drive(target.address, requests, 4).per_second)
            if wanted is same:  # what the peer is asked, too
                want(line, f">= {GOAL_DESCRIBE:,}/s", line.median >= GOAL_DESCRIBE)
            self.described.append(line)

    def describe_by_moto(self) -> None:
        """The same calls to a peer with a hundred jobs in all."""
        peer = Line("moto, jobs simulated")
        try:
            with targets.moto_target(simulated=True) as target:
                ids = [_id_of(body) for body in drive(target.address, target.submissions(DESCRIBED, "moto"), 4).bodies]
                requests = [target.signed("/v1/describejobs", {"jobs": ids}) for _ in range(100)]
                peer.figures = [drive(target.address, requests, 4).per_second for _ in range(3)]
        except NotRun as why:
            peer.why_not = str(why)
        for line in self.described:
            compare(line, peer)
        self.described.append(peer)

    def beside_lists(self, target: Target, seconds: float) -> None:
        """SubmitJob at a steady rate, in turns alone and while somebody lists with every filter, without a pause."""
        count = int(seconds * PER_SECOND / PARTS)
        found: dict[str, list[float]] = {"alone": [], "while ListJobs runs with each filter": []}
        for part in range(PARTS):
            for name, latencies in found.items():
                with contextlib.nullcontext() if name == "alone" else _listing(target):
                    driven = paced(target.address, target.submissions(count, f"paced-{part}"), PER_SECOND)
                latencies += driven.latencies_s
                self.ids += [_id_of(body) for body in driven.bodies]
        for name, latencies in found.items():
            for part in (0.5, 0.99):
                self.answers.append(
                    Line(f"SubmitJob at {PER_SECOND:g}/s {name}, p{part * 100:g}", [percentile(latencies, part) * 1000], "ms")
                )

    def print(self) -> None:
        show(f"(m) {self.jobs:,} waiting jobs", [*self.memory, *self.rates, *self.turns, self.again])
        show("    time to the answer", self.answers)
        show(f"    DescribeJobs of {DESCRIBED} ids over 4 connections, calls", self.described)


def fill_stopped(database: Path, target: Target, count: int) -> list[str]:
    """Submit to a service that is stopped, through its engine: turns of a thousand, without the wait for the disk. The ids."""
    store = Store(database)
    list(store._writer.execute("PRAGMA synchronous = OFF"))
    world = RealWorld(Resources(1, 1024), Catalogue(), store.last_job_id())
    engine = Engine(store, world)
    (queue,) = [q.arn for q in engine.ledger.queues.values() if q.name == target.queue]
    (prepared,) = [prepare(d) for d in engine.ledger.definitions.values() if d.name == target.definition]
    ids: list[str] = []
    while len(ids) < count:
        numbers = range(len(ids), min(len(ids) + 1000, count))
        specs = [
            specify(prepared, target.submission(f"more-{n}", n), job_id=world.job_id(world.now_ms()), queue=queue, now_ms=world.now_ms())
            for n in numbers
        ]
        turn = engine.decide([Submit(spec) for spec in specs], [], world.now_ms())
        store.stage(turn.changes)
        store.commit()
        engine.merge(turn)
        ids += [spec.id for spec in specs]
    store.close()
    os.sync()  # what is still to be written of it must not disturb what is measured next
    return ids


PARTS = 5
TURNS = 200
LISTS = 50
DESCRIBES = 500


def _questions() -> Iterator[tuple[str, dict[str, Any]]]:
    def by(kind: str, value: str) -> dict[str, Any]:
        return {"filters": [{"name": kind, "values": [value]}]}

    yield "RUNNABLE, the first 1,000", {"jobStatus": "RUNNABLE", "maxResults": 1000}
    yield "RUNNING", {"jobStatus": "RUNNING"}
    yield "one name", by("JOB_NAME", "fill-0-7")
    yield "the beginning of many names", by("JOB_NAME", "more-*")
    yield "the beginning of the oldest names", by("JOB_NAME", "fill-0-*")
    yield "a definition", by("JOB_DEFINITION", "bench")
    yield "an unknown definition", by("JOB_DEFINITION", "nobody")
    yield "created since the start", by("AFTER_CREATED_AT", "1000")
    yield "created in the last second", by("AFTER_CREATED_AT", str(int(time.time() * 1000) - 1000))
    yield "created before the start", by("BEFORE_CREATED_AT", "1000")


@contextlib.contextmanager
def _listing(target: Target) -> Iterator[None]:
    """Somebody lists, in a process of its own."""
    stop = multiprocessing.Event()
    client = multiprocessing.Process(target=_list_until, args=(target, stop))
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join(60)
        assert client.exitcode == 0, "a list failed"


def _list_until(target: Target, stop: Event) -> None:
    requests = [target.signed("/v1/listjobs", {"jobQueue": target.queue, **question}) for _, question in _questions()]
    for request in itertools.cycle(requests):
        if stop.is_set():
            return
        drive(target.address, [request], 1)


def _describes(target: Target, ids: list[str]) -> Iterator[bytes]:
    for start in range(0, len(ids), DESCRIBED):
        yield target.signed("/v1/describejobs", {"jobs": ids[start : start + DESCRIBED]})


def _id_of(body: bytes) -> str:
    return str(json.loads(body)["jobId"])


def _turns_of(yard: Yard) -> tuple[float, float]:
    with urllib.request.urlopen(f"{yard.url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    seconds, turns = _TURN_S.search(text), _TURNS.search(text)
    assert seconds and turns, "the service does not tell its turns"
    return float(seconds[1]), float(turns[1])


def _cpu_s(yard: Yard) -> float:
    """What the server has used, all its threads together: a busy machine changes it little."""
    assert yard.process is not None
    fields = Path(f"/proc/{yard.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(yard: Yard) -> float:
    status = Path(f"/proc/{yard.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
