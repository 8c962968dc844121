"""Jobs that only wait: their records are in the store alone, and nobody can tell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import pytest
from engine_bench import Bench, Health, Q, after
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from batchyard.engine import resting as rooms
from batchyard.engine.engine import Engine
from batchyard.engine.resting import Resting, kind_of
from batchyard.main.figures import EngineFigures
from batchyard.model.capacity import Resources
from batchyard.model.job import NodeGroup, Specification, Status
from batchyard.model.requests import Cancel, Submit, TagJob
from batchyard.model.view import JobQuery
from batchyard.store.records import Changes
from batchyard.store.sql import SCHEMA, Store


def resting(bench: Bench) -> set[str]:
    return set(bench.engine.yard.resting.asleep)


def full() -> Bench:
    """One vCPU, and a job on it: whoever comes waits."""
    bench = Bench(Resources(1, 8192))
    bench.start(bench.submit())
    return bench


def test_what_waits_rests_and_what_is_placed_does_not() -> None:
    bench = full()
    (running,) = bench.engine.yard.jobs.awake
    ready = bench.submit(name="ready")
    held = bench.submit(*after(ready))
    array = bench.submit(size=3)
    assert resting(bench) == {ready, held}
    assert set(bench.engine.yard.jobs.awake) == {running, array} == set(bench.engine.ledger.jobs.awake)
    assert set(bench.engine.yard.jobs) == {running, array, ready, held} and len(bench.engine.yard.jobs) == 4
    assert bench.status(ready, held) == ["RUNNABLE", "PENDING"] and bench.job_spec(ready).name == "ready"
    bench.end(running)
    bench.up()
    assert bench.status(ready) == ["STARTING"] and resting(bench) == {held}
    assert bench.engine.ledger.specifications.awake[ready].name == "ready"


def test_a_retried_job_stays_awake() -> None:
    bench = Bench(Resources(1, 8192))
    job = bench.submit(attempts=2)
    bench.start(job)
    other = bench.submit()
    bench.gone(bench.engine.ledger.jobs[job].current.instance)  # type: ignore[union-attr]
    assert bench.status(job) == ["RUNNABLE"] and resting(bench) == {other}
    bench.restart()
    assert resting(bench) == {other}


def test_a_restart_reads_ids_and_kinds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = full()
    ids = [bench.submit(needs=Resources(1, 100 + n % 2)) for n in range(6)]
    held = bench.submit(*after(ids[0]))
    asked: list[str] = []
    found = Store.found
    monkeypatch.setattr(Store, "found", lambda self, id: asked.append(id) or found(self, id))
    monkeypatch.setattr(rooms, "MOST_RECENT", 4)
    bench.engine = Engine(bench.store, bench.world, bench.options)
    assert asked == [] and resting(bench) == {*ids, held} and len({id(k) for k in bench.engine.yard.resting.asleep.values()}) == 2
    bench.turn()
    assert [w.job_id for w in bench.engine.yard.ready(Q)] == ids
    bench.cancel(ids[0])
    assert bench.status(ids[0], held) == ["FAILED", "FAILED"] and resting(bench) == set(ids[1:])


def test_what_a_turn_wakes_is_still_waiting_for_callers() -> None:
    bench = full()
    job = bench.submit()
    turn = bench.engine.decide([Cancel(job, "enough")], [], bench.world.now)
    assert bench.status(job) == ["RUNNABLE"] and job in bench.engine.ledger.jobs and job not in bench.engine.yard.jobs
    bench.store.stage(turn.changes)
    bench.store.commit()
    bench.engine.merge(turn)
    assert bench.status(job) == ["FAILED"] and job not in bench.engine.ledger.jobs


def test_tags_of_a_resting_job() -> None:
    bench = full()
    job = bench.submit()
    bench.ask(TagJob(replace(bench.job_spec(job), tags={"a": "b"})))
    assert bench.job_spec(job).tags == {"a": "b"} and resting(bench) == {job}
    assert bench.engine.yard.specifications.awake.keys() == bench.engine.yard.jobs.awake.keys()
    bench.restart()
    assert bench.job_spec(job).tags == {"a": "b"}


def test_a_queue_deleted_under_resting_jobs() -> None:
    bench = full()
    jobs = [bench.submit() for _ in range(3)]
    bench.put(replace(bench.engine.ledger.queues[Q], health=Health.DELETING))
    while bench.engine.ledger.queues and bench.last.wake_at_ms is not None and bench.last.wake_at_ms <= bench.world.now:
        bench.turn()
    assert bench.status(*jobs) == ["FAILED"] * 3 and resting(bench) == set()


@settings(max_examples=30)
@given(st.data())
def test_few_records_at_hand_change_nothing(drawn: st.DataObject) -> None:
    """Whatever comes and goes, what is told of a resting job is what the store has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "MOST_RECENT", drawn.draw(st.integers(2, 5)))
        bench = full()
        ids: list[str] = []
        for step in drawn.draw(st.lists(st.sampled_from(["submit", "held", "cancel", "tag", "restart"]), max_size=25)):
            if step == "submit" or not ids:
                ids.append(bench.submit(needs=Resources(1, 100 + drawn.draw(st.integers(0, 2)))))
                continue
            job = drawn.draw(st.sampled_from(ids))
            match step:
                case "held":
                    ids.append(bench.submit(*after(job)))
                case "cancel":
                    bench.cancel(job)
                case "tag":
                    bench.ask(TagJob(replace(bench.job_spec(job), tags={"n": str(len(ids))})))
                case _:
                    bench.restart()
            for id in ids:
                assert (bench.job(id), bench.job_spec(id)) == bench.store.found(id)
        waiting = {id for id in ids if not bench.job(id).status.is_final}
        assert resting(bench) == waiting


def test_a_kind_is_what_the_scheduler_sees_and_nothing_else() -> None:
    bench = full()
    one, other = bench.job_spec(bench.submit(name="x", tags={"a": ""})), bench.job_spec(bench.submit(name="y"))
    assert one != other and kind_of(one) == kind_of(other)
    assert kind_of(replace(one, needs=Resources(2, 2))) != kind_of(one)
    assert (kind_of(one).queue, kind_of(one).definition, kind_of(one).needs) == (one.queue, one.definition, one.needs)


def test_a_store_of_the_version_before(tmp_path: Path) -> None:
    """Its jobs have no kind: they are read whole, and rest once they are written again."""
    path = tmp_path / "batchyard.db"
    with apsw.Connection(str(path)) as old:
        old.execute((SCHEMA / "0001.sql").read_text())
        old.execute("PRAGMA user_version = 1")
        queue = '{"arn":"q","name":"q","account":"1","region":"r","priority":1,"environments":[]}'
        old.execute("INSERT INTO queues VALUES ('q', ?)", (queue,))
        spec = '{"id":"j","account":"1","region":"r","name":"n","queue":"q","definition":"d:1","needs":[1,1]}'
        old.execute("INSERT INTO specifications VALUES ('j', ?)", (spec,))
        job = '{"id":"j","spec_id":"j","status":"RUNNABLE","created_at_ms":1}'
        old.execute("INSERT INTO jobs VALUES ('j', 'j', 'q', NULL, NULL, 'RUNNABLE', ?)", (job,))
    store = Store(path)
    engine = Engine(store, Bench(bare=True).world)
    assert set(engine.yard.jobs.awake) == {"j"} == set(engine.ledger.jobs)
    assert [w.job_id for w in engine.yard.ready("q")] == ["j"]
    for query in ({"name": "N"}, {"definition": "d"}, {"created_before_ms": 2}, {"status": Status.RUNNABLE}):
        assert [job.id for job, _ in store.page(JobQuery(queue="q", newest_first=True, **query)).jobs] == ["j"]
    store.close()


def test_kinds_that_nobody_has_go_when_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchyard.store.sql.MANY_KINDS", 2)
    path = tmp_path / "jobs.db"
    store = Store(path)
    bench = Bench(Resources(1, 8192))
    engine = Engine(store, bench.world)
    engine.yard.put_queue(bench.engine.ledger.queues[Q])
    store.stage(engine.yard.changes)
    store.commit()
    engine.yard.changes = Changes()
    ids = [take(engine, Submit(bench.spec(needs=Resources(1, size + 1)))) for size in range(4)]
    take(engine, Cancel(ids[0], "x"))
    store.close()
    store = Store(path)
    assert len(store.kinds()) == 3
    again = Engine(store, bench.world)
    assert set(again.yard.resting.asleep) == set(ids[1:])
    assert isinstance(again.yard.resting, Resting) and again.yard.jobs[ids[1]].status is Status.RUNNABLE
    store.close()


def take(engine: Engine, request: Any) -> str:
    turn = engine.decide([request], [], 5)
    engine.store.stage(turn.changes)
    engine.store.commit()
    engine.merge(turn)
    spec: Specification | None = getattr(request, "spec", None)
    return spec.id if spec else ""


def test_many_are_read_together() -> None:
    bench = Bench()
    group = NodeGroup(first=0, last=1, needs=Resources(1, 100))
    gang = bench.submit(nodes=(group,), main_node=0, needs=Resources(1, 100))
    bench.up()
    bench.start(gang)
    bench.start(f"{gang}#1")
    ended = bench.submit()
    bench.finish(ended)
    bench.end(gang)
    assert f"{gang}#1" in bench.engine.ledger.jobs, "a node that still runs when the main one has ended"
    waiting, array = bench.submit(*after(bench.submit(needs=Resources(100, 1)))), bench.submit(size=2)
    asked = [f"{gang}#1", waiting, "nobody", ended, f"{array}:1", gang, array]
    assert bench.read.jobs_of(asked) == [bench.read.job(id) for id in asked]
    assert [found and found[0].id for found in bench.read.jobs_of(asked)] == [id if id != "nobody" else None for id in asked]
    driver = SimpleNamespace(engine=bench.engine, turn_s=0.0)
    told = {family.name: family for family in EngineFigures(driver).collect()}  # type: ignore[arg-type]
    assert ("q", "PENDING") in {tuple(sample.labels.values()) for sample in told["batchyard_jobs"].samples}
