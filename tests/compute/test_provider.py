"""What every provider promises (compute/provider.py), asked of the local one and of the scripted double."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from compute_rig import RUNS_ON, LocalRig, Rig, ScriptedRig, exits, instance

from batchyard.compute.local.link import LocalProvider
from batchyard.compute.scripted import ScriptedProvider
from batchyard.model.messages import (
    AttemptEnded,
    AttemptStarted,
    InstanceGone,
    InstanceUp,
    NoticeInstance,
    ProviderBack,
    ScratchSeen,
    StartInstance,
    StopAttempt,
    StopInstance,
)


@pytest.fixture(params=["local", "scripted"])
async def rig(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Rig]:
    if request.param == "scripted":
        ticks = itertools.count(1)
        scripted = ScriptedRig(ScriptedProvider(lambda: next(ticks), automatic=True), folder)
        await scripted.connect()
        yield scripted
        return
    local = LocalProvider(folder)
    rig = LocalRig(local, folder)
    await rig.connect()
    yield rig
    await local.shut_down(0.0)


async def test_an_instance_comes_up_and_goes(rig: Rig) -> None:
    await rig.up("i-1")
    await rig.until(lambda: rig.of(InstanceUp, instance="i-1"))
    assert (await rig.connect()).instances == ("i-1",)
    rig.provider.carry_out([StopInstance("i-1")])
    await rig.until(lambda: rig.of(InstanceGone, instance="i-1"))
    assert (await rig.connect()).instances == ()


async def test_the_scratch_space_is_told_after_each_connection(rig: Rig) -> None:
    for _ in range(2):
        await rig.connect()
        await rig.until(lambda: rig.of(ScratchSeen, provider=rig.provider.name, is_healthy=True))
        seen = rig.of(ScratchSeen)[-1]
        assert not seen.why_not
        assert 0 <= seen.unpromised_mib <= seen.capacity_mib


async def test_effects_on_instances_may_be_repeated(rig: Rig) -> None:
    rig.provider.carry_out([StartInstance(instance("i-1"))] * 2 + [StopInstance("i-1")] * 2)
    await rig.until(lambda: len(rig.of(InstanceGone, instance="i-1")) == 2)
    assert (await rig.connect()).instances == ()


async def test_an_attempt_starts_and_ends_with_its_code(rig: Rig) -> None:
    await rig.up()
    launch = rig.launch(*exits(3))
    rig.provider.carry_out([launch])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.oom) == ("exited", 3, False)
    started = await rig.started(launch.attempt)
    assert started.at_ms == ended.started_at_ms
    assert ended.at_ms >= started.at_ms
    assert rig.reports.index(started) < rig.reports.index(ended)


async def test_a_launch_that_comes_again_starts_nothing(rig: Rig) -> None:
    await rig.up()
    running, done = rig.launch(*RUNS_ON), rig.launch(*exits(0))
    rig.provider.carry_out([running, running, done, done])
    first = await rig.ended(done.attempt)
    await rig.started(running.attempt)
    rig.provider.carry_out([running, done])
    await rig.until(lambda: len(rig.of(AttemptEnded, attempt=done.attempt)) >= 2)
    assert set(rig.of(AttemptEnded, attempt=done.attempt)) == {first}
    assert len(set(rig.of(AttemptStarted, attempt=running.attempt))) == 1


async def test_an_end_is_repeated_until_it_is_acknowledged(rig: Rig) -> None:
    await rig.up()
    launch = rig.launch(*exits(5))
    rig.provider.carry_out([launch])
    first = await rig.ended(launch.attempt)
    for _ in range(2):
        back = await rig.connect()
        assert back.attempts == (launch.attempt,)
        assert await rig.ended(launch.attempt) == first
    rig.provider.acknowledge([launch.attempt])
    rig.provider.announce()
    await rig.until(lambda: len(rig.of(ProviderBack)) == 2)
    assert rig.of(ProviderBack)[-1].attempts == ()


async def test_what_runs_is_told_again_after_a_reconnection(rig: Rig) -> None:
    await rig.up()
    launch = rig.launch(*RUNS_ON)
    rig.provider.carry_out([launch])
    first = await rig.started(launch.attempt)
    back = await rig.connect(epoch=2)
    assert (back.instances, back.attempts) == (("i-1",), (launch.attempt,))
    assert await rig.started(launch.attempt) == first


async def test_an_attempt_is_stopped(rig: Rig) -> None:
    await rig.up()
    launch = rig.launch(*RUNS_ON)
    rig.provider.carry_out([launch])
    await rig.started(launch.attempt)
    rig.provider.carry_out([StopAttempt(launch.attempt), StopAttempt(launch.attempt)])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code) == ("stopped", 143)


async def test_what_is_stopped_before_its_launch_is_never_begun(rig: Rig) -> None:
    await rig.up()
    launch = rig.launch(*exits(0))
    rig.provider.carry_out([StopAttempt(launch.attempt), launch])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.started_at_ms) == ("stopped", None, None)
    await rig.until(lambda: len(rig.of(AttemptEnded)) == 2)
    assert not rig.of(AttemptStarted)


async def test_an_instance_takes_its_attempts_with_it(rig: Rig) -> None:
    await rig.up("i-1")
    await rig.up("i-2")
    launches = [rig.launch(*RUNS_ON, on="i-1"), rig.launch(*RUNS_ON, on="i-1"), rig.launch(*RUNS_ON, on="i-2")]
    rig.provider.carry_out(launches)
    for launch in launches:
        await rig.started(launch.attempt)
    rig.provider.carry_out([NoticeInstance("i-1", 1_800_000_000_000), StopInstance("i-1")])
    await rig.until(lambda: rig.of(InstanceGone))
    ends = rig.of(AttemptEnded)
    assert {end.attempt for end in ends} == {launch.attempt for launch in launches[:2]}
    assert {(end.cause, end.exit_code) for end in ends} == {("lost", None)}
    assert rig.reports.index(rig.of(InstanceGone)[0]) > max(rig.reports.index(end) for end in ends)


async def test_a_launch_on_an_instance_that_is_not_there_is_lost(rig: Rig) -> None:
    launch = rig.launch(*exits(0), on="i-nowhere")
    rig.provider.carry_out([launch])
    ended = await rig.ended(launch.attempt)
    assert (ended.cause, ended.exit_code, ended.started_at_ms) == ("lost", None, None)


async def test_an_older_epoch_is_refused(rig: Rig, folder: Path) -> None:
    await rig.connect(epoch=7)
    await rig.up()
    await rig.until(lambda: rig.of(InstanceUp))
    await rig.provider.close()
    rig.reports.clear()
    await rig.provider.start(rig.deliver, rig.epoch(6))
    if isinstance(rig.provider, LocalProvider):
        provider = rig.provider
        await rig.eventually(lambda: f"epoch {rig.epoch(6)} is older than {rig.epoch(7)}" in provider.trouble, "a refusal")
    rig.provider.carry_out([StopInstance("i-1")])
    assert not rig.reports
    assert (await rig.connect(epoch=7)).instances == ("i-1",)


async def test_without_a_connection_the_verbs_do_nothing(rig: Rig) -> None:
    await rig.provider.close()
    rig.reports.clear()
    rig.provider.carry_out([StartInstance(instance("i-9"))])
    rig.provider.acknowledge(["nothing"])
    rig.provider.announce()
    await rig.provider.close()
    assert not rig.reports
    assert (await rig.connect()).instances == ()
