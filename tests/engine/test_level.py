"""What is decided, what is written and what callers see are three moments: nobody is shown a mixture of them."""

from __future__ import annotations

import asyncio

from driver_rig import Rig, run_one
from engine_bench import Q
from msgspec.structs import replace

from batchyard.engine.reader import EngineReader
from batchyard.model.job import Status
from batchyard.model.messages import AttemptEnded, AttemptStarted, InstanceUp, Launch, StartInstance
from batchyard.model.requests import Submit
from batchyard.model.view import JobQuery


async def written_and_unseen(rig: Rig) -> None:
    """Wait until a turn is committed that nobody can see yet."""
    assert await asyncio.to_thread(rig.committed.wait, 60)
    rig.committed.clear()


async def test_whoever_found_a_job_in_a_list_then_sees_it_as_the_list_had_it(rig: Rig) -> None:
    read = EngineReader(rig.engine, level=rig.driver.level)
    id, launch = await run_one(rig)
    rig.provider.deliver([AttemptStarted(launch.attempt, 1)])
    await rig.settle()
    rig.committed.clear()
    rig.afterwards.clear()
    rig.provider.deliver([AttemptEnded(launch.attempt, 2, "exited", exit_code=0)])
    await written_and_unseen(rig)
    asked = asyncio.ensure_future(read.find_jobs(JobQuery(queue=Q, status=Status.SUCCEEDED, limit=10)))
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not asked.done()
    rig.afterwards.set()
    (listed,) = (await asyncio.wait_for(asked, 60)).jobs
    assert listed[0].id == id
    (shown,) = read.jobs_of([id])
    assert shown is not None and shown[0] == listed[0]


async def test_a_job_that_is_being_woken_is_shown_as_it_was_until_it_is_seen(rig: Rig) -> None:
    read = EngineReader(rig.engine, level=rig.driver.level)
    id, asked = rig.submit()
    await asked
    (up,) = [effect for effect in rig.provider.effects if isinstance(effect, StartInstance)]
    rig.engine.yard.resting._recent.clear()  # as if many others had been asked for since
    rig.committed.clear()
    rig.afterwards.clear()
    rig.provider.deliver([InstanceUp(up.instance.id, 1)])
    await written_and_unseen(rig)
    many, one = read.jobs_of([id])[0], read.job(id)
    assert many is not None and one is not None
    assert many[0].status is one[0].status is Status.RUNNABLE
    rig.afterwards.set()
    await rig.settle()
    (shown,) = read.jobs_of([id])
    assert shown is not None and shown[0].status is Status.STARTING


async def test_what_an_array_counts_is_what_its_children_show(rig: Rig) -> None:
    read = EngineReader(rig.engine, level=rig.driver.level)
    spec = replace(rig.spec(), array_size=2)
    await rig.driver.ask(Submit(spec))
    rig.provider.deliver([InstanceUp(e.instance.id, 1) for e in rig.provider.effects if isinstance(e, StartInstance)])
    await rig.settle()
    launch = next(effect for effect in rig.provider.effects if isinstance(effect, Launch))
    rig.committing.clear()
    rig.gate.clear()
    rig.provider.deliver([AttemptStarted(launch.attempt, 1), AttemptEnded(launch.attempt, 2, "exited", exit_code=0)])
    await rig.in_commit()
    waiting = asyncio.ensure_future(read.level())
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not waiting.done(), "what is decided is not written yet"
    rig.gate.set()
    await asyncio.wait_for(waiting, 60)
    parent, child = read.job(spec.id), read.job(launch.job_id)
    assert parent is not None and child is not None
    assert read.summary(parent[0])[Status.SUCCEEDED] == 1 and child[0].status is Status.SUCCEEDED
