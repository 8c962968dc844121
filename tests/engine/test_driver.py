"""The driver: one write in flight, answers only when it is durable, and a failed write leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from driver_rig import Rig, begin, run_one

from batchyard.engine import driver as driving
from batchyard.model.fault import Fault
from batchyard.model.job import Specification, Status
from batchyard.model.messages import (
    AttemptEnded,
    AttemptStarted,
    InstanceUp,
    ProviderBack,
    StartInstance,
    StopInstance,
)
from batchyard.model.requests import Submit, Terminate
from batchyard.store.sql import Store


async def test_an_answer_means_that_it_is_durable(rig: Rig, tmp_path: Path) -> None:
    id, asked = rig.submit()
    assert await asked is None
    other = Store(tmp_path / "jobs.db")
    kept = other.job(id)
    other.close()
    assert kept is not None and kept.status is Status.RUNNABLE


async def test_nothing_is_answered_seen_or_carried_out_before_the_write(rig: Rig) -> None:
    rig.gate.clear()
    id, asked = rig.submit()
    await rig.in_commit()
    assert not asked.done() and rig.provider.effects == []
    assert id not in rig.engine.ledger.jobs and rig.store.job(id) is None
    rig.gate.set()
    await asked
    assert rig.engine.ledger.jobs[id].status is Status.RUNNABLE
    assert [type(e) for e in rig.provider.effects] == [StartInstance]


async def test_what_comes_during_a_commit_is_the_next_turn(rig: Rig) -> None:
    turns = rig.engine.turns
    rig.gate.clear()
    _, first = rig.submit()
    await rig.in_commit()
    rest = [rig.submit()[1] for _ in range(5)]
    rig.provider.deliver([InstanceUp("i-unknown", 1)])
    await asyncio.sleep(0)
    assert rig.engine.turns == turns + 1
    rig.gate.set()
    await asyncio.gather(first, *rest)
    assert rig.engine.turns == turns + 2, "one write for all that had come"
    assert rig.engine.observer.dropped["up"] == 1


async def test_answers_come_in_the_order_of_the_questions(rig: Rig) -> None:
    order: list[int] = []
    for number in range(6):
        _, asked = rig.submit()
        asked.add_done_callback(lambda _, n=number: order.append(n))
    refused = rig.driver.ask(Submit(Specification(**{**as_fields(rig.spec()), "queue": "nowhere"})))
    refused.add_done_callback(lambda _: order.append(99))
    with pytest.raises(Fault, match="not found"):
        await refused
    await rig.settle()
    assert order == [0, 1, 2, 3, 4, 5, 99]


def as_fields(spec: Specification) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


async def test_so_many_requests_in_a_turn_and_no_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "MAX_BATCH", 2)
    turns = rig.engine.turns
    await asyncio.gather(*(rig.submit()[1] for _ in range(5)))
    assert rig.engine.turns == turns + 3


async def test_a_caller_that_went_away_harms_nobody(rig: Rig) -> None:
    rig.gate.clear()
    _, gone = rig.submit()
    _, stays = rig.submit()
    await rig.in_commit()
    gone.cancel()
    rig.gate.set()
    assert await stays is None


async def test_a_turn_that_changes_nothing_writes_nothing(rig: Rig) -> None:
    rig.committing.clear()
    assert await rig.driver.ask(Terminate("nobody", "x")) is None
    assert not rig.committing.is_set()


# --- what the provider sees ---


async def test_the_launch_and_the_acknowledgement(rig: Rig) -> None:
    id, launch = await run_one(rig)
    assert rig.provider.epoch == rig.store.epoch == 1
    assert (launch.job_id, launch.command, launch.log_group) == (id, ("echo", "hi"), "/aws/batch/job")
    assert {
        "PATH": "/bin",
        "MINE": "1",
        "AWS_BATCH_JQ_NAME": "q",
        "AWS_SESSION_TOKEN": launch.attempt,
    }.items() <= launch.environment.items()
    rig.gate.clear()
    rig.provider.deliver([AttemptStarted(launch.attempt, 1), AttemptEnded(launch.attempt, 2, "exited", exit_code=0)])
    await rig.in_commit()
    assert rig.provider.acknowledged == []
    rig.gate.set()
    await rig.settle()
    assert rig.provider.acknowledged == [launch.attempt]


async def test_time_alone_stops_an_idle_instance(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "jobs.db", idle_s=0.01)
    await begin(rig)
    _, launch = await run_one(rig)
    rig.provider.deliver([AttemptEnded(launch.attempt, 2, "exited", exit_code=0)])
    await rig.settle()
    rig.world.now += 1000
    while not any(isinstance(e, StopInstance) for e in rig.provider.effects):
        rig.provider.told.clear()
        await asyncio.wait_for(rig.provider.told.wait(), 60)
    await rig.driver.close()
    rig.store.close()


# --- failures ---


async def test_a_failed_commit_is_told_to_all_who_waited_and_nothing_is_kept(rig: Rig) -> None:
    kept, asked = rig.submit()
    await asked
    effects = len(rig.provider.effects)
    rig.gate.clear()
    rig.broken = 1
    lost = [rig.submit() for _ in range(3)]
    await rig.in_commit()
    after = rig.submit()
    rig.gate.set()
    for id, asked in lost:
        with pytest.raises(Fault, match="could not be stored and was not accepted: no space left") as told:
            await asked
        assert told.value.code == "ServerException"
        assert id not in rig.engine.yard.jobs and rig.store.job(id) is None
    assert await after[1] is None, "the next turn is a new one"
    assert set(rig.engine.ledger.jobs) == set(rig.engine.yard.jobs) == {kept, after[0]}
    assert rig.provider.announced == 1, "the provider says anew what it holds"
    assert not rig.given_up and len(rig.provider.effects) >= effects


@pytest.mark.parametrize("where", ["stage", "decide"])
async def test_a_turn_that_cannot_be_prepared(rig: Rig, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        holder = rig.store if where == "stage" else rig.engine
        broken.setattr(holder, where, lambda *_: 1 // 0)
        _, asked = rig.submit()
        with pytest.raises(Fault, match="not accepted"):
            await asked
    assert rig.engine.yard.jobs == {} and rig.provider.announced == 1
    assert await rig.submit()[1] is None


async def test_reports_of_a_failed_turn_come_again(rig: Rig) -> None:
    """The provider repeats what it has not seen acknowledged."""
    id, launch = await run_one(rig)
    instance = launch.instance
    ended = AttemptEnded(launch.attempt, 2, "exited", exit_code=0)
    rig.broken = 1
    rig.provider.deliver([ended])
    await rig.settle()
    assert rig.engine.ledger.jobs[id].status is Status.STARTING
    assert rig.provider.acknowledged == [] and rig.provider.announced == 1
    rig.provider.deliver([ProviderBack("local", "g", (instance,), (launch.attempt,), 3), InstanceUp(instance, 3), ended])
    await rig.settle()
    assert rig.provider.acknowledged == [launch.attempt]
    kept = rig.store.job(id)
    assert kept is not None and kept.status is Status.SUCCEEDED


async def test_a_store_that_cannot_be_read_either_ends_the_server(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.broken = 1
    monkeypatch.setattr(rig.store, "load", lambda: 1 // 0)
    _, asked = rig.submit()
    with pytest.raises(Fault, match="not accepted"):
        await asked
    await rig.settle()
    assert rig.given_up
    with pytest.raises(Fault, match="stopping"):
        await rig.submit()[1]


# --- the end ---


async def test_close_finishes_the_turn_that_is_being_written(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "jobs.db")
    await begin(rig)
    rig.gate.clear()
    id, asked = rig.submit()
    await rig.in_commit()
    too_late = rig.submit()[1]
    closing = asyncio.ensure_future(rig.driver.close())
    await asyncio.sleep(0)
    assert not closing.done() and not rig.provider.closed
    rig.gate.set()
    await closing
    assert await asked is None and rig.provider.closed
    for late in (too_late, rig.submit()[1]):
        with pytest.raises(Fault, match="The server is stopping"):
            await late
    assert rig.store.job(id) is not None
    rig.provider.deliver([InstanceUp("i-x", 1)])
    rig.store.close()


async def test_close_with_nothing_to_do(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "jobs.db")
    await rig.driver.start()
    await rig.driver.close()
    assert rig.provider.closed
    rig.store.close()
